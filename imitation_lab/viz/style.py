"""One look for every figure: colours, fonts, and figures as small PNGs.

Figures never touch pyplot, so they neither leak nor depend on the backend. Matplotlib's settings and its text engine
are shared between threads, and a widget's callback may run in another thread than the cell: one lock covers both.
"""

import contextlib
import io
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

__all__ = [
    "BLUE", "ORANGE", "GREEN", "PURPLE", "SKY", "YELLOW", "BLACK", "GREY", "PALETTE", "ROLE_COLORS",
    "DPI", "FRAME_DPI", "LabFigure", "styled", "new_figure", "new_axes", "new_panels", "three_over_two",
    "figure_to_png", "scaled", "image_to_png", "frame_pngs", "animated_pngs", "color_of", "ink_on", "evenly", "ends",
    "with_unit", "empty_note", "plain", "wrapped", "legend", "reference_lines", "color_bar", "color_map",
    "show_picture",
]  # fmt: skip

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, YELLOW, BLACK, GREY = "#56B4E9", "#E69F00", "#222222", "#8A8A8A"
PALETTE = (BLUE, GREEN, PURPLE, YELLOW, SKY, BLACK)
"""Okabe and Ito's colours, told apart with any common colour vision; orange is kept for the expert."""

ROLE_COLORS = {
    "random": GREY,
    "zero": GREY,
    "learner": BLUE,
    "learned": BLUE,
    "expert": ORANGE,
    "demonstrations": ORANGE,
    "true": GREEN,
    "raw": GREY,
}
"""Colours that mean the same in every figure."""

DPI = 100
FRAME_DPI = 84  # a sweep holds a dozen pictures, and a notebook should stay under a megabyte

_STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("lab.mplstyle"), use_default_template=False)
_LOCK = threading.RLock()


class LabFigure(Figure):
    """A figure that shows itself in a notebook as a small PNG.

    Attributes:
        alt: its text for screen readers.
        colors: palette size of the PNG.
    """

    alt: str = ""
    colors: int = 96

    def __repr__(self) -> str:
        width, height = self.get_size_inches()
        return f"<Figure {width:g} x {height:g} in, {len(self.axes)} axes>"

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return figure_to_png(self), {"alt": self.alt}


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    with _LOCK, matplotlib.rc_context(_STYLE):
        yield


styled = _settings()
"""Runs the function that it decorates under the library's matplotlib settings, one thread at a time."""


@styled
def new_figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (9.0, 3.2), alt: str = "", **subplots: Any
) -> tuple[LabFigure, np.ndarray]:
    """Return an empty figure of ``size`` inches and its axes, shape ``(rows, columns)``.

    At the default 100 dots per inch nine inches fill a notebook's width.
    """
    figure = LabFigure(figsize=size, dpi=DPI, layout="constrained")
    figure.alt = alt
    return figure, figure.subplots(rows, columns, squeeze=False, **subplots)


def new_axes(size: tuple[float, float]) -> tuple[LabFigure, Axes]:
    """Return an empty figure of ``size`` inches and its one axes."""
    figure, grid = new_figure(size=size)
    return figure, grid[0, 0]


