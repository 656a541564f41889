"""Be the teacher: two clips, a click or a key for the better one, and nothing that waits for it."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from imitation_lab.algorithms.preference_comparisons.human import HumanGatherer
from imitation_lab.data import types
from imitation_lab.util import checks
from imitation_lab.viz.preferences import PairPanel, StateRenderer, bradley_terry_figure, pair_figure
from imitation_lab.viz.style import FRAME_DPI, LabFigure, figure_to_png, frame_pngs, plain
from imitation_lab.viz.tables import text_table
from imitation_lab.widgets.base import FrameStack, Row, alt_text, control, ipw, on_change, picture_stack
from imitation_lab.widgets.keys import Keyed

__all__ = ["KEYS", "PreferenceLabeler", "bradley_terry_stack"]

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
_BUTTONS = {
    "left": ("← Left", "The left clip is better."),
    "right": ("Right →", "The right clip is better."),
    "tie": ("Tie", "Both are equally good."),
    "skip": ("Skip", "Drop this pair: no opinion."),
    "undo": ("Undo", "Take the last answer back."),
    "recorded": ("As recorded", "Give the answer that was recorded for this pair."),
}


class PreferenceLabeler(Keyed):
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

    root = "imitation-lab-labeler"

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
        checks.at_least(2, n_frames=n_frames)
        self.gatherer, self.n_frames, self.obs_names = gatherer, n_frames, obs_names
        self._render = _default_render(gatherer) if render is None else None if render == "trace" else render
        self._kept, self._clock, self._since = render is None, clock, clock()
        self.key: str | None = None
        self.play = ipw.Play(
            min=0, max=n_frames - 1, value=0, interval=interval, repeat=True,
            description="Play", tooltip="Loop both clips in step.",
        )  # fmt: skip
        super().__init__("Keys of the preference labeler", KEYS, KEYS_TEXT, play=self.play)
        buttons = [self._button(*texts, partial(self.act, name)) for name, texts in _BUTTONS.items()]
        self.left, self.right, self.tie, self.skip, self.undo, self.recorded = buttons
        self.left.button_style = self.right.button_style = "primary"
        self.reveal = control(
            ipw.Checkbox, "show true returns", "The true returns of both clips; look after you made up your mind.",
            indent=False, layout=ipw.Layout(width="auto"),
        )  # fmt: skip
        on_change(self._show_returns, self.reveal)
        self._answering.append(self.reveal)
        self.returns = ipw.HTML()
        self.progress = ipw.IntProgress(description="answered", layout=ipw.Layout(width="260px"))
        self.alt = alt_text("Two clips side by side, left and right, which loop in step.")
        blank = figure_to_png(LabFigure(figsize=(9.0, 0.2)), FRAME_DPI)
        self.stack = picture_stack([blank] * n_frames)
        self._links = [ipw.jslink((self.play, "value"), (self.stack, "selected_index"))]
        below = Row([self.play, self.key_catcher, self.reveal, self.returns])
        self.children = [Row([self.progress, self.status]), self.alt, self.stack, Row(buttons), below]
        self.refresh()

    # What buttons, keys and programs do.

    def act(self, word: str) -> None:
        """Does what the button or key of that name does: left, right, tie, skip, undo or recorded.

        Raises:
            ValueError: there is no such button.
        """
        if word not in KEYS.values():
            raise ValueError(f"There is no button {word!r}, expected one of {', '.join(KEYS.values())}.")
        self._do(partial(self._act, word))

    def _act(self, word: str) -> str | None:
        if word == "undo":
            found = self.gatherer.undo()
            return "Nothing to undo: the last answer is in use already, or there is none." if found is None else None
        if self.key is None:
            return "No pair is waiting."
        if word == "recorded" and self.key not in self.gatherer.recorded:
            return "Nothing has been recorded for this pair: choose yourself."
        answer = self.gatherer.recorded[self.key] if word == "recorded" else word
        try:
            self.gatherer.answer(self.key, answer, seconds=self._clock() - self._since)
        except ValueError:  # answered elsewhere, such as in a second labeler on the same gatherer
            return "This pair has been answered elsewhere."
        return None

    def answer_recorded(self, n: int | None = None) -> int:
        """Clicks *As recorded* for the next `n` pairs that have a recorded answer, all if None; returns how many."""
        done = 0
        while self.key in self.gatherer.recorded and (n is None or done < n):
            self.act("recorded")
            done += 1
        return done

    def _place(self) -> str:
        return self.key or ""

    # What is shown.

    def refresh(self) -> None:
        """Shows the pair that has waited longest; call it after pairs were submitted or answered elsewhere."""
        with self._lock:
            pending, answers = self.gatherer.pending, self.gatherer.answers
            key = next(iter(pending), None)
            if key != self.key:
                self.key = key
                self._show_pair()
            self.progress.max = max(1, len(answers) + len(pending))
            self.progress.value = len(answers)
            for button in (self.left, self.right, self.tie, self.skip):
                button.disabled = key is None
            recorded = self.gatherer.recorded
            self.recorded.disabled = key not in recorded
            self.recorded.layout.display = None if recorded else "none"
            self.key_catcher.text = KEYS_TEXT + (" · Enter as recorded" if recorded else "")
            self.undo.disabled = not answers
            what = f"Which clip is better? Pair {key}." if key else "No pair is waiting."
            times = [seconds for seconds in self.gatherer.seconds.values() if seconds is not None]
            pace = f", {np.median(times):.1f} s per answer (median)" if times else ""
            self._say(f"{what} {len(answers)} answered, {len(pending)} to go{pace}.")

    def _show_pair(self) -> None:
        self.reveal.value = False
        self._show_returns()
        if self.key is not None:
            panel = PairPanel(self.gatherer.pair(self.key), self._frames(self.key), self.obs_names)
            for image, png in zip(self.stack.children, panel.loop(self.n_frames), strict=True):
                image.value = png
        self._since = self._clock()

    def _frames(self, key: str) -> tuple[np.ndarray, np.ndarray] | None:
        kept = self.gatherer.frames(key) if self._kept else None
        if kept is not None or self._render is None:
            return kept
        first, second = self.gatherer.pair(key)
        return self._render(first), self._render(second)

    def _show_returns(self, _: Any = None) -> None:
        self.returns.value = ""
        if self.reveal.value and self.key is not None:
            pair = self.gatherer.pair(self.key)
            returns = [plain(float(f.rews.sum())) for f in pair if isinstance(f, types.TrajectoryWithRew)]
            known = f"left {returns[0]}, right {returns[1]}" if len(returns) == 2 else ""
            self.returns.value = known or "unknown: these clips carry no true rewards"

    def figure(self, key: str | None = None) -> LabFigure:
        """Return a pair as a plain figure: film strips, or its state over time; by default the pair shown.

        Raises:
            ValueError: no pair waits and none is named, or there is no such pair.
        """
        if (key := self.key if key is None else key) is None:
            raise ValueError("No pair is waiting; name one of gatherer.answers.")
        return pair_figure(self.gatherer.pair(key), self._frames(key), obs_names=self.obs_names)

    def table(self) -> str:
        """Return how many answers of each kind there are, as plain text."""
        answers = list(self.gatherer.answers.values())
        kinds: dict[str, float | str] = {"left": 1.0, "right": 0.0, "tie": 0.5, "skip": "skip"}
        rows: dict[str, Any] = {word: answers.count(value) for word, value in kinds.items()}
        if others := len(answers) - sum(rows.values()):
            rows["in between"] = others
        return text_table(rows | {"waiting": len(self.gatherer.pending)})

    def _summary(self) -> str:
        return f"{len(self.gatherer.answers)} answered, {len(self.gatherer.pending)} waiting"


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
        frame_pngs(bradley_terry_figure(t, **kwargs) for t in temperatures),
        labels=[f"temperature {t:g}: rationality {'∞' if t == 0 else format(1 / t, '.2g')}" for t in temperatures],
        description="teacher", alt="Probability of a preference over the difference of returns, and the loss.",
        index=index, play=False,
    )  # fmt: skip
