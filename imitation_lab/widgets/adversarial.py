"""Adversarial training to look at: the discriminator's health, replays on the way, and AIRL's reward in parts."""

import html
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.algorithms.adversarial.diagnosis import Diagnosis, diagnose
from imitation_lab.viz.adversarial import (
    HealthPanel,
    ReplayPanel,
    ReplayRecorder,
    airl_maps,
    airl_parts,
    airl_values,
    chain_on_round,
    discriminator_health,
    health_rows,
    replay_figure,
)
from imitation_lab.viz.rewards import RewardSlice
from imitation_lab.viz.style import FRAME_DPI, LabFigure, figure_to_png
from imitation_lab.viz.tables import text_table
from imitation_lab.widgets.base import (
    Composite,
    FrameStack,
    Picture,
    Row,
    Stack,
    alt_text,
    answer_while_running,
    control,
    image_of,
    ipw,
)

__all__ = ["AIRLMaps", "AdversarialReplay", "DiscriminatorHealth", "ReplayRecorder"]

DRAWING_SHARE = 0.05


class DiscriminatorHealth(Composite):
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
        if n_frames < 1:
            raise ValueError(f"n_frames must be at least 1, got {n_frames}.")
        self.history: list[Mapping[str, Any]] = list(history or ())
        self.references, self.n_frames, self.total = dict(references or {}), n_frames, total
        self.min_interval, self._clock, self._next_draw = min_interval, clock, -math.inf
        self.picture: Picture | None = None
        self.frames: FrameStack | None = None
        self.indices: list[int] = []
        self.draws = 0
        self.stop_event = threading.Event()
        self.stop_button = control(
            ipw.Button, "Stop", "Stop the training after the current round; what was learned is kept.",
            button_style="warning",
        )  # fmt: skip
        self.stop_button.on_click(lambda _: self.stop_event.set())
        answer_while_running(self.stop_button)
        self.heading, self.words = ipw.HTML(), ipw.HTML()
        super().__init__()
        if self.history:
            self.finish()
        else:
            self._arrange(None)

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
        chain_on_round(trainer, self.update)
        return self

    def callback(self) -> Callable[..., bool]:
        """Return a function that returns False once Stop was clicked, for ``trainer.train``."""
        return lambda *_, **__: not self.stop_event.is_set()

    def update(self, row: Mapping[str, Any]) -> None:
        """Add a row of the history, and draw it if it is time."""
        if self.finished:
            self._retire()
        self.history.append(row)
        if self._clock() >= self._next_draw:
            self.redraw()

    def redraw(self) -> None:
        """Draw the newest round now."""
        start = self._clock()
        figure = discriminator_health(self.history, references=self.references)
        if self.picture is None:
            self.picture = Picture(figure)
            self._arrange(self.picture)
        else:
            self.picture.show(figure)
        self._speak()
        self.draws += 1
        end = self._clock()
        self._next_draw = end + max(self.min_interval, (end - start) / DRAWING_SHARE)

    def finish(self) -> None:
        """Retire the Stop button and put the slider over rounds in place."""
        self.stop_button.disabled = True
        if self.history and not self.finished:
            panel = HealthPanel(self.history, self.references)
            self.indices = panel.rows_shown(self.n_frames)
            alt = f"Discriminator's accuracy, logits and the learner's return over {len(self.history)} rounds."
            self.frames = FrameStack(
                panel.pngs(self.indices), labels=[f"round {self.history[i]['round']}" for i in self.indices],
                description="round", alt=alt, index=len(self.indices) - 1, interval=500,
            )  # fmt: skip
            old, self.picture = self.picture, None
            self._arrange(self.frames)
            if old is not None:
                old.close()
        self._speak()

    def _retire(self) -> None:
        old, self.frames, self.indices = self.frames, None, []
        self.stop_button.disabled = False
        answer_while_running(self.stop_button)
        self._arrange(None)
        if old is not None:
            old.close()

    def __enter__(self) -> "DiscriminatorHealth":
        self.stop_event.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def _arrange(self, picture: ipw.Widget | None) -> None:
        middle = [] if picture is None else [picture]
        self.children = (Row([self.stop_button, self.heading]), *middle, self.words)
        self._speak()

    def _speak(self) -> None:
        number = self.history[-1]["round"] if self.history else 0
        status = "waiting" if not self.history else "stopped" if self.finished and self.stop_event.is_set() else (
            "finished" if self.finished else "running"
        )  # fmt: skip
        of = f" of {self.total}" if self.total else ""
        self.heading.value = f"<b>Discriminator</b>: {status}, round {number}{of}"
        found = self.diagnosis
        said = "" if found is None else str(found)
        self.words.value = "" if found is None else f"<b>Diagnosis</b>: {html.escape(said)}".replace("\n", "<br>")

    def figure(self, index: int | None = None) -> LabFigure:
        """Return one row of the history as a plain figure; by default the one shown."""
        return discriminator_health(self.history, self.index if index is None else index, self.references)

    def table(self, n: int = 6) -> str:
        """Return the numbers of ``n`` rounds, evenly spaced, as plain text."""
        last = len(self.history) - 1
        indices = sorted({int(i) for i in np.linspace(0, last, min(n, last + 1)).round()}) if self.history else []
        return text_table(health_rows(self.history, indices), digits=3)

    def _summary(self) -> str:
        return f"{len(self.history)} rounds, {'finished' if self.finished else 'open'}"


