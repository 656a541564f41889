"""Adversarial training to look at: the discriminator's health, replays on the way, and AIRL's reward in parts."""

import html
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from imitation_lab.algorithms.adversarial.diagnosis import Diagnosis, diagnose
from imitation_lab.util import checks
from imitation_lab.viz import adversarial
from imitation_lab.viz.adversarial import ReplayRecorder
from imitation_lab.viz.episodes import films
from imitation_lab.viz.rewards import RewardSlice
from imitation_lab.viz.style import LabFigure, ends, evenly, frame_pngs
from imitation_lab.viz.tables import Rows, text_table
from imitation_lab.widgets import base
from imitation_lab.widgets.base import FrameSlider, FrameStack, Picture, SweepView, ipw
from imitation_lab.widgets.live import Live

__all__ = ["AIRLMaps", "AdversarialReplay", "DiscriminatorHealth", "ReplayRecorder"]


class DiscriminatorHealth(Live):
    """Accuracy, logits and return by round, and what ``diagnose`` says.

    Live with ``health.attach(trainer)`` and ``with health: trainer.train(n, health.callback())``; then the newest round
    is drawn. When training ends, a slider over rounds takes its place, which moves without a kernel.

    Args:
        history: rows of a finished training.
        references: environment returns to draw lines at, ``{"expert": 500.0}``.
        n_frames: rounds that the slider can show, evenly spaced.
        total: the number of rounds to come, for the heading.
        min_interval: least seconds between two drawings; drawing also never takes more than a twentieth of the time.
        clock: the clock, in seconds.

    Attributes:
        history: the rows so far.
        stop_event: set when Stop was clicked.
        stop_button: the button.
        heading: which round it is.
        picture: the newest round, a ``Picture``; None once finished.
        frames: the ``FrameStack`` over rounds; None until finished.
        indices: the row number of each frame.
        words: what ``diagnose`` says.
        draws: how often the newest round was drawn.
    """

    drawing_share = 0.05

    def __init__(
        self,
        history: Sequence[Mapping[str, Any]] | None = None,
        *,
        references: Mapping[str, float] | None = None,
        n_frames: int = 12,
        total: int | None = None,
        min_interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        checks.at_least(1, n_frames=n_frames)
        self.history: list[Mapping[str, Any]] = list(history or ())
        self.references, self.n_frames, self.total = dict(references or {}), n_frames, total
        self.picture: Picture | None = None
        self.frames: FrameStack | None = None
        super().__init__("round", min_interval, clock)
        self.words = ipw.HTML()
        self._put()
        if self.history:
            self.finish()

    @property
    def finished(self) -> bool:
        """Whether training has ended."""
        return self.frames is not None

    @property
    def slider(self) -> Any:
        """The round slider, once finished; its value counts frames."""
        return None if self.frames is None else self.frames.slider

    @property
    def index(self) -> int:
        """Row number of the round shown."""
        return len(self.history) - 1 if self.frames is None else self.indices[self.frames.slider.value]

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What is wrong, if anything; None before the first round."""
        return diagnose(self.history) if self.history else None

    def attach(self, trainer: Any) -> "DiscriminatorHealth":
        """Shows each round of ``trainer`` from now on."""
        adversarial.chain_on_round(trainer, self.update)
        return self

    def update(self, row: Mapping[str, Any]) -> None:
        """Add a row of the history, and draw it if it is time."""
        if self.finished:
            self._put()
            self._revive()
        self.history.append(row)
        self._redraw_if_due()

    def _draw(self) -> None:
        if self.picture is None:
            self._put(picture=Picture(self.figure()))
        else:
            self.picture.show(self.figure())
        self._speak()

    def finish(self) -> None:
        """Retire the Stop button and put the slider over rounds in place."""
        self.stop_button.disabled = True
        if self.history and not self.finished:
            panel = adversarial.HealthPanel(self.history, self.references)
            indices = evenly(panel.length, self.n_frames)
            alt = f"Discriminator's accuracy, logits and the learner's return over {len(self.history)} rounds."
            frames = FrameStack(
                panel.pngs(indices), labels=[f"round {self.history[i]['round']}" for i in indices],
                description="round", alt=alt, index=len(indices) - 1, interval=500,
            )  # fmt: skip
            self._put(frames=frames, indices=indices)
        self._speak()

    def _put(
        self, picture: Picture | None = None, frames: FrameStack | None = None, indices: Sequence[int] = ()
    ) -> None:
        """Puts a picture, frames or neither in the place of what was shown."""
        gone = self.picture or self.frames
        self.picture, self.frames, self.indices = picture, frames, list(indices)
        self.children = [self._head, *filter(None, (picture, frames)), self.words]
        if gone:
            gone.close()
        self._speak()

    def __enter__(self) -> Self:
        self.stop_event.clear()
        return self

    def _speak(self) -> None:
        self._say("Discriminator", "round", self.history[-1]["round"] if self.history else 0, self.finished)
        found = self.diagnosis
        self.words.value = "" if found is None else f"<b>Diagnosis</b>: {html.escape(str(found))}".replace("\n", "<br>")

    def figure(self, index: int | None = None) -> LabFigure:
        """Return one row of the history as a plain figure; by default the one shown."""
        return adversarial.discriminator_health(self.history, self.index if index is None else index, self.references)

    def table(self, n: int = 6) -> str:
        """Return the numbers of ``n`` rounds, evenly spaced, as plain text."""
        indices = evenly(len(self.history), n) if self.history else []
        return text_table(adversarial.health_rows(self.history, indices), digits=3)

    def _summary(self) -> str:
        return f"{len(self.history)} rounds, {'finished' if self.finished else 'open'}"


class AdversarialReplay(base.Composite):
    """Episodes of the learner at chosen rounds beside the expert's, in step, with the learned reward along the way.

    Both sliders move without a kernel.

    Args:
        recorder: a ``ReplayRecorder`` that has recorded at least one round.
        n_frames: steps that the slider can show, evenly spaced.
        max_bytes: the most bytes all pictures take; if they take more, every other step is dropped.
        interval: milliseconds per step when playing.

    Attributes:
        rounds: the round of each row of pictures.
        steps: the step that each picture shows.
        round_slider: chooses the round.
        slider: chooses the step.
        play: plays the steps.
        stack: a ``Stack`` over rounds of ``Stack``s over steps.
    """

    def __init__(
        self, recorder: ReplayRecorder, *, n_frames: int = 10, max_bytes: int = 300_000, interval: int = 400
    ) -> None:
        if not recorder.pairs:
            raise ValueError("the recorder holds no rounds: recorder.attach(trainer), then train.")
        self.recorder = recorder
        self.rounds = list(recorder.pairs)
        panels = [
            adversarial.ReplayPanel(*recorder.pairs[number], number, recorder.returns[number]) for number in self.rounds
        ]
        self.steps, pngs = films(panels, n_frames, max_bytes)
        last, n_steps = len(self.rounds) - 1, max(panel.n_steps for panel in panels)
        self._rounds = FrameSlider(
            len(self.rounds), "round", "Choose after which round the learner plays.", index=last, width="340px",
            labels=[str(number) for number in self.rounds],
        )  # fmt: skip
        self._steps = FrameSlider(
            len(self.steps), "step", "Choose the step of both episodes.", interval=interval, width="340px",
            labels=[f"{step + 1} of {n_steps}" for step in self.steps], play_tooltip="Play both episodes.",
        )  # fmt: skip
        inner = [base.picture_stack(row) for row in pngs]
        self.stack = base.Stack(inner, selected_index=last)
        self._rounds.moves(self.stack)
        self._steps.moves(*inner)
        self.round_slider, self.slider, self.play = self._rounds.slider, self._steps.slider, self._steps.play
        alt = f"Learner after rounds {', '.join(map(str, self.rounds))} beside the expert, with the learned reward."
        super().__init__([self._rounds, self._steps, base.alt_text(alt), self.stack])

    @property
    def round(self) -> int:
        """The round shown."""
        return self.rounds[self.round_slider.value]

    @property
    def step(self) -> int:
        """The step shown."""
        return self.steps[self.slider.value]

    @property
    def png(self) -> bytes:
        """The picture at the sliders' values."""
        return bytes(self.stack.children[self.round_slider.value].children[self.slider.value].value)

    def figure(self, number: int | None = None, step: int | None = None) -> LabFigure:
        """Return one picture as a plain figure; by default the one shown."""
        return adversarial.replay_figure(
            self.recorder, self.round if number is None else number, self.step if step is None else step
        )

    def table(self) -> str:
        """Return, per round, the learner's environment return and the mean learned reward of both, as plain text."""
        mean = lambda episode: float(np.mean(episode.rews))
        rows = [
            {
                "round": number,
                "learner's return": self.recorder.returns[number],
                "learned reward, learner": mean(learner),
                "learned reward, expert": mean(expert),
            }
            for number, (learner, expert) in self.recorder.pairs.items()
        ]
        return text_table(rows, digits=3)

    def _summary(self) -> str:
        return f"rounds {self.rounds}, {len(self.steps)} steps"


class AIRLMaps(SweepView):
    """Maps of AIRL's g, h and f over two state dimensions, with a slider over a third that moves without a kernel.

    Colours of g mean the same in all frames; h and f have a scale of their own in each.

    Args:
        net: AIRL's network, with a ``ShapedRewardNet`` in it.
        observation_space: a ``Box`` of shape ``(dims,)`` with at least three dimensions.
        action_space: see ``RewardSlice``.
        x_dim: number or name of the horizontal dimension.
        y_dim: number or name of the vertical dimension.
        sweep_dim: number or name of the dimension that the slider moves.
        n_frames: positions of the slider.
        **kwargs: as in ``RewardSlice``; ``transition_fn`` gives f its next state, else s′ = s and f = g − (1 − γ) h.

    Attributes:
        slice: the model, a ``RewardSlice``.
        positions: the swept dimension's value in each frame.
        values: ``{"g" | "h" | "f": (resolution, resolution)}`` for each frame.
        frames: the ``FrameStack``.

    Raises:
        TypeError: a network without shaping, or a space that cannot be drawn.
        ValueError: three dimensions that are not different.
    """

    def __init__(
        self,
        net: Any,
        observation_space: Any,
        action_space: Any,
        x_dim: int | str = 0,
        y_dim: int | str = 1,
        sweep_dim: int | str = 2,
        *,
        n_frames: int = 5,
        **kwargs: Any,
    ) -> None:
        parts = adversarial.airl_parts(net)
        self.slice = grid = RewardSlice(parts["g"], observation_space, action_space, x_dim, y_dim, **kwargs)
        self.sweep = grid.index(sweep_dim)
        if self.sweep in (grid.x_dim, grid.y_dim):
            raise ValueError(f"sweep_dim {grid.names[self.sweep]!r} is on an axis: choose a third dimension.")
        self.positions = np.linspace(grid.low[self.sweep], grid.high[self.sweep], n_frames)
        self._slices = [grid.moved(position, self.sweep) for position in self.positions]
        self.values = [adversarial.airl_values(parts, moved) for moved in self._slices]
        # h has no level that means anything: one scale for all its frames would hide its shape in each
        self._limits = {"g": ends(*(values["g"] for values in self.values))}
        labels = [grid.dims.value(self.sweep, f"{x:.2g}".replace("-", "−")) for x in self.positions]
        super().__init__(
            frame_pngs(map(self._draw, range(n_frames))), labels=labels, description=grid.names[self.sweep],
            play=False, index=n_frames // 2, alt=f"Maps of g, h and f over {self._over()}.",
        )  # fmt: skip

    def _draw(self, i: int) -> LabFigure:
        return adversarial.airl_maps(self.values[i], self._slices[i], self._limits)

    def _over(self) -> str:
        return f"{self.slice.names[self.slice.x_dim]} and {self.slice.names[self.slice.y_dim]}"

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return self._draw(self.slider.value)

    def rows(self) -> Rows:
        """Return lowest, mean and highest value of each map shown."""
        shown = self.values[self.slider.value]
        return [{"map": k, "lowest": v.min(), "mean": v.mean(), "highest": v.max()} for k, v in shown.items()]

    def _summary(self) -> str:
        return f"g, h, f over {self._over()}"
