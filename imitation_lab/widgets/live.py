"""What views of a running training share: Stop, and drawings that do not take its time."""

import html
import math
import threading
from collections.abc import Callable
from typing import Any, ClassVar, Self

from imitation_lab.widgets.base import Composite, Row, answer_while_running, button, ipw

__all__ = ["Live"]


class Live(Composite):
    """A view of a training: Stop only sets ``stop_event``, which the loop reads, and drawings are rate limited.

    Use it as a context manager, so that the last state is drawn however training ends.

    Args:
        unit: what the training goes on by, e.g. "batch".
        min_interval: least seconds between two drawings.
        clock: the clock, in seconds.

    Attributes:
        stop_event: set when Stop was clicked.
        stop_button: the button.
        heading: title and progress.
        total: the number of steps to come, or None.
        history: what the training told so far.
        draws: how often it was drawn.
    """

    total: int | None
    history: Any
    drawing_share: ClassVar[float]
    """The most of the time that drawing takes."""

    def __init__(self, unit: str, min_interval: float, clock: Callable[[], float]) -> None:
        self.min_interval, self._clock, self._next_draw = min_interval, clock, -math.inf
        self.draws = 0
        self.stop_event = threading.Event()
        self.stop_button = button(
            "Stop", f"Stop the training after the current {unit}; what was learned is kept.", self.stop_event.set,
            button_style="warning",
        )  # fmt: skip
        answer_while_running(self.stop_button)
        self.heading = ipw.HTML()
        self._head = Row([self.stop_button, self.heading])
        super().__init__()

    @property
    def stopped(self) -> bool:
        """Whether Stop was clicked."""
        return self.stop_event.is_set()

    def callback(self) -> Callable[..., bool]:
        """Return a function that ignores its arguments and returns False once Stop was clicked.

        Fits ``BC.train(on_batch_end=view.callback())`` and every callback that stops on False.
        """
        return lambda *_, **__: not self.stopped

    def _draw(self) -> None:
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw now, whatever the rate limit says."""
        start = self._clock()
        self._draw()
        self.draws += 1
        end = self._clock()
        self._next_draw = end + max(self.min_interval, (end - start) / self.drawing_share)

    def _redraw_if_due(self) -> None:
        if self._clock() >= self._next_draw:
            self.redraw()

    def _revive(self) -> None:
        self.stop_button.disabled = False
        answer_while_running(self.stop_button)

    def _say(self, title: str, unit: str, number: int, finished: bool) -> None:
        ended = "stopped" if self.stopped else "finished"
        going = "stopping" if self.stopped else "running" if self.history else "waiting"
        of = f" of {self.total}" if self.total else ""
        self.heading.value = (
            f"<b>{html.escape(title)}</b>: {ended if finished else going}, {html.escape(unit)} {number}{of}"
        )

    def finish(self) -> None:
        """Draw the last state and retire the Stop button."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()
