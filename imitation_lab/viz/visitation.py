"""Where a policy goes: how often each part of the state space is visited, by whom, and how much that differs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from scipy import ndimage

from imitation_lab.viz import style

__all__ = ["visitation", "visitation_distance", "visitation_figure"]


def visitation(points: np.ndarray, edges: Sequence[np.ndarray]) -> np.ndarray:
    """The share of states in each cell of a grid; states outside count in the cell at the border.

    Args:
        points: states, ``(n, 2)``.
        edges: the borders of the cells along each axis.

    Returns:
        ``(len(edges[0]) - 1, len(edges[1]) - 1)``, which sums to 1.

    Raises:
        ValueError: ``points`` has another shape, or no rows.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"points must have the shape (n, 2) with n at least 1, got {points.shape}.")
    x, y = (np.clip(values, edge[0], edge[-1]) for values, edge in zip(points.T, edges, strict=True))
    counts, *_ = np.histogram2d(x, y, bins=[np.asarray(edge) for edge in edges])
    return counts / len(points)


def visitation_distance(first: np.ndarray, second: np.ndarray, edges: Sequence[np.ndarray]) -> float:
    """Total variation distance between the visits of two policies: 0 for the same, 1 where they share no cell.

    Samples differ a little even where policies do not: compare with the distance between two samples of one policy.

    Args:
        first: states, ``(n, 2)``.
        second: states, ``(m, 2)``.
        edges: see `visitation`.
    """
    return 0.5 * float(np.abs(visitation(first, edges) - visitation(second, edges)).sum())


@style.styled
def visitation_figure(
    visits: Mapping[str, np.ndarray],
    edges: Sequence[np.ndarray],
    *,
    reference: str | None = None,
    names: Sequence[str] = ("state 0", "state 1"),
    units: Sequence[str | None] = (None, None),
) -> style.LabFigure:
    """Draws the visits of each policy in a panel of its own, on one logarithmic scale.

    Args:
        visits: states ``(n, 2)`` by name.
        edges: see `visitation`.
        reference: the name whose region is outlined in the other panels (where most cells around were visited); each
            title tells the distance to it.
        names: of the two dimensions.
        units: of the two dimensions.

    Raises:
        ValueError: ``reference`` is not among the names.
    """
    if reference is not None and reference not in visits:
        raise ValueError(f"reference {reference!r} is none of {list(visits)}.")
    shares = {name: visitation(points, edges) for name, points in visits.items()}
    least = min(1 / len(points) for points in visits.values())
    norm = LogNorm(least, max(share.max() for share in shares.values()))
    figure, grid = style.new_figure(1, len(visits), size=(3.2 * len(visits), 3.0), sharex=True, sharey=True)
    centres = [(edge[1:] + edge[:-1]) / 2 for edge in map(np.asarray, edges)]
    if reference is not None:  # the share of visited cells among nine: single holes and strays vanish
        region = ndimage.uniform_filter((shares[reference] > 0).astype(float), 3, mode="nearest")
    told = []
    for axes, (name, share) in zip(grid[0], shares.items(), strict=True):
        mesh = axes.pcolormesh(*edges, np.ma.masked_equal(share.T, 0), norm=norm)
        title = name
        if reference is not None and name != reference:
            axes.contour(*centres, region.T, levels=[0.5], colors=[style.ORANGE])
            distance = 0.5 * float(np.abs(share - shares[reference]).sum())
            title = f"{name}: distance {distance:.2f}"
            told.append(title)
        axes.set(title=title, xlabel=style.with_unit(names[0], units[0]))
        axes.grid(visible=False)
    grid[0, 0].set_ylabel(style.with_unit(names[1], units[1]))
    figure.colorbar(mesh, ax=list(grid[0]), label="share of the visits")
    figure.alt = f"Visits over {names[0]} and {names[1]} of {', '.join(visits)}. {'; '.join(told)}."
    return figure