class AdversarialReplay(Composite):
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
        if n_frames < 1:
            raise ValueError(f"n_frames must be at least 1, got {n_frames}.")
        self.recorder = recorder
        self.rounds = list(recorder.pairs)
        panels = [ReplayPanel(*recorder.pairs[number], number, recorder.returns[number]) for number in self.rounds]
        n_steps = max(panel.n_steps for panel in panels)
        steps = sorted({int(s) for s in np.linspace(0, n_steps - 1, min(n_frames, n_steps)).round()})
        pngs = [panel.pngs(steps) for panel in panels]
        while sum(len(png) for row in pngs for png in row) > max_bytes and len(steps) > 2:
            steps, pngs = steps[::2], [row[::2] for row in pngs]
        self.steps, self._pngs = steps, pngs
        last = len(self.rounds) - 1
        wide = ipw.Layout(width="340px", max_width="100%")
        self.round_slider = control(
            ipw.IntSlider, "round", "Choose after which round the learner plays.", min=0, max=last, value=last,
            continuous_update=True, readout=False, layout=wide,
        )  # fmt: skip
        self.slider = control(
            ipw.IntSlider, "step", "Choose the step of both episodes.", min=0, max=len(steps) - 1,
            continuous_update=True, readout=False, layout=wide,
        )  # fmt: skip
        self.play = ipw.Play(
            min=0, max=len(steps) - 1, interval=interval, repeat=True, description="Play", tooltip="Play both episodes."
        )
        plain = ipw.Layout(margin="0 0 0 8px")
        picture = ipw.Layout(
            max_width="100%", height="auto", align_self="flex-start"
        )  # one for all: each is a kilobyte
        self._labels = Stack([ipw.Label(f"{number}", layout=plain) for number in self.rounds], selected_index=last)
        self._step_labels = Stack([ipw.Label(f"{s + 1} of {n_steps}", layout=plain) for s in steps], selected_index=0)
        self._inner = [Stack([image_of(png, picture) for png in row], selected_index=0) for row in pngs]
        self._stacks = [*self._inner, self._labels, self._step_labels]
        self.stack = Stack(self._inner, selected_index=last)
        joined = [(self.round_slider, self.stack), (self.round_slider, self._labels), (self.slider, self._step_labels)]
        joined += [(self.slider, inner) for inner in self._inner]
        self._links = [ipw.jslink((source, "value"), (target, "selected_index")) for source, target in joined]
        self._links.append(ipw.jslink((self.play, "value"), (self.slider, "value")))
        alt = f"Learner after rounds {', '.join(map(str, self.rounds))} beside the expert, with the learned reward."
        super().__init__(
            [
                Row([self.round_slider, self._labels]),
                Row([self.play, self.slider, self._step_labels]),
                alt_text(alt),
                self.stack,
            ]
        )

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
        return self._pngs[self.round_slider.value][self.slider.value]

    def figure(self, number: int | None = None, step: int | None = None) -> LabFigure:
        """Return one picture as a plain figure; by default the one shown."""
        return replay_figure(
            self.recorder, self.round if number is None else number, self.step if step is None else step
        )

    def table(self) -> str:
        """Return, per round, the learner's environment return and the mean learned reward of both, as plain text."""
        rows = []
        for number, (learner, expert) in self.recorder.pairs.items():
            assert learner.rews is not None
            assert expert.rews is not None
            rows.append({
                "round": number,
                "learner's return": self.recorder.returns[number],
                "learned reward, learner": float(learner.rews.mean()),
                "learned reward, expert": float(expert.rews.mean()),
            })  # fmt: skip
        return text_table(rows, digits=3)

    def _summary(self) -> str:
        return f"rounds {self.rounds}, {len(self.steps)} steps"

    def close(self) -> None:
        """Remove pictures, links and controls."""
        for stack in getattr(self, "_stacks", ()):  # absent where the constructor refused its arguments
            for child in stack.children:
                child.close()
            stack.close()
        for link in getattr(self, "_links", ()):
            link.close()
        super().close()


