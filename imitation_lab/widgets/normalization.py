"""A view of what a normalization layer does to the data."""

from typing import Any

from imitation_lab.viz.normalization import NormalizationPanel, normalization_panel
from imitation_lab.viz.normalization_trace import NormalizationRecorder, NormalizationTrace
from imitation_lab.viz.style import LabFigure, evenly
from imitation_lab.viz.tables import Rows
from imitation_lab.widgets.base import SweepView, control, ipw, is_model

__all__ = ["NormalizationDashboard", "NormalizationRecorder", "NormalizationTrace"]


class NormalizationDashboard(SweepView):
    """Running mean, variance and count over batches, and histograms before and after, for one or more layers.

    The batch slider moves without a kernel; feature and checkbox draw anew.

    Args:
        trace: a ``NormalizationTrace``; or a layer or ``{name: layer}``, with ``batches``.
        batches: what to feed the layers, arrays ``(batch, features)``.
        feature: number or name of the feature shown first.
        n_frames: batches that the slider can show, evenly spaced.
        **kwargs: as in ``NormalizationTrace.feed``: ``features``, ``units``, ``freeze_after``, ``bins``.

    Attributes:
        trace: the model.
        feature: the dropdown.
        updating: the checkbox: statistics that move with every batch, or frozen ones.
        frames: the ``FrameStack`` over batches.
        numbers: the table of the batch shown.
        batches: the batch of each frame.
    """

    def __init__(
        self, trace: Any, batches: Any = None, *, feature: int | str = 0, n_frames: int = 10, **kwargs: Any
    ) -> None:
        if not is_model(trace, NormalizationTrace, batches, kwargs):
            if batches is None:
                raise ValueError("pass a NormalizationTrace, or layers together with the batches to feed them.")
            trace = NormalizationTrace.feed(trace, batches, **kwargs)
        self.trace: NormalizationTrace = trace
        self.batches = evenly(len(trace), n_frames)
        self._drawn: dict[tuple[int, bool], list[bytes]] = {}
        self.feature = control(
            ipw.Dropdown, "feature", "Which input feature to show.",
            options=[(name, i) for i, name in enumerate(trace.features)], value=trace.index(feature),
        )  # fmt: skip
        self.updating = control(
            ipw.Checkbox, "update statistics", "On: the layer learns from every batch. Off: its statistics are frozen.",
            value=True, indent=False,
        )  # fmt: skip
        labels = [f"batch {b} of {len(trace) - 1}" for b in self.batches]
        super().__init__(
            self._pngs(), [self.feature, self.updating], labels=labels, description="batch", alt=self._alt(),
            index=len(self.batches) - 1,
        )  # fmt: skip

    @property
    def batch(self) -> int:
        """The batch shown."""
        return self.batches[self.slider.value]

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return normalization_panel(self.trace, self.feature.value, self.batch, updating=self.updating.value)

    def rows(self) -> Rows:
        """Return the numbers shown."""
        return self.trace.numbers(self.feature.value, self.batch, updating=self.updating.value)

    def _pngs(self) -> list[bytes]:
        key = (self.feature.value, self.updating.value)
        if key not in self._drawn:
            self._drawn[key] = NormalizationPanel(self.trace, key[0], updating=key[1]).pngs(self.batches)
        return self._drawn[key]

    def _mode(self) -> str:
        return f"statistics {'updating' if self.updating.value else 'frozen'}"

    def _alt(self) -> str:
        return f"Normalization of {self.trace.features[self.feature.value]}, {self._mode()}."

    def _caption(self) -> str:
        return f"{self.trace.features[self.feature.value]}, batch {self.batch}, {self._mode()}"

    def _summary(self) -> str:
        return f"{', '.join(self.trace.layers)}; {len(self.trace)} batches, {len(self.trace.features)} features"
