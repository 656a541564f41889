"""Training curves, comparison of returns, and sweeps."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from imitation_lab.viz import style

__all__ = ["as_series", "smooth", "training_curves", "mean_and_error", "returns_table", "returns_bar", "sweep_plot"]

MAX_POINTS = 1500


def as_series(history: Any, x: str | None = None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return ``{key: (x, y)}`` from any form of training history.

    Args:
        history: a list of dicts as ``BC.train`` returns it, a pandas frame, or already ``{key: (x, y)}``.
        x: key of the horizontal axis in a list of dicts; by default the row number.

    Values that are no finite number are left out.
    """
    if hasattr(history, "to_dict"):
        history = history.to_dict("records")
    columns: dict[str, list[tuple[float, float]]] = {}
    if isinstance(history, Mapping):
        columns = {key: [] for key in history}
        items: Any = ((k, a, b) for k, (xs, ys) in history.items() for a, b in zip(xs, ys, strict=True))
    else:
        items = ((k, row.get(x, i) if x else i, v) for i, row in enumerate(history) for k, v in row.items())
    for key, a, b in items:
        try:
            a, b = float(a), float(b)
        except (TypeError, ValueError):
            continue
        if np.isfinite(a) and np.isfinite(b):
            columns.setdefault(key, []).append((a, b))
    points = {key: np.reshape(pairs, (-1, 2)) for key, pairs in columns.items()}
    return {key: (found[:, 0], found[:, 1]) for key, found in points.items()}


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Return the exponential moving average with ``weight`` on the past, corrected for its start at zero."""
    if weight <= 0:
        return values
    averages = itertools.accumulate(values, lambda average, value: weight * average + (1 - weight) * value, initial=0.0)
    return np.array(list(averages)[1:]) / (1 - weight ** np.arange(1, len(values) + 1))


@style.styled
def training_curves(
    history: Any,
    *,
    keys: Sequence[str | Sequence[str]] | None = None,
    x: str | None = None,
    x_label: str | None = None,
    labels: Mapping[str, str] | None = None,
    references: Mapping[str, Mapping[str, float]] | None = None,
    smoothing: float = 0.0,
    columns: int = 3,
    panel_size: tuple[float, float] = (3.0, 2.6),
) -> style.LabFigure:
    """One panel per metric over training.

    Args:
        history: see :func:`as_series`.
        keys: metrics to show, one panel each; a tuple of keys shares a panel. All but ``x`` by default.
        x: key of the horizontal axis in a list of dicts.
        x_label: its label; ``x`` itself, else "step".
        labels: readable names with units, ``{"bc/loss": "loss [nats]"}``.
        references: horizontal lines per key, ``{"rollout/return_mean": {"expert": 500.0}}``.
        smoothing: weight in [0, 1) of the moving average; the raw curve stays visible, thin.
        columns: panels in a row.
        panel_size: inches of one panel.

    Raises:
        ValueError: a key that the history does not have, or ``smoothing`` out of range.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must lie in [0, 1), where 0 is none; got {smoothing}.")
    series = as_series(history, x)
    groups = [(k,) if isinstance(k, str) else tuple(k) for k in (keys or [k for k in series if k != x])]
    missing = [k for group in groups for k in group if k not in series]
    if missing and series:
        raise ValueError(f"the history has no {missing}; it has {sorted(series)}.")
    labels, references = labels or {}, references or {}
    width, height = panel_size
    size = lambda rows, columns: (max(4.5, width * columns), height * rows)
    figure, grid = style.new_panels(len(groups), columns, size)
    for axes, group in zip(grid.flat, groups, strict=False):
        for i, key in enumerate(group):
            if key in series and len(series[key][0]):
                _curve(axes, *series[key], labels.get(key, key), i, smoothing)
            else:
                style.empty_note(axes, "nothing recorded yet")
            style.reference_lines(axes, references.get(key, {}), first=3)
        title = labels.get(group[0], group[0]) if len(group) == 1 else _common_name(group, labels)
        axes.set_title(style.wrapped(title, figure.get_figwidth() / grid.shape[1]))
        axes.set_xlabel(x_label or x or "step")
        if len(group) > 1 or any(references.get(key) for key in group):
            style.legend(axes)
    if not groups:
        style.empty_note(grid.flat[0], "nothing recorded yet")
    shown = [key for group in groups for key in group]
    figure.alt = f"Training curves of {', '.join(labels.get(k, k) for k in shown) or 'nothing yet'}."
    return figure