class AIRLMaps(Composite):
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
        parts = airl_parts(net)
        self.slice = grid = RewardSlice(parts["g"], observation_space, action_space, x_dim, y_dim, **kwargs)
        self.sweep = grid.index(sweep_dim)
        if self.sweep in (grid.x_dim, grid.y_dim):
            raise ValueError(f"sweep_dim {grid.names[self.sweep]!r} is on an axis: choose a third dimension.")
        self.positions = np.linspace(grid.low[self.sweep], grid.high[self.sweep], n_frames)
        self.values = []
        for position in self.positions:
            grid.fixed[self.sweep] = position
            self.values.append(airl_values(parts, grid))
        # h has no level that means anything: one scale for all its frames would hide its shape in each
        self._limits = {"g": (min(v["g"].min() for v in self.values), max(v["g"].max() for v in self.values))}
        unit = f" {grid.units[self.sweep]}" if grid.units[self.sweep] else ""
        self.frames = FrameStack(
            [figure_to_png(self._draw(i), FRAME_DPI) for i in range(n_frames)],
            labels=[f"{position:.2g}{unit}".replace("-", "−") for position in self.positions],
            description=grid.names[self.sweep], play=False, index=n_frames // 2,
            alt=f"Maps of g, h and f over {grid.names[grid.x_dim]} and {grid.names[grid.y_dim]}.",
        )  # fmt: skip
        super().__init__([self.frames])

    def _draw(self, i: int) -> LabFigure:
        self.slice.fixed[self.sweep] = self.positions[i]
        return airl_maps(self.values[i], self.slice, self._limits)

    @property
    def slider(self) -> Any:
        """The slider; its value counts frames."""
        return self.frames.slider

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return self._draw(self.slider.value)

    def table(self) -> str:
        """Return lowest, mean and highest value of each map shown, as plain text."""
        shown = self.values[self.slider.value]
        return text_table(
            [{"map": k, "lowest": v.min(), "mean": v.mean(), "highest": v.max()} for k, v in shown.items()], digits=3
        )

    def _summary(self) -> str:
        return f"g, h, f over {self.slice.names[self.slice.x_dim]} and {self.slice.names[self.slice.y_dim]}"
