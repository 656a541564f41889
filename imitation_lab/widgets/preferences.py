"""Be the teacher: two clips, a click or a key for the better one, and nothing that waits for it."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from imitation_lab.algorithms.preference_comparisons.human import HumanGatherer
from imitation_lab.data import types
from imitation_lab.viz.preferences import PairPanel, StateRenderer, bradley_terry_figure, pair_figure
from imitation_lab.viz.style import FRAME_DPI, LabFigure, figure_to_png, plain
from imitation_lab.viz.tables import text_table
from imitation_lab.widgets.base import (
    Composite,
    FrameStack,
    Row,
    Stack,
    alt_text,
    answer_while_running,
    control,
    image_of,
    ipw,
)
from imitation_lab.widgets.keys import KeyCatcher

Render = Callable[[types.Trajectory], np.ndarray]
KEYS = {
    "ArrowLeft": "left",
    "ArrowRight": "right",
    "ArrowUp": "tie",
    "ArrowDown": "skip",
    "Backspace": "undo",
    "Enter": "recorded",
}
"""What each key does; keys are named as browsers name them."""
KEYS_TEXT = "Keys (click here first): ← left · → right · ↑ tie · ↓ skip · ⌫ undo"
ROOT_CLASS = "imitation-lab-labeler"


class PreferenceLabeler(Composite):
    """Shows the pairs that wait in a `HumanGatherer`, two clips side by side that loop in step, and takes answers.

    An answer, by button or key, goes to `HumanGatherer.answer` at once, which writes it to the disk; also while a cell
    runs. Keys act while the focus is in the widget. Call `refresh` after pairs were submitted.

    Args:
        gatherer: where the pairs wait.
        render: pictures of a fragment, ``(frames, height, width, 3)`` uint8; "trace" draws the state over time. None
            takes the pictures that the gatherer keeps, else sets the states of the environment it names (see
            `StateRenderer`), else draws the state over time.
        n_frames: pictures of a pair.
        interval: milliseconds per picture.
        obs_names: names of the state dimensions.
        clock: the clock, in seconds.

    Attributes:
        left, right, tie, skip, undo: the buttons; `recorded` gives the recorded answer, hidden without.
        reveal: the checkbox that shows the true returns, cleared with each new pair.
        returns: the true returns.
        key_catcher: the `KeyCatcher`.
        progress: the bar.
        status: what is shown, how far it is, and what came of the last click.
        stack: the pictures of the pair shown.
        key: id of the pair shown, None when none waits.
    """

    def __init__(
        self,
        gatherer: HumanGatherer,
        *,
        render: Render | Literal["trace"] | None = None,
        n_frames: int = 20,
        interval: int = 150,
        obs_names: Sequence[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(gatherer, HumanGatherer):
            raise TypeError(f"PreferenceLabeler shows the pairs of a HumanGatherer, got a {type(gatherer).__name__}.")
        if n_frames < 2:
            raise ValueError(f"n_frames must be at least 2, got {n_frames}.")
        self.gatherer, self.n_frames, self.obs_names = gatherer, n_frames, obs_names
        self._render = _default_render(gatherer) if render is None else None if render == "trace" else render
        self._kept = render is None
        self._clock = clock
        self._lock = threading.RLock()
        self.key: str | None = None
        self._since = clock()
        self._note = ""
        self._make_controls(interval)
        super().__init__(
            [
                Row([self.progress, self.status]),
                self.alt,
                self.stack,
                Row([self.left, self.right, self.tie, self.skip, self.undo, self.recorded]),
                Row([self.play, self.key_catcher, self.reveal, self.returns]),
            ]
        )
        self.add_class(ROOT_CLASS)
        self.refresh()

    def _make_controls(self, interval: int) -> None:
        def button(name: str, tooltip: str, **kwargs: Any) -> ipw.Button:
            return control(ipw.Button, name, tooltip, **kwargs)

        self.left = button("← Left", "The left clip is better.", button_style="primary")
        self.right = button("Right →", "The right clip is better.", button_style="primary")
        self.tie = button("Tie", "Both are equally good.")
        self.skip = button("Skip", "Drop this pair: no opinion.")
        self.undo = button("Undo", "Take the last answer back.")
        self.recorded = button("As recorded", "Give the answer that was recorded for this pair.")
        for name in ("left", "right", "tie", "skip", "undo", "recorded"):
            getattr(self, name).on_click(lambda _, word=name: self.act(word))
        self.play = ipw.Play(
            min=0, max=self.n_frames - 1, value=0, interval=interval, repeat=True,
            description="Play", tooltip="Loop both clips in step.",
        )  # fmt: skip
        self.key_catcher = KeyCatcher(
            ROOT_CLASS, "Keys of the preference labeler", text=KEYS_TEXT, bindings=list(KEYS), play=self.play
        )
        self.key_catcher.on_msg(self._on_key)
        self.reveal = control(
            ipw.Checkbox, "show true returns", "The true returns of both clips; look after you made up your mind.",
            indent=False, layout=ipw.Layout(width="auto"),
        )  # fmt: skip
        self.reveal.observe(lambda _: self._show_returns(), "value")
        self.returns = ipw.HTML()
        self.status = ipw.HTML()
        self.progress = ipw.IntProgress(description="answered", layout=ipw.Layout(width="260px"))
        self.alt = alt_text("Two clips side by side, left and right, which loop in step.")
        blank = figure_to_png(LabFigure(figsize=(9.0, 0.2)), FRAME_DPI)
        self._images = [image_of(blank) for _ in range(self.n_frames)]
        self.stack = Stack(self._images, selected_index=0)
        self._links = [ipw.jslink((self.play, "value"), (self.stack, "selected_index"))]

    # What buttons, keys and programs do.

    def act(self, word: str) -> None:
        """Does what the button or key of that name does: left, right, tie, skip, undo or recorded.

        Raises:
            ValueError: there is no such button.
        """
        if word not in KEYS.values():
            raise ValueError(f"There is no button {word!r}, expected one of {', '.join(KEYS.values())}.")
        with self._lock:
            self._note = ""
            if word == "undo":
                if self.gatherer.undo() is None:
                    self._note = "Nothing to undo: the last answer is in use already, or there is none."
            elif self.key is None:
                self._note = "No pair is waiting."
            elif word == "recorded" and self.key not in self.gatherer.recorded:
                self._note = "Nothing has been recorded for this pair: choose yourself."
            else:
                answer = self.gatherer.recorded[self.key] if word == "recorded" else word
                try:
                    self.gatherer.answer(self.key, answer, seconds=self._clock() - self._since)
                except ValueError:  # answered elsewhere, such as in a second labeler on the same gatherer
                    self._note = "This pair has been answered elsewhere."
            self.refresh()

    def press(self, key: str) -> None:
        """Does what a key does, see `KEYS`; other keys do nothing."""
        if key in KEYS:
            self.act(KEYS[key])

    def answer_recorded(self, n: int | None = None) -> int:
        """Clicks *As recorded* for the next `n` pairs that have a recorded answer, all if None; returns how many."""
        done = 0
        while self.key in self.gatherer.recorded and (n is None or done < n):
            self.act("recorded")
            done += 1
        return done

    def _on_key(self, _: Any, content: Any, buffers: Any) -> None:
        with self._lock:  # a key meant for a pair that has gone since must not answer the next one
            if isinstance(content, dict) and content.get("place") == (self.key or ""):
                self.press(str(content.get("key")))

    # What is shown.

    def refresh(self) -> None:
        """Shows the pair that has waited longest; call it after pairs were submitted or answered elsewhere."""
        with self._lock:
            pending, answers = self.gatherer.pending, self.gatherer.answers
            key = pending[0] if pending else None
            if key != self.key:
                self.key = key
                self._show_pair()
            self.key_catcher.place = key or ""  # before the text: who reads it may press the next key
            self.progress.max = max(1, len(answers) + len(pending))
            self.progress.value = len(answers)
            self.status.value = html.escape(self._text(len(answers), len(pending)))
            for button in (self.left, self.right, self.tie, self.skip):
                button.disabled = key is None
            recorded = self.gatherer.recorded
            self.recorded.disabled = key not in recorded
            self.recorded.layout.display = None if recorded else "none"
            self.key_catcher.text = KEYS_TEXT + (" · Enter as recorded" if recorded else "")
            self.undo.disabled = not answers
            for widget in (
                self.left,
                self.right,
                self.tie,
                self.skip,
                self.undo,
                self.recorded,
                self.key_catcher,
                self.reveal,
            ):
                answer_while_running(widget)

    def _text(self, answered: int, pending: int) -> str:
        what = f"Which clip is better? Pair {self.key}." if self.key else "No pair is waiting."
        times = [seconds for seconds in self.gatherer.seconds.values() if seconds is not None]
        pace = f", {np.median(times):.1f} s per answer (median)" if times else ""
        return f"{what} {answered} answered, {pending} to go{pace}. {self._note}".strip()

    def _show_pair(self) -> None:
        if self.reveal.value:
            self.reveal.value = False
        self._show_returns()
        if self.key is not None:
            panel = PairPanel(self.gatherer.pair(self.key), self._frames(self.key), self.obs_names)
            for image, png in zip(self._images, panel.loop(self.n_frames), strict=True):
                image.value = png
        self._since = self._clock()

    def _frames(self, key: str) -> tuple[np.ndarray, np.ndarray] | None:
        kept = self.gatherer.frames(key) if self._kept else None
        if kept is not None or self._render is None:
            return kept
        first, second = self.gatherer.pair(key)
        return self._render(first), self._render(second)

    def _show_returns(self) -> None:
        if not self.reveal.value or self.key is None:
            self.returns.value = ""
            return
        pair = self.gatherer.pair(self.key)
        returns = [plain(float(f.rews.sum())) for f in pair if isinstance(f, types.TrajectoryWithRew)]
        if len(returns) < 2:
            self.returns.value = "unknown: these clips carry no true rewards"
        else:
            self.returns.value = f"left {returns[0]}, right {returns[1]}"

    def figure(self, key: str | None = None) -> LabFigure:
        """Return a pair as a plain figure: film strips, or its state over time; by default the pair shown.

        Raises:
            ValueError: no pair waits and none is named, or there is no such pair.
        """
        key = self.key if key is None else key
        if key is None:
            raise ValueError("No pair is waiting; name one of gatherer.answers.")
        return pair_figure(self.gatherer.pair(key), self._frames(key), obs_names=self.obs_names)

    def table(self) -> str:
        """Return how many answers of each kind there are, as plain text."""
        answers = list(self.gatherer.answers.values())
        kinds: dict[str, float | str] = {"left": 1.0, "right": 0.0, "tie": 0.5, "skip": "skip"}
        rows: dict[str, Any] = {word: answers.count(value) for word, value in kinds.items()}
        others = len(answers) - sum(rows.values())
        if others:
            rows["in between"] = others
        return text_table(rows | {"waiting": len(self.gatherer.pending)})

    def _summary(self) -> str:
        return f"{len(self.gatherer.answers)} answered, {len(self.gatherer.pending)} waiting"

    def close(self) -> None:
        """Remove the pictures, the links and the controls."""
        for widget in (*getattr(self, "_images", ()), *getattr(self, "_links", ())):  # absent if arguments were refused
            widget.close()
        super().close()


def _default_render(gatherer: HumanGatherer) -> StateRenderer | None:
    name = gatherer.environment.get("id")
    try:
        return None if name is None else StateRenderer(name)
    except (gym.error.Error, ValueError, ImportError):  # no such environment here, no pictures, or no way to its states
        return None


def bradley_terry_stack(
    temperatures: Sequence[float] = (0, 0.3, 1, 3, 10), *, index: int = 2, **kwargs: Any
) -> FrameStack:
    """Return the preference curve of teachers from rational to random under a slider that needs no kernel.

    Args:
        temperatures: of the teachers; the rationality is 1 / temperature.
        index: the first shown.
        **kwargs: as in `bradley_terry_figure`.
    """
    return FrameStack(
        [figure_to_png(bradley_terry_figure(t, **kwargs), FRAME_DPI) for t in temperatures],
        labels=[f"temperature {t:g}: rationality {'∞' if t == 0 else format(1 / t, '.2g')}" for t in temperatures],
        description="teacher", alt="Probability of a preference over the difference of returns, and the loss.",
        index=index, play=False,
    )  # fmt: skip


__all__ = ["KEYS", "PreferenceLabeler", "bradley_terry_stack"]
