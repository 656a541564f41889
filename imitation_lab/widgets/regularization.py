"""A view of an adaptive λ at work."""

from typing import Any

from imitation_lab.regularization.updaters import IntervalParamScaler
from imitation_lab.viz.regularization import RegularizationTrace, example_training, regularization_panel
from imitation_lab.viz.style import LabFigure
from imitation_lab.viz.tables import Rows
from imitation_lab.widgets.base import Row, View, button, control, ipw, on_change

__all__ = ["RegularizationDashboard", "RegularizationTrace"]

MANY = 20


class RegularizationDashboard(View):
    """Losses, their ratio, the tolerated band, λ and the weights, with band and factor to play with.

    Sliders change the updater from the next λ update on, in a running training too. The buttons train on, where the
    trace knows how to.

    Args:
        trace: a ``RegularizationTrace``, a ``Regularizer`` to watch, or None for a small training to play with.

    Attributes:
        trace: the model; "start over" puts a fresh one here.
        band: the slider of the tolerated interval.
        factor: the slider of the scaling factor.
        step_button: trains to the next λ update.
        many_button: twenty of them.
        restart_button: begins again with the sliders as they are.
        image: the ``Picture``.
        numbers: the table of the last update.
    """

    def __init__(self, trace: Any = None) -> None:
        if trace is None:
            trace = example_training()
        elif not isinstance(trace, RegularizationTrace):
            trace = RegularizationTrace(trace)
        self.trace: RegularizationTrace = trace
        adjustable = isinstance(trace.updater, IntervalParamScaler)
        interval, factor = trace.interval or (0.9, 1.1), trace.factor or 0.1
        self.band = control(
            ipw.FloatRangeSlider, "tolerated ratio", "λ stays while validation ÷ training loss lies inside.",
            min=0.0, max=max(3.0, min(interval[1], 100.0)), step=0.01, value=interval, disabled=not adjustable,
            readout_format=".2f", layout=ipw.Layout(width="380px", max_width="100%"),
        )  # fmt: skip
        self.factor = control(
            ipw.FloatSlider, "factor", "Outside the band, λ is multiplied by 1 + factor or 1 − factor.",
            min=0.01, max=0.99, step=0.01, value=factor, disabled=not adjustable,
        )  # fmt: skip
        self.step_button = button(
            "step one update", "Train up to the next update of λ.", self.step, button_style="primary",
            disabled=not trace.can_step,
        )  # fmt: skip
        self.many_button = button(
            f"{MANY} updates", f"Train for {MANY} updates of λ.", lambda: self.step(MANY), disabled=not trace.can_step
        )
        self.restart_button = button(
            "start over", "Begin again, with the sliders as they are.", self.restart, disabled=not trace.can_restart
        )
        on_change(self._set_band, self.band)
        on_change(self._set_factor, self.factor)
        buttons = Row([self.step_button, self.many_button, self.restart_button])
        super().__init__(Row([self.band, self.factor]), buttons)

    def step(self, n: int = 1) -> None:
        """Train for `n` updates of λ and show them."""
        self.trace.step(n)
        self.refresh()

    def restart(self) -> None:
        """Begin again, with the sliders as they are."""
        self.trace = self.trace.restarted()
        self.refresh()

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return regularization_panel(self.trace)

    def rows(self) -> Rows:
        """Return the numbers of the last update."""
        return self.trace.numbers()

    def _set_band(self, change: Any) -> None:
        low, high = change["new"]
        if low >= high:  # both handles in one place: no interval
            self.band.value = change["old"]
            return
        self.trace.set_updater(tolerable_interval=(low, high))
        self.refresh()

    def _set_factor(self, change: Any) -> None:
        self.trace.set_updater(scaling_factor=change["new"])
        self.refresh()

    def _summary(self) -> str:
        return f"{type(self.trace.regularizer).__name__}; {len(self.trace)} updates"
