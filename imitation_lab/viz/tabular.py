"""Maps of grid worlds: one number for each cell, several maps side by side, and the same maps over training."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from imitation_lab.viz import style

__all__ = ["grid_frames", "grid_maps"]

Limits = Mapping[str, tuple[float, float]]


@style.styled
def grid_maps(
    maps: Mapping[str, np.ndarray],
    *,
    layout: Sequence[str] | None = None,
    limits: Limits | None = None,
    shared_scale: bool = False,
    digits: int | None = 1,
    columns: int = 3,
    label: str = "",
) -> style.LabFigure:
    """Draws maps side by side, the first row at the top.

    Args:
        maps: by title, each `(height, width)`, as `GridEnv.to_grid` lays them out; walls, not finite, are grey.
        layout: the map's characters; those of cells other than `.` are written into the cells.
        limits: lowest and highest colour by title; others take their own.
        shared_scale: one colour scale for all maps without limits.
        digits: decimals of the number in each cell, none of those from 10 on; None writes no numbers.
        columns: maps in a row.
        label: what the numbers are, for all.

    Raises:
        ValueError: if there is no map, or the shapes differ from each other or from `layout`.
    """
    grids = {name: np.asarray(grid, dtype=np.float64) for name, grid in maps.items()}
    shape = _common_shape(grids, layout)
    ends = _scales(grids, limits, shared_scale)

    def size(rows: int, columns: int) -> tuple[float, float]:
        width = 9.0 if columns > 1 else 4.6
        return width, ((width / columns - 0.85) * shape[0] / shape[1] + (0.65 if columns > 2 else 0.45)) * rows

    figure, panels = style.new_panels(len(grids), columns, size)
    figure.colors = 160
    for axes, (name, grid) in zip(panels.flat, grids.items(), strict=False):
        _draw(axes, grid, ends[name], layout, digits)
        axes.set_title(style.wrapped(name, figure.get_figwidth() / panels.shape[1]))
        if label:
            axes.images[0].colorbar.set_label(label)
    told = [f"{name} from {style.plain(low, 2)} to {style.plain(high, 2)}" for name, (low, high) in ends.items()]
    figure.alt = f"Maps of {shape[0]} by {shape[1]} cells: {'; '.join(told)}."
    return figure


def grid_frames(
    frames: Sequence[Mapping[str, np.ndarray]],
    *,
    limits: Limits | None = None,
    shared_scale: bool = False,
    **kwargs: Any,
) -> list[bytes]:
    """Draws each of `frames` as `grid_maps` does, as PNGs for a `FrameStack`; a colour means the same in all frames.

    Args:
        frames: maps by title, the same titles in all.
        limits: see `grid_maps`.
        shared_scale: see `grid_maps`.
        **kwargs: as in `grid_maps`: `layout`, `digits`, `columns`, `label`.

    Raises:
        ValueError: if there are no frames, their titles differ, or as in `grid_maps`.
    """
    if not frames:
        raise ValueError("frames is empty: at least one is needed.")
    names = list(frames[0])
    for i, frame in enumerate(frames):
        if list(frame) != names:
            raise ValueError(f"frame {i} has the maps {list(frame)}, frame 0 has {names}: give the same in all.")
    stacked = {name: np.stack([frame[name] for frame in frames]).astype(np.float64) for name in names}
    ends = _scales(stacked, limits, shared_scale)
    return style.frame_pngs(map(partial(grid_maps, limits=ends, **kwargs), frames), colors=64)


def _draw(
    axes: Axes, grid: np.ndarray, ends: tuple[float, float], layout: Sequence[str] | None, digits: int | None
) -> None:
    axes.set_facecolor("#555555")
    cells = np.ma.masked_invalid(grid)
    image = axes.imshow(cells, vmin=ends[0], vmax=ends[1], origin="upper", interpolation="nearest")
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    style.color_bar(axes, image)
    for (row, column), value in np.ndenumerate(grid):
        if not np.isfinite(value):
            continue
        ink = style.ink_on(image.cmap(image.norm(value)))
        named = layout is not None and layout[row][column] != "."
        if digits is not None:
            low = row + 0.18 * named  # below the letter
            axes.text(column, low, _number(value, digits), color=ink, fontsize=7.5, ha="center", va="center")
        if layout is not None and named:
            axes.text(column - 0.44, row - 0.46, layout[row][column], color=ink, fontsize=7.5, ha="left", va="top",
                      fontweight="bold")  # fmt: skip


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits if abs(value) < 9.95 else 0}f}".replace("-", "−")
    return text if text.strip("−0.") else text.lstrip("−")  # no minus before a zero


def _common_shape(grids: Mapping[str, np.ndarray], layout: Sequence[str] | None) -> tuple[int, int]:
    if not grids:
        raise ValueError("maps is empty: at least one map is needed.")
    expected = next(iter(grids.values())).shape if layout is None else (len(layout), len(layout[0]))
    wanted = expected if len(expected) == 2 else "(height, width)"
    for name, grid in grids.items():
        if grid.shape != wanted:
            raise ValueError(f"map {name!r} has shape {grid.shape}, expected {wanted}, as GridEnv.to_grid gives it.")
    return expected


def _scales(grids: Mapping[str, np.ndarray], limits: Limits | None, shared: bool) -> dict[str, tuple[float, float]]:
    """Lowest and highest colour by title."""
    found = {}
    for name, grid in grids.items():
        low, high = style.ends(*(grids.values() if shared else [grid]))
        found[name] = (low, high) if high > low else (low - 0.5, high + 0.5)
    return found | {name: pair for name, pair in (limits or {}).items() if name in found}
