"""Algorithms against each other: scores with intervals, and scores against what they cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.viz import style

__all__ = ["cost_curves", "score_intervals"]

_MARKERS = "osD^vPX*"
_ENDS = {"random": 0, "expert": 1}


@style.styled
def score_intervals(
    rows: Sequence[Mapping[str, Any]],
    runs: Mapping[str, Sequence[float]],
    *,
    title: str = "IQM and 95% interval; a dot is a run",
    width: float = 8.0,
) -> style.LabFigure:
    """One line per algorithm: the statistic as a diamond, its interval as a bar, every run as a dot.

    Args:
        rows: as `testing.compare.summary` gives them, with `algorithm`, `score`, `from` and `to`; drawn from the top.
        runs: each algorithm's scores, `(n_runs,)`.
        title: what is compared.
        width: inches.

    Raises:
        ValueError: if there is no row, or an algorithm has no runs.
    """
    if not rows:
        raise ValueError("rows is empty: score_intervals needs at least one algorithm.")
    missing = [row["algorithm"] for row in rows if not len(runs.get(row["algorithm"], ()))]
    if missing:
        raise ValueError(f"runs has no scores of {', '.join(missing)}; it has those of {', '.join(runs) or 'none'}.")
    figure, axes = style.new_axes((width, 0.95 + 0.34 * len(rows)))
    for y, row in enumerate(reversed(rows)):
        values = np.asarray(runs[row["algorithm"]], dtype=np.float64)
        axes.plot(values, np.full(len(values), y), "o", color=style.BLUE, alpha=0.4, markersize=6, markeredgewidth=0)
        reach = [[row["score"] - row["from"]], [row["to"] - row["score"]]]
        axes.errorbar(row["score"], y, xerr=reach, fmt="D", color=style.BLACK, capsize=5, markersize=6)
    style.reference_lines(axes, _ENDS, vertical=True)
    style.legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    low = min(float(np.min(runs[row["algorithm"]])) for row in rows)
    axes.set(title=title, xlabel="score", xlim=(min(-0.05, low - 0.05), None), ylim=(-0.6, len(rows) - 0.4))
    axes.set_yticks(range(len(rows)), [row["algorithm"] for row in reversed(rows)])
    axes.grid(visible=False, axis="y")
    numbers = ([row["algorithm"], *(style.plain(row[key], 2) for key in ("score", "from", "to"))] for row in rows)
    told = ["{} {}, interval {} to {}".format(*four) for four in numbers]
    figure.alt = f"Scores by algorithm: {'; '.join(told)}."
    return figure


@style.styled
def cost_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x_label: str,
    title: str = "IQM of the score",
    log_x: bool = False,
    x_ticks: Sequence[float] | None = None,
    order: Sequence[str] | None = None,
    size: tuple[float, float] = (8.0, 3.6),
) -> style.LabFigure:
    """Score against a cost, one line per algorithm, all with markers of their own.

    Args:
        curves: by algorithm, the costs and the scores, `(n_points,)` each.
        x_label: the cost and its unit.
        title: what is shown.
        log_x: logarithmic horizontal axis.
        x_ticks: where to put numbers on it.
        order: names by whose places colours and markers are given, so that an algorithm looks the same in figures that
            show different ones; None takes the curves.
        size: inches.

    Raises:
        ValueError: if there is no curve, its costs and scores differ in number, or `order` lacks it.
    """
    if not curves:
        raise ValueError("curves is empty: cost_curves needs at least one algorithm.")
    figure, axes = style.new_axes(size)
    places = {name: i for i, name in enumerate(curves if order is None else order)}
    if unknown := [name for name in curves if name not in places]:
        raise ValueError(f"order lacks {', '.join(unknown)}: name every curve.")
    for name, (x, y) in curves.items():
        if len(x) != len(y):
            raise ValueError(f"{name!r} has {len(x)} costs and {len(y)} scores: give one score per cost.")
        i = places[name]
        dashed = "-" if i < len(style.PALETTE) else "--"
        axes.plot(x, y, dashed, color=style.color_of(name, i), marker=_MARKERS[i % 8], markersize=6, label=name)
    style.reference_lines(axes, _ENDS)
    if log_x:
        axes.set_xscale("log")
    if x_ticks is not None:
        axes.set_xticks(x_ticks, [f"{value:,g}" for value in x_ticks])
        axes.minorticks_off()
    axes.set(xlabel=x_label, ylabel="score", title=title)
    style.legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    told = [f"{name} {', '.join(style.plain(value, 2) for value in y)}" for name, (_, y) in curves.items()]
    figure.alt = f"Score against {x_label}: {'; '.join(told)}."
    return figure
