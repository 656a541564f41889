"""A live view of training: curves, current numbers, and a button that stops it."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from imitation_lab.viz.curves import training_curves
from imitation_lab.viz.style import LabFigure
from imitation_lab.viz.tables import html_table
from imitation_lab.widgets.base import View
from imitation_lab.widgets.live import Live

__all__ = ["DashboardWriter", "TrainingDashboard"]

MAX_PANELS = 6
ROWS_PER_TABLE = 6


class DashboardWriter(KVWriter):
    """Logger output format that feeds a dashboard; append it to a logger's ``output_formats``."""

    def __init__(self, dashboard: "TrainingDashboard") -> None:
        self.dashboard = dashboard

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Hand one dump of the logger to the dashboard."""
        excluded = {k for k, formats in key_excluded.items() if formats and "dashboard" in formats}
        self.dashboard.update({k: v for k, v in key_values.items() if k not in excluded}, step)

    def close(self) -> None:
        """Draw what the rate limit held back."""
        self.dashboard.redraw()


class TrainingDashboard(Live, View):
    """Curves, current numbers and a Stop button for any training loop.

    Feed it by hand (``update``), by a logger (``attach``), or by SB3 (``sb3_callback``). Stop only sets
    ``stop_event``: the loop reads it between batches, by ``callback()`` or ``stopped``. Use it as a context manager,
    so that the last state is drawn however training ends.

    Args:
        keys: metrics to plot, one panel each; a tuple of keys shares a panel. By default the first six that arrive.
        title: the heading.
        x_label: what a step is, e.g. "batch".
        labels: readable names with units by key.
        references: horizontal lines by key, ``{"rollout/return_mean": {"expert": 500.0}}``.
        smoothing: weight in [0, 1) of the curves' moving average.
        total: the number of steps to come, for the progress in the heading.
        columns: panels in a row.
        min_interval: least seconds between two drawings; drawing also never takes more than a tenth of the time.
        clock: the clock, in seconds.

    Attributes:
        stop_event: set when Stop was clicked.
        stop_button: the button.
        image: the curves, a ``Picture``.
        numbers: the current numbers.
        heading: title and progress.
        history: ``{key: ([steps], [values])}``.
        draws: how often the curves were drawn.
    """

    drawing_share = 0.1
    digits = 4

    def __init__(
        self,
        keys: Sequence[str | Sequence[str]] | None = None,
        *,
        title: str = "Training",
        x_label: str = "step",
        labels: Mapping[str, str] | None = None,
        references: Mapping[str, Mapping[str, float]] | None = None,
        smoothing: float = 0.0,
        total: int | None = None,
        columns: int = 3,
        min_interval: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys_shown = None if keys is None else list(keys)
        self.title, self.x_label, self.total = title, x_label, total
        self.labels, self.references = dict(labels or {}), dict(references or {})
        self.smoothing, self.columns = smoothing, columns
        self._lock = threading.Lock()
        self.history: dict[str, tuple[list[float], list[float]]] = {}
        self.latest: dict[str, float] = {}
        self.step, self.finished = 0, False
        super().__init__("batch", min_interval, clock)
        self.children = [self._head, *self.children]

    def reset(self) -> None:
        """Forget the history and the click on Stop."""
        with self._lock:
            self.history, self.latest, self.step, self.finished = {}, {}, 0, False
        self.stop_event.clear()
        self._revive()
        self.redraw()

    def update(self, metrics: Mapping[str, Any], step: int | None = None) -> bool:
        """Add the metrics of one step and redraw if it is time; return whether to go on.

        Args:
            metrics: numbers or scalar tensors by key; anything else is ignored.
            step: the step they belong to; by default one after the last.
        """
        numbers = {key: value for key, raw in metrics.items() if (value := _number(raw)) is not None}
        with self._lock:
            self.step = self.step + 1 if step is None else int(step)
            for key, value in numbers.items():
                steps, values = self.history.setdefault(key, ([], []))
                steps.append(self.step)
                values.append(value)
            self.latest.update(numbers)
        self._redraw_if_due()
        return not self.stopped

    def _draw(self) -> None:
        self.refresh()

    def finish(self) -> None:
        """Draw the last state and retire the Stop button."""
        self.finished = True
        self.stop_button.disabled = True
        self.redraw()

    def writer(self) -> DashboardWriter:
        """Return the logger output format."""
        return DashboardWriter(self)

    def attach(self, logger: Any) -> "TrainingDashboard":
        """Show all that ``logger`` dumps from now on; a second call changes nothing.

        Args:
            logger: a ``HierarchicalLogger`` or an SB3 ``Logger``.
        """
        target = getattr(logger, "default_logger", logger)
        formats = getattr(target, "output_formats", None)
        if not isinstance(formats, list):
            raise TypeError(f"expected a logger with output_formats, got {type(logger).__name__}.")
        if not any(isinstance(f, DashboardWriter) and f.dashboard is self for f in formats):
            formats.append(self.writer())
        return self

    def sb3_callback(self) -> BaseCallback:
        """Return an SB3 callback that attaches to the model's logger and ends ``learn`` on Stop."""
        return _StopCallback(self)

    def figure(self) -> LabFigure:
        """Return the curves as a plain figure."""
        with self._lock:
            history = {key: (list(xs), list(ys)) for key, (xs, ys) in self.history.items()}
        keys: Sequence[str | Sequence[str]] = list(history)[:MAX_PANELS] if self.keys_shown is None else self.keys_shown
        flat = [k for group in keys for k in ((group,) if isinstance(group, str) else group)]
        history = {**{key: ([], []) for key in flat}, **history}
        return training_curves(
            history, keys=keys, x_label=self.x_label, labels=self.labels, references=self.references,
            smoothing=self.smoothing, columns=self.columns,
        )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Return the current numbers."""
        with self._lock:
            return [{"metric": self.labels.get(k, k), "value": v} for k, v in self.latest.items()]

    def _show_numbers(self, _: Any = None) -> None:
        latest = [(row["metric"], row["value"]) for row in self.rows()]
        blocks = [dict(latest[i : i + ROWS_PER_TABLE]) for i in range(0, len(latest), ROWS_PER_TABLE)]
        style = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:4px 24px"
        self.numbers.value = f'<div style="{style}">{"".join(map(html_table, blocks))}</div>'
        self._say(self.title, self.x_label, self.step, self.finished)

    def _summary(self) -> str:
        status = "stopped" if self.stopped else "finished" if self.finished else "open"
        return f"{len(self.history)} metrics, {status}"


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, str | bool | np.bool_) else float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


class _StopCallback(BaseCallback):
    def __init__(self, dashboard: TrainingDashboard) -> None:
        super().__init__()
        self.dashboard = dashboard

    def _on_training_start(self) -> None:
        self.dashboard.attach(self.logger)

    def _on_step(self) -> bool:
        return not self.dashboard.stopped

    def _on_training_end(self) -> None:
        self.dashboard.finish()
