"""Pairs of clips side by side, and how a difference of returns becomes a preference."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control import AcrobotEnv, CartPoleEnv, MountainCarEnv, PendulumEnv
from matplotlib.axes import Axes

from imitation_lab.data import types
from imitation_lab.util import checks
from imitation_lab.viz import style
from imitation_lab.viz.episodes import draw_without_screen
from imitation_lab.viz.panel import Panel

__all__ = [
    "SIDES", "STATE_SETTERS", "StateRenderer", "PairPanel", "pair_figure", "bradley_terry_figure",
    "preference_probability",
]  # fmt: skip

SIDES = ("left", "right")
Pictures = tuple[np.ndarray, np.ndarray]
SetState = Callable[[Any, np.ndarray, Any], None]


def _whole_state(env: Any, obs: np.ndarray, act: Any) -> None:
    env.state = np.array(obs, dtype=np.float64)


def _pendulum(env: Any, obs: np.ndarray, act: Any) -> None:
    env.state = np.array([np.arctan2(obs[1], obs[0]), obs[2]], dtype=np.float64)
    env.last_u = None if act is None else float(np.ravel(act)[0])  # drawn as an arrow


def _acrobot(env: Any, obs: np.ndarray, act: Any) -> None:
    angles = np.arctan2(obs[1], obs[0]), np.arctan2(obs[3], obs[2])
    env.state = np.array([*angles, obs[4], obs[5]], dtype=np.float64)


STATE_SETTERS: dict[type, SetState] = {
    CartPoleEnv: _whole_state,
    MountainCarEnv: _whole_state,
    PendulumEnv: _pendulum,
    AcrobotEnv: _acrobot,
}
"""How to put an environment into the state that an observation tells; subclasses count. Add your own."""


class StateRenderer:
    """Makes pictures of a fragment by putting an environment into its states, which its observations must tell.

    Also fits `HumanGatherer(..., render=StateRenderer(env))`, which keeps the pictures with the clips.

    Args:
        env: an environment with ``render_mode="rgb_array"``, or the id of one. Give one of its own: its state is
            overwritten.
        max_frames: the most pictures of a fragment; of longer ones steps are left out evenly.
        width: pictures wider than this are scaled down to it [pixels].

    Raises:
        ValueError: there are no pictures, or the state cannot be set from an observation.
    """

    def __init__(self, env: gym.Env | str, *, max_frames: int = 20, width: int = 320) -> None:
        draw_without_screen()
        self.env: Any = gym.make(env, render_mode="rgb_array") if isinstance(env, str) else env
        if self.env.render_mode != "rgb_array":
            raise ValueError(
                f"{self.env} has render_mode {self.env.render_mode!r}, expected 'rgb_array': "
                "gymnasium.make(id, render_mode='rgb_array')."
            )
        inner = self.env.unwrapped
        set_state = next((found for kind, found in STATE_SETTERS.items() if isinstance(inner, kind)), None)
        if set_state is None:
            raise ValueError(
                f"The state of {type(inner).__name__} cannot be set from its observation; known are "
                f"{', '.join(kind.__name__ for kind in STATE_SETTERS)}. Add a function to STATE_SETTERS, or show the "
                "state over time with render='trace'."
            )
        self._set_state, self.max_frames, self.width = set_state, max_frames, width
        self.env.reset(seed=0)

    def __call__(self, fragment: types.Trajectory) -> np.ndarray:
        """Pictures at evenly spread steps, first and last among them: ``(frames, height, width, 3)`` uint8."""
        pictures = []
        for t in style.evenly(len(fragment), self.max_frames):
            self._set_state(self.env.unwrapped, fragment.obs[t], fragment.acts[t])
            pictures.append(np.asarray(style.scaled(np.asarray(self.env.render()), self.width)))
        return np.stack(pictures)


class PairPanel(Panel):
    """Two clips side by side that move in step; the shorter one stays at its end.

    Args:
        pair: two fragments.
        frames: pictures of each, evenly spread over its steps, ``(frames, height, width, 3)`` uint8; None draws the
            state over time, on the same scale for both.
        obs_names: names of the state dimensions.
    """

    @style.styled
    def __init__(
        self, pair: types.TrajectoryPair, frames: Pictures | None = None, obs_names: Sequence[str] | None = None
    ) -> None:
        self.pair = pair
        self.n_steps = max(map(len, pair))
        alt = "Two clips side by side, left and right, in step."
        figure, grid = style.new_figure(1, 2, sharey=frames is None, alt=alt)
        figure.get_layout_engine().set(h_pad=0.08)  # type: ignore[union-attr, call-arg]
        super().__init__(figure, self.n_steps)
        for i, (axes, side) in enumerate(zip(grid[0], SIDES, strict=True)):
            length = len(pair[i])
            if frames is not None:
                self._picture(axes, frames[i], partial(_at, length=length, n_frames=len(frames[i])))
            else:
                self._states(axes, pair[i], obs_names)
            axes.set_title(side)
            where = partial(lambda length, step: f"step {min(step, length - 1) + 1} of {length}", length)
            self._text(axes, 1, 1.02, where, ha="right", va="bottom", fontsize=9.5).set_in_layout(False)

    def _states(self, axes: Axes, fragment: types.Trajectory, names: Sequence[str] | None) -> None:
        if not isinstance(fragment.obs, np.ndarray) or fragment.obs.ndim != 2:
            raise ValueError(
                "These observations are no vectors, so they cannot be drawn over time: make pictures, with "
                "HumanGatherer(..., render=f) or PreferenceLabeler(..., render=f), where f(fragment) gives "
                "(frames, height, width, 3) uint8."
            )
        self._traces(axes, fragment.obs[: len(fragment)], names)
        axes.set(xlim=(-0.5, max(1, self.n_steps) - 0.5), xlabel="step")
        if not self.artists:
            axes.set_ylabel("state")
            style.legend(axes, fontsize=8.5, ncols=2)
        self._cursor(axes, lambda step: min(step, len(fragment) - 1))

    def loop(self, n: int) -> list[bytes]:
        """Exactly ``n`` pictures, evenly spread over the steps; some twice where there are fewer steps."""
        steps = np.linspace(0, self.n_steps - 1, n).round().astype(int).tolist()
        different = sorted(set(steps))
        drawn = dict(zip(different, self.pngs(different), strict=True))
        return [drawn[step] for step in steps]


def _at(step: int, length: int, n_frames: int) -> int:
    return 0 if length < 2 else round(min(step, length - 1) / (length - 1) * (n_frames - 1))


@style.styled
def pair_figure(
    pair: types.TrajectoryPair, frames: Pictures | None = None, *, obs_names: Sequence[str] | None = None, n: int = 5
) -> style.LabFigure:
    """Draw a pair as it goes on: a film strip for each clip, or its state over time where there are no pictures.

    Args:
        pair: two fragments.
        frames: as in `PairPanel`.
        obs_names: names of the state dimensions.
        n: moments in a strip.
    """
    if frames is None:
        return PairPanel(pair, obs_names=obs_names).figure
    height, width = frames[0].shape[1:3]
    figure, grid = style.new_figure(2, n, size=(9.0, min(6.0, 2 * 9.0 / n * height / width + 0.7)))
    figure.alt = f"Film strips of two clips, {n} moments each."
    for row, fragment, pictures, side in zip(grid, pair, frames, SIDES, strict=True):
        for axes, step in zip(row, np.linspace(0, len(fragment) - 1, n).round().astype(int).tolist(), strict=True):
            style.show_picture(axes, pictures[_at(step, len(fragment), len(pictures))])
            axes.set_title(f"step {step + 1}", fontsize=9.5, fontweight="normal")
        row[0].set_ylabel(side, fontweight="bold")
    return figure


@style.styled
def bradley_terry_figure(
    temperature: float = 1.0, *, differences: Sequence[float] = (), limit: float = 10.0, n_answers: int = 100
) -> style.LabFigure:
    """Draw the probability that a teacher prefers the left clip, and the loss of a reward that is told so.

    The teacher prefers left with probability σ(d / temperature), d being the left return minus the right one; the
    rationality is 1 / temperature.

    Args:
        temperature: of the teacher, in units of the return; 0 is one who never errs.
        differences: returns' differences of pairs to mark.
        limit: differences drawn, from -limit to limit.
        n_answers: of this many answers about a marked pair, the expected number of "left" is written beside it.

    Raises:
        ValueError: a negative temperature.
    """
    checks.at_least(0, temperature=temperature)
    alt = f"Preference probability over the difference of returns, temperature {temperature:g}."
    figure, ((left, right),) = style.new_figure(1, 2, alt=alt)
    grid = np.linspace(-limit, limit, 401)
    if temperature != 1:
        left.plot(grid, preference_probability(grid, 1.0), color=style.GREY, linewidth=1.2, label="temperature 1")
    left.plot(grid, preference_probability(grid, temperature), color=style.BLUE, label=f"temperature {temperature:g}")
    for difference in differences:
        share = float(preference_probability(np.array(difference), temperature))
        left.plot(difference, share, "o", color=style.BLACK)
        sign = -1 if difference < 0 else 1  # beside the curve, away from the legend
        left.annotate(
            f"{share * n_answers:.0f} of {n_answers} say left", (difference, share), fontsize=9,
            xytext=(sign * 8, sign * -14), textcoords="offset points", ha="right" if sign < 0 else "left", va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )  # fmt: skip
    left.set(title="the teacher", xlabel="left return − right return", ylabel="P(prefers left)", ylim=(-0.04, 1.04))
    left.legend(loc="upper left", fontsize=9)
    right.plot(grid, np.logaddexp(0, -grid), color=style.BLUE, label='told "left": −ln σ(d)')
    right.plot(grid, np.logaddexp(0, grid), color=style.GREEN, label='told "right": −ln σ(−d)')
    shares = preference_probability(grid, temperature)
    expected = shares * np.logaddexp(0, -grid) + (1 - shares) * np.logaddexp(0, grid)
    right.plot(grid, expected, "--", color=style.BLACK, linewidth=1.4, label="mean over the teacher's answers")
    right.set(title="the loss of the true reward", xlabel="left return − right return = d", ylabel="loss [nats]")
    right.set_ylim(-0.04 * limit, 1.25 * limit)
    right.legend(loc="upper center", fontsize=8.5)
    return figure


def preference_probability(differences: np.ndarray, temperature: float) -> np.ndarray:
    """σ(d / temperature), elementwise; at temperature 0 a step, 0.5 at 0."""
    if temperature == 0:
        return 0.5 * (np.sign(differences) + 1)
    # tanh does not overflow
    return 0.5 * (1 + np.tanh(np.asarray(differences) / (2 * temperature)))
