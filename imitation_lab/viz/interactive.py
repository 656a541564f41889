"""What a human and a policy did in turn."""

import itertools
from typing import Any

import numpy as np

from imitation_lab.algorithms.dagger.dagger import InteractiveSession
from imitation_lab.viz import style

__all__ = ["session_figure"]

Actions = dict[str, Any]


@style.styled
def session_figure(
    session: InteractiveSession, *, actions: Actions | None = None, frame: np.ndarray | None = None, last: int = 60
) -> style.LabFigure:
    """Draws the last steps of a session: what was done, by whom, and what the human would have done.

    Args:
        session: the session.
        actions: name of each action; by default discrete ones are numbered, of others the first number counts.
        frame: a picture of the environment, ``(height, width, 3)`` uint8, shown beside.
        last: how many steps.
    """
    steps = [(number, step) for number, episode in enumerate(session.episodes) for step in episode][-last:]
    ratios = [1] if frame is None else [1, 2]
    figure, grid = style.new_figure(1, len(ratios), size=(9.0, 2.6), width_ratios=ratios)
    axes = grid[0, -1]
    if frame is not None:
        grid[0, 0].imshow(frame, origin="upper")
        grid[0, 0].set_axis_off()
    if not steps:
        style.empty_note(axes, "no step yet")
    ring = {"markersize": 9, "fillstyle": "none", "markeredgewidth": 1.6}
    done = [(step.executed, step.by_human) for _, step in steps]
    for label, marker, color, marks, look in (
        ("done by the human", "o", style.ORANGE, [action if human else None for action, human in done], {}),
        ("done by the policy", "o", style.BLUE, [None if human else action for action, human in done], {}),
        ("label by the human", "s", style.ORANGE, [None if step.by_human else step.label for _, step in steps], ring),
    ):
        points = [(i, _height(action, actions)) for i, action in enumerate(marks) if action is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, **{"color": color, "markersize": 6, "label": label, **look})
    for i, (before, after) in enumerate(itertools.pairwise(number for number, _ in steps)):
        if before != after:
            axes.axvline(i + 0.5, color=style.GREY, linestyle=":", linewidth=1.2)
    axes.set(xlabel="step (dotted: a new episode)", ylabel="action")
    if actions is not None:
        axes.set_yticks(range(len(actions)), list(actions))
        axes.set_ylim(-0.6, len(actions) - 0.1)
    style.legend(axes, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    counts = session.counts()
    figure.alt = "Actions by step: " + ", ".join(f"{n} {name}" for name, n in counts.items()) + "."
    return figure


def _height(action: Any, actions: Actions | None) -> float:
    """Where an action is drawn: the number of the nearest of `actions`, or its own first number."""
    value = np.ravel(np.asarray(action, dtype=np.float64))
    if actions is None:
        return float(value[0])
    return int(np.argmin([np.abs(value - np.ravel(choice)).sum() for choice in actions.values()]))
