"""A view of what a kernel density's bandwidth does."""

from typing import Any

from imitation_lab.algorithms.density.density import KERNELS
from imitation_lab.viz.density import BandwidthModel, bandwidth_panel
from imitation_lab.viz.style import LabFigure, evenly, frame_pngs
from imitation_lab.viz.tables import Rows
from imitation_lab.widgets.base import SweepView, control, ipw, is_model

__all__ = ["BandwidthExplorer", "BandwidthModel"]


class BandwidthExplorer(SweepView):
    """The estimated density from too sharp to too smooth, and how well each explains data it has not seen.

    The bandwidth slider moves without a kernel (of the notebook); another kernel (of the density) is drawn anew.

    Args:
        demonstrations: a ``BandwidthModel``, or what it is made of.
        n_frames: bandwidths that the slider can show, evenly spaced, the best one among them.
        **kwargs: as in ``BandwidthModel``: ``names``, ``units``, ``x_dim``, ``y_dim``, ``kernel``, ``bandwidths``.

    Attributes:
        model: the model.
        kernel: the dropdown.
        frames: the ``FrameStack`` over bandwidths.
        numbers: the table of the bandwidth shown.
        indices: the model's number of each frame's bandwidth.
    """

    def __init__(self, demonstrations: Any, *, n_frames: int = 7, **kwargs: Any) -> None:
        given = is_model(demonstrations, BandwidthModel, kwargs)
        self.model = demonstrations if given else BandwidthModel(demonstrations, **kwargs)
        self.indices = sorted({*evenly(len(self.model.bandwidths), n_frames), self.model.best})
        self.kernel = control(
            ipw.Dropdown, "kernel", "The shape of the bump that each demonstrated state adds.",
            options=list(KERNELS), value=self.model.kernel,
        )  # fmt: skip
        labels = [f"h = {self.model.bandwidths[i]:.2g} sd" for i in self.indices]
        super().__init__(
            self._pngs(), [self.kernel], labels=labels, description="bandwidth", alt=self._alt(),
            index=self.indices.index(self.model.best), interval=900,
        )  # fmt: skip

    @property
    def index(self) -> int:
        """The model's number of the bandwidth shown."""
        return self.indices[self.slider.value]

    @property
    def bandwidth(self) -> float:
        """The bandwidth shown, in standard deviations."""
        return float(self.model.bandwidths[self.index])

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return bandwidth_panel(self.model, self.index)

    def rows(self) -> Rows:
        """Return the numbers shown."""
        return self.model.numbers(self.index)

    def _pngs(self) -> list[bytes]:
        return frame_pngs(bandwidth_panel(self.model, i) for i in self.indices)

    def _alt(self) -> str:
        return f"Density of demonstrated states with the {self.model.kernel} kernel, from sharp to smooth."

    def _redraw(self, change: Any = None) -> None:
        self.model.kernel = self.kernel.value
        super()._redraw()

    def _caption(self) -> str:
        return f"{self.model.kernel} kernel; sd: standard deviations of the states"

    def _summary(self) -> str:
        return f"{self.model.kernel} kernel; {len(self.indices)} bandwidths"
