"""Trajectories over time and in phase space."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.viz import style
from imitation_lab.viz.dimensions import Dimensions

__all__ = ["trajectory_plot", "phase_plot"]


def _groups(trajectories: Any, names: Any, units: Any) -> tuple[dict[str, list[np.ndarray]], Dimensions]:
    """``{label: [observations (T+1, dims)]}`` from trajectories, arrays, or groups of either, and their dimensions."""
    if not isinstance(trajectories, Mapping):
        trajectories = {"trajectory": trajectories}
    groups = {}
    for label, members in trajectories.items():
        members = [members] if hasattr(members, "obs") or isinstance(members, np.ndarray) else list(members)
        arrays = [np.asarray(getattr(m, "obs", m)) for m in members]
        if wrong := [array.shape for array in arrays if array.ndim != 2]:
            what = "vectors, observations of shape (T+1, dims)"
            raise ValueError(f"trajectories must hold {what}; {label!r} has {wrong[0]}.")
        groups[label] = arrays
    return groups, Dimensions(next(iter(groups.values()))[0].shape[1], names, units)


@style.styled
def trajectory_plot(
    trajectories: Any,
    *,
    dims: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    units: Sequence[str | None] | None = None,
    seconds_per_step: float | None = None,
    columns: int = 2,
) -> style.LabFigure:
    """Each state dimension over time.

    Args:
        trajectories: one trajectory, a list, or groups ``{"expert": [...], "learner": [...]}`` that get a colour each.
            Members have ``obs`` of shape ``(T+1, dims)`` or are such arrays.
        dims: the dimensions to show, all by default.
        names: name of every dimension.
        units: unit of every dimension.
        seconds_per_step: shows time in seconds instead of steps.
        columns: panels in a row.
    """
    groups, of = _groups(trajectories, names, units)
    shown = list(range(len(of.names))) if dims is None else list(dims)
    figure, grid = style.new_panels(len(shown), columns, lambda rows, _: (9.0, 0.6 + 2.0 * rows), sharex=True)
    for axes, dim in zip(grid.flat, shown, strict=False):
        for i, (label, members) in enumerate(groups.items()):
            for j, obs in enumerate(members):
                time = np.arange(len(obs)) * (seconds_per_step or 1)
                axes.plot(time, obs[:, dim], alpha=max(0.35, 1 / len(members) ** 0.5), linewidth=1.5,
                          color=style.color_of(label, i), label=label if j == 0 else None)  # fmt: skip
        axes.set_title(of.label(dim))
    for axes in grid[-1]:
        axes.set_xlabel("time [s]" if seconds_per_step else "step")
    if len(groups) > 1:
        style.legend(grid.flat[0])
    figure.alt = f"{', '.join(of.names[d] for d in shown)} over time for {', '.join(groups)}."
    return figure


@style.styled
def phase_plot(
    trajectories: Any,
    x_dim: int = 0,
    y_dim: int = 1,
    *,
    names: Sequence[str] | None = None,
    units: Sequence[str | None] | None = None,
    size: tuple[float, float] = (6.0, 4.2),
) -> style.LabFigure:
    """One state dimension against another; a circle marks each start, a square each end.

    Arguments as in :func:`trajectory_plot`.
    """
    groups, of = _groups(trajectories, names, units)
    figure, axes = style.new_axes(size)
    for i, (label, members) in enumerate(groups.items()):
        color = style.color_of(label, i)
        for j, obs in enumerate(members):
            x, y = obs[:, x_dim], obs[:, y_dim]
            axes.plot(x, y, color=color, linewidth=1.4, alpha=0.75, label=label if j == 0 else None)
            axes.plot(x[:1], y[:1], "o", color=color, markeredgecolor="white", markersize=7)
            axes.plot(x[-1:], y[-1:], "s", color=color, markeredgecolor="white", markersize=7)
    axes.set(xlabel=of.label(x_dim), ylabel=of.label(y_dim))
    axes.set_title("circle: start, square: end", fontweight="normal")
    if len(groups) > 1:
        style.legend(axes)
    figure.alt = f"{of.names[y_dim]} against {of.names[x_dim]} for {', '.join(groups)}."
    return figure