def new_panels(
    n: int, columns: int, size: Callable[[int, int], tuple[float, float]], **subplots: Any
) -> tuple[LabFigure, np.ndarray]:
    """Return a figure of ``size(rows, columns)`` inches whose first ``n`` axes, at most ``columns`` in a row, show."""
    columns = max(1, min(columns, n))
    rows = max(1, -(-n // columns))
    figure, grid = new_figure(rows, columns, size=size(rows, columns), **subplots)
    for axes in grid.flat[n:]:
        axes.set_axis_off()
    return figure, grid


@styled
def three_over_two(size: tuple[float, float], **rows: Any) -> tuple[LabFigure, list[Axes], list[Axes]]:
    """Return an empty figure of ``size`` inches, its three upper and its two lower axes."""
    figure = LabFigure(figsize=size, dpi=DPI, layout="constrained")
    axes = list(figure.subplot_mosaic("AABBCC;DDDEEE", **rows).values())
    return figure, axes[:3], axes[3:]


@styled
def figure_to_png(figure: Figure, dpi: float = DPI, *, colors: int | None = None) -> bytes:
    """Return ``figure`` as PNG bytes with a palette of at most ``colors`` colours (a third of the full size)."""
    colors = getattr(figure, "colors", LabFigure.colors) if colors is None else colors
    if not 2 <= colors <= 256:
        raise ValueError(f"colors must lie between 2 and 256, a PNG palette's limits; got {colors}.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    with Image.open(buffer) as image:
        return image_to_png(image, colors=colors)


def scaled(image: "Image.Image | np.ndarray", max_width: int | None) -> Image.Image:
    """Return an image as RGB, scaled down to ``max_width`` pixels if it is wider."""
    picture = Image.fromarray(np.ascontiguousarray(image)) if isinstance(image, np.ndarray) else image
    picture = picture.convert("RGB")
    if max_width is None or picture.width <= max_width:
        return picture
    return picture.resize((max_width, max(1, round(picture.height * max_width / picture.width))))


def image_to_png(image: "Image.Image | np.ndarray", *, colors: int = 96, max_width: int | None = None) -> bytes:
    """Return an image, ``(height, width[, 3 or 4])`` uint8 or a Pillow image, as palette PNG bytes."""
    picture = scaled(image, max_width)
    buffer = io.BytesIO()
    # the octree is eight times faster and enough for lines and text; gradients need the median cut
    method = Image.Quantize.MEDIANCUT if colors > 100 else Image.Quantize.FASTOCTREE
    small = picture.quantize(colors, method=method, dither=Image.Dither.NONE)
    palette = np.array(small.getpalette(), dtype=np.uint8).reshape(-1, 3)
    palette[(palette >= 250).all(axis=1)] = 255  # averaging darkens the white page a little
    small.putpalette(palette.tobytes())
    small.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def frame_pngs(figures: Iterable[Figure], *, colors: int | None = None) -> list[bytes]:
    """Return figures as the pictures of a sweep, each in the resolution of :data:`FRAME_DPI`."""
    return [figure_to_png(figure, FRAME_DPI, colors=colors) for figure in figures]


@styled
def animated_pngs(
    figure: Figure, artists: Sequence[Artist], update: Callable[[int], None], indices: Sequence[int]
) -> list[bytes]:
    """Draw ``figure`` once and then only ``artists`` for each index: one PNG per index.

    Args:
        figure: the figure with everything in place.
        artists: what changes from frame to frame, in drawing order, each inside an ``Axes``.
        update: ``update(index)`` sets the artists to the state of that frame.
        indices: the frames to draw.
    """
    canvas = FigureCanvasAgg(figure)
    dpi = figure.dpi
    figure.set_dpi(FRAME_DPI)
    if len(indices):
        update(indices[0])  # the layout must see a filled frame
    for artist in artists:
        artist.set_animated(True)
    canvas.draw()
    background = canvas.copy_from_bbox(figure.bbox)
    pngs = []
    for index in indices:
        canvas.restore_region(background)
        update(index)
        for artist in artists:
            if isinstance(artist.axes, Axes):
                artist.axes.draw_artist(artist)
        pngs.append(image_to_png(np.array(canvas.buffer_rgba()), colors=64))
    for artist in artists:
        artist.set_animated(False)
    figure.set_dpi(dpi)
    return pngs


def color_of(label: str, index: int) -> str:
    """Return the colour of a role such as ``"expert"``, else the palette's colour number ``index``."""
    words = label.lower().replace("(", " ").replace("_", " ").split()
    return next((ROLE_COLORS[word] for word in words if word in ROLE_COLORS), PALETTE[index % len(PALETTE)])


def ink_on(color: Any) -> str:
    """Return black or white, whichever reads better on ``color``."""
    red, green, blue = to_rgb(color)
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"


def evenly(length: int, n: int) -> list[int]:
    """Return at most ``n`` of ``length`` positions, evenly spread, the first and the last among them."""
    return sorted({int(i) for i in np.linspace(0, length - 1, min(n, length)).round()})


def ends(*arrays: np.ndarray) -> tuple[float, float]:
    """Return the lowest and the highest finite value of all; 0 and 1 if there is none."""
    found = np.concatenate([np.empty(0), *(array[np.isfinite(array)] for array in arrays)])
    return (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)


def with_unit(name: str, unit: str | None) -> str:
    """Return ``"name [unit]"``, or the name alone."""
    return f"{name} [{unit}]" if unit else name


def empty_note(axes: Axes, text: str) -> None:
    """Say in the middle of ``axes`` why there is nothing to see."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555", fontsize=10)


def plain(value: float, digits: int = 4) -> str:
    """Return a number for a label: rounded, with a true minus sign."""
    return (f"{value:.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:.{digits}g}").replace("-", "−")


def wrapped(title: str, inches: float) -> str:
    """Return ``title`` broken into lines that fit ``inches``."""
    return textwrap.fill(title, max(12, int(inches * 8.5)))


def legend(axes: Axes, **kwargs: Any) -> None:
    """Add a legend where there is something to name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**{"loc": "best", **kwargs})


def reference_lines(axes: Axes, lines: Mapping[str, float], first: int = 0, *, vertical: bool = False) -> None:
    """Draw a dashed level for each name, coloured by role, else by the palette's colours from number ``first`` on."""
    draw = axes.axvline if vertical else axes.axhline
    for i, (name, value) in enumerate(lines.items(), first):
        draw(value, color=color_of(name, i), linestyle="--", linewidth=1.5, label=name)


def color_bar(axes: Axes, image: Any, label_size: float | None = None) -> None:
    """Put the colour scale of ``image`` beside ``axes``."""
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.08, pad=0.02)
    bar.outline.set_visible(False)
    if label_size is not None:
        bar.ax.tick_params(labelsize=label_size)


def color_map(
    axes: Axes, xs: np.ndarray, ys: np.ndarray, values: np.ndarray, limits: tuple[float, float], points: Any = None
) -> None:
    """Draw ``values (len(ys), len(xs))`` in colours, cells centred on grid points, with dots at ``points (n, 2)``.

    Entries that are not finite stay white; of many points 400 at most are drawn, evenly spread.
    """
    half_x, half_y = (xs[1] - xs[0]) / 2, (ys[1] - ys[0]) / 2
    extent = (xs[0] - half_x, xs[-1] + half_x, ys[0] - half_y, ys[-1] + half_y)
    image = axes.imshow(
        np.ma.masked_invalid(values), extent=extent, aspect="auto", interpolation="nearest",
        vmin=limits[0], vmax=limits[1],
    )  # fmt: skip
    axes.grid(visible=False)
    color_bar(axes, image, 9.5)
    if points is not None and len(points):
        shown = np.asarray(points)[:: -(-len(points) // 400)]
        axes.plot(shown[:, 0], shown[:, 1], ".", color="white", markersize=3.2, markeredgecolor="black",
                  markeredgewidth=0.3, alpha=0.75)  # fmt: skip
        axes.set(xlim=extent[:2], ylim=extent[2:])


def show_picture(axes: Axes, picture: np.ndarray, **kwargs: Any) -> Any:
    """Show a picture ``(height, width, 3)`` in a thin frame without ticks, and return its artist."""
    image = axes.imshow(picture, origin="upper", **kwargs)
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(True)
    axes.spines[:].set_color("#CCCCCC")
    return image