def _curve(axes: Axes, xs: np.ndarray, ys: np.ndarray, label: str, index: int, smoothing: float) -> None:
    color, stride = style.color_of(label, index), -(-len(xs) // MAX_POINTS)
    if smoothing:
        axes.plot(xs[::stride], ys[::stride], color=color, alpha=0.3, linewidth=1)
        ys = smooth(ys, smoothing)
    marker = "o" if len(xs) <= 12 else ""
    axes.plot(xs[::stride], ys[::stride], color=color, label=label, marker=marker, markersize=4)


def _common_name(group: Sequence[str], labels: Mapping[str, str]) -> str:
    tails = {key.rsplit("/", 1)[-1] for key in group}
    return tails.pop() if len(tails) == 1 else " and ".join(labels.get(k, k).rsplit("/", 1)[-1] for k in group)


def mean_and_error(values: Any) -> tuple[float, float, int]:
    """Return mean, standard error of the mean and n of a sample (the error of one value is not a number)."""
    sample = np.asarray(values, dtype=float).ravel()
    if not sample.size:
        raise ValueError("expected at least one value, got an empty sample.")
    error = sample.std(ddof=1) / np.sqrt(sample.size) if sample.size > 1 else float("nan")
    return float(sample.mean()), float(error), int(sample.size)


def returns_table(results: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """Rows ``policy, mean, s.e., n`` for :func:`imitation_lab.viz.tables.text_table`."""
    names = ("mean", "s.e.", "n")
    return [{"policy": k, **dict(zip(names, mean_and_error(v), strict=True))} for k, v in results.items()]


@style.styled
def returns_bar(
    results: Mapping[str, Sequence[float]],
    *,
    y_label: str = "return per episode",
    title: str | None = None,
    size: tuple[float, float] = (6.5, 3.4),
) -> style.LabFigure:
    """Mean return ± standard error of each policy, with every episode as a dot.

    Args:
        results: episode returns by policy, ``{"random": [...], "learner": [...], "expert": [...]}``.
        y_label: the measure and its unit.
        title: what is compared.
        size: inches.
    """
    if not results:
        raise ValueError("returns_bar needs at least one policy's returns, e.g. {'learner': [...]}.")
    figure, axes = style.new_axes(size)
    summary, ticks = [], []
    for i, (name, values) in enumerate(results.items()):
        sample = np.asarray(values, dtype=float).ravel()
        mean, error, n = mean_and_error(sample)
        color = style.color_of(name, i)
        axes.bar(i, mean, width=0.62, color=color, alpha=0.45, edgecolor=color, linewidth=1.5)
        # a fixed low-discrepancy jitter: the same picture on every run
        spread = (((np.arange(n) * 0.6180339887) % 1) - 0.5) * 0.4 if n > 1 else 0.0
        axes.plot(i + np.broadcast_to(spread, n), sample, "o", color=color, markersize=4, alpha=0.7, markeredgewidth=0)
        if n > 1:
            axes.errorbar(i, mean, yerr=error, color="black", capsize=6, linewidth=1.8, capthick=1.8)
        told = style.plain(mean) + (f" ± {error:.3g}" if n > 1 else "")
        ticks.append(f"{name}\n{told} (n = {n})")
        summary.append(f"{name} {told}")
    axes.set_xticks(range(len(results)), ticks)
    axes.set(xlim=(-0.6, len(results) - 0.4), ylabel=y_label)
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.grid(visible=False, axis="x")
    axes.set_title(title or "mean ± standard error; a dot is an episode", fontweight="bold" if title else "normal")
    figure.alt = f"Bars of {y_label}: {'; '.join(summary)}."
    return figure


@style.styled
def sweep_plot(
    x: Sequence[float],
    results: Mapping[str, Any],
    *,
    x_label: str = "setting",
    y_label: str = "return per episode",
    references: Mapping[str, float] | None = None,
    log_x: bool = False,
    title: str | None = None,
    size: tuple[float, float] = (7.5, 3.6),
) -> style.LabFigure:
    """A measure against a swept setting: mean, band of ± one standard error, every run as a dot.

    Args:
        x: the settings, ``(n_settings,)``.
        results: runs of each method, ``(n_settings, n_runs)`` each, or a list of lists of unequal length.
        x_label: the setting and its unit.
        y_label: the measure and its unit.
        references: horizontal lines, ``{"expert": 500.0, "random": 22.0}``.
        log_x: logarithmic horizontal axis.
        title: what is compared.
        size: inches.

    Raises:
        ValueError: a method whose number of settings differs from ``x``.
    """
    figure, axes = style.new_axes(size)
    xs = np.asarray(x, dtype=float)
    for i, (name, runs) in enumerate(results.items()):
        if len(runs) != len(xs):
            raise ValueError(f"{name!r} has runs for {len(runs)} settings, x has {len(xs)}: give one row per x.")
        stats = [mean_and_error(row) for row in runs]
        means, errors = np.array([s[0] for s in stats]), np.nan_to_num([s[1] for s in stats])
        color = style.color_of(name, i)
        axes.fill_between(xs, means - errors, means + errors, color=color, alpha=0.22, linewidth=0)
        axes.plot(xs, means, color=color, marker="o", markersize=5, label=name)
        for position, row in zip(xs, runs, strict=True):
            sample = np.asarray(row, dtype=float).ravel()
            axes.plot(np.full(sample.size, position), sample, ".", color=color, alpha=0.45, markersize=5)
    style.reference_lines(axes, references or {}, first=3)
    if log_x:
        axes.set_xscale("log")
        axes.set_xticks(xs, [f"{value:g}" for value in xs])
        axes.minorticks_off()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.set_title(title or "mean ± standard error; a dot is a run", fontweight="bold" if title else "normal")
    style.legend(axes)
    figure.alt = f"{y_label} of {', '.join(results)} against {x_label}."
    return figure
