"""One call of `train`: its bar, its stop button, its interrupt."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

from stable_baselines3.common.callbacks import BaseCallback
from tqdm.auto import tqdm

__all__ = ["Run"]

_REFRESH = 0.25  # seconds between two readings of what the bar shows, each of which may wait for the device


class Run:
    """Counts what is done and says when to end: `stop` is set, a callback returned False, or Ctrl-C (quietly).

    Args:
        algorithm: has `logger`, gets `interrupted`, and may have `_recover`, called after an interrupt.
        total: how much there is to do, None if unknown.
        unit: of it.
        shown: whether there is a bar.
        stop: ends training once it is set.

    Attributes:
        delay: seconds before there is a bar.
    """

    delay = 2.0

    def __init__(self, algorithm: Any, total: int | None, unit: str, shown: bool, stop: threading.Event | None) -> None:
        self._algorithm, self._stop, self._due, self._pending = algorithm, stop, 0.0, 0
        name = type(algorithm).__name__
        self._bar = tqdm(total=total, unit=unit, desc=name, disable=not shown, delay=self.delay)
        algorithm.interrupted = False

    def __enter__(self) -> Self:
        return self

    def step(self, n: int = 1, *answers: Any, **shown: Any) -> bool:
        """Notes `n` more done and what callbacks answered; whether to go on. `shown` may be tensors or functions."""
        self._pending += n
        if not self._bar.disable and time.monotonic() >= self._due:
            self._bar.set_postfix(
                {k: f"{float(v() if callable(v) else v):.4g}" for k, v in shown.items()}, refresh=False
            )
            self._flush()
        for answer in answers:  # a generator would cost more than the rest of this
            if answer is False:
                return False
        return self._stop is None or not self._stop.is_set()

    def callback(self) -> BaseCallback:
        """What an SB3 algorithm's `learn` calls after each step in its environments."""
        return _EachStep(self)

    def _flush(self) -> None:
        self._bar.update(self._pending)
        self._pending, self._due = 0, time.monotonic() + _REFRESH

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._flush()
        self._bar.close()
        if kind is not KeyboardInterrupt:
            return False
        self._algorithm.interrupted = True
        getattr(self._algorithm, "_recover", lambda: None)()
        self._algorithm.logger.log("Interrupted: training stops here; what has been learned is kept.")
        return True


class _EachStep(BaseCallback):
    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def _on_step(self) -> bool:
        return self._run.step(self.training_env.num_envs)
