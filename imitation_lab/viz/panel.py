"""A figure of which some parts move along an index, be it a step, a batch or a round."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from imitation_lab.viz import style
from imitation_lab.viz.dimensions import Dimensions

__all__ = ["MAX_TRACES", "Panel"]

MAX_TRACES = 6
"""Lines of one panel: more cannot be told apart."""


class Panel:
    """What moves in ``figure``, and how.

    Args:
        figure: with everything in place once the subclass has drawn it.
        length: number of indices.

    Attributes:
        artists: what moves, in drawing order.
    """

    def __init__(self, figure: style.LabFigure, length: int) -> None:
        self.figure, self.length = figure, length
        self.artists: list[Artist] = []
        self._updates: list[Callable[[int], Any]] = []

    def _moves(self, update: Callable[[int], Any], *artists: Artist) -> None:
        self.artists += artists
        self._updates.append(update)

    def _cursor(self, axes: Axes, position: Callable[[int], float], **kwargs: Any) -> None:
        line = axes.axvline(position(0), **{"color": style.BLACK, "linewidth": 1.2, **kwargs})
        self._moves(lambda index: line.set_xdata([position(index)] * 2), line)

    def _picture(self, axes: Axes, pictures: np.ndarray, number: Callable[[int], int]) -> None:
        """``number`` tells which of ``pictures (n, height, width, 3)`` belongs to an index."""
        image = style.show_picture(axes, pictures[0], interpolation="antialiased")
        # the border lies on top of the picture
        self._moves(lambda index: image.set_data(pictures[number(index)]), image, *axes.spines.values())

    def _text(self, axes: Axes, x: float, y: float, text: Callable[[int], str], **kwargs: Any) -> Text:
        """``text`` tells what stands at a place given in shares of the axes."""
        note = axes.text(x, y, "", transform=axes.transAxes, **kwargs)
        self._moves(lambda index: note.set_text(text(index)), note)
        return note

    def _histogram(
        self, axes: Axes, edges: np.ndarray, shares: Callable[[int], np.ndarray], **kwargs: Any
    ) -> StepPatch:
        """A histogram whose heights ``shares`` tells, ``(bins,)``."""
        bars = axes.stairs(np.zeros(len(edges) - 1), edges, **kwargs)
        self._moves(lambda index: bars.set_data(shares(index)), bars)
        return bars

    @staticmethod
    def _traces(axes: Axes, values: np.ndarray, names: Sequence[str] | None) -> None:
        """Draws the first dimensions of ``values (steps, dims)`` over the steps."""
        for i, name in enumerate(Dimensions(values.shape[1], names).names[:MAX_TRACES]):
            axes.plot(values[:, i], color=style.PALETTE[i], linewidth=1.5, label=name)
        if values.shape[1] > MAX_TRACES:
            axes.plot([], [], " ", label=f"+ {values.shape[1] - MAX_TRACES} more")

    def show(self, index: int) -> None:
        """Move to ``index``."""
        for update in self._updates:
            update(index)

    def at(self, index: int) -> style.LabFigure:
        """Return the figure at ``index``; negative ones count from the end."""
        self.show(range(self.length)[index])
        return self.figure

    def pngs(self, indices: Sequence[int]) -> list[bytes]:
        """Return one PNG per index."""
        return style.animated_pngs(self.figure, self.artists, self.show, indices)
