"""Be the expert: the frame, a button and a key for each action, and nothing that waits for you."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium import spaces

from imitation_lab.algorithms.dagger.collector import save_demonstrations
from imitation_lab.algorithms.dagger.dagger import DAggerTrainer, InteractiveSession
from imitation_lab.data import types
from imitation_lab.viz.episodes import frame_renderer
from imitation_lab.viz.interactive import session_figure
from imitation_lab.viz.style import LabFigure, image_to_png
from imitation_lab.viz.tables import text_table
from imitation_lab.widgets.base import Row, alt_text, image_of
from imitation_lab.widgets.keys import Keyed

__all__ = ["ARROWS", "OTHER_KEYS", "InteractiveExpert"]

ARROWS = {
    2: ("ArrowLeft", "ArrowRight"),
    3: ("ArrowLeft", "ArrowDown", "ArrowRight"),
    4: ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp"),
}
"""Keys of the first actions by default, as browsers name them; with more actions the digits and letters."""
OTHER_KEYS = {"Backspace": "undo", "t": "turn", "w": "watch"}
_SYMBOLS = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓", "Backspace": "⌫"}
_DIGITS_AND_LETTERS = "123456789abcdefghijklmnopqrs"


class InteractiveExpert(Keyed):
    """Shows the frame of an `InteractiveSession` and takes the human's actions, by button or key.

    While you are in control, your action is done: a demonstration. Hand back, and the policy acts; your action is then
    a label, what you would have done. *Watch* lets the policy go on without labels. *Save* writes all of it where it is
    trained on. Buttons and keys also work while a cell runs; keys act while the focus is in the widget.

    Args:
        session: the session, or a `DAggerTrainer`, for which one is made.
        actions: name to action, in the order of the buttons; by default `action 0` and so on of a `Discrete` space.
        keys: one key for each action, as browsers name them.
        save_to: where *Save* puts trajectories: a `DAggerTrainer` (as part of its current round), a folder, or a
            function that takes a list of them. By default the trainer given as `session`.
        watch_steps: steps of *Watch*.
        width: of the frame, at most [pixels].

    Attributes:
        session: the session.
        bindings: what each key does.
        action_buttons: a button for each action, by name.
        take_over, hand_back, watch, undo, restart, save: the other buttons.
        picture: the frame.
        status: where we are, who is in control, and what came of the last click.
        key_catcher: the `KeyCatcher`.

    Raises:
        ValueError: the environment makes no pictures, there is not one key per action, or a key is taken.
    """

    root = "imitation-lab-expert"

    def __init__(
        self,
        session: InteractiveSession | DAggerTrainer,
        *,
        actions: Mapping[str, Any] | None = None,
        keys: Sequence[str] | None = None,
        save_to: DAggerTrainer | types.AnyPath | Callable[[list[types.TrajectoryWithRew]], Any] | None = None,
        watch_steps: int = 5,
        width: int = 360,
    ) -> None:
        if isinstance(session, DAggerTrainer):
            save_to = session if save_to is None else save_to
            session = session.create_session()
        render = frame_renderer(session.venv, width)
        if render is None:
            raise ValueError(
                f"The environment has render_mode {session.venv.render_mode!r}, expected 'rgb_array': make it with "
                "render_mode='rgb_array', so that there is a frame to look at."
            )
        self.session, self.watch_steps, self._render, self._save_to = session, watch_steps, render, save_to
        self.actions = _actions(session.venv.action_space) if actions is None else dict(actions)
        bindings = _bindings(list(self.actions), keys)
        shown = {what: _SYMBOLS.get(key, key) for key, what in bindings.items()}
        text = " · ".join(f"{symbol} {what}" for what, symbol in shown.items())
        super().__init__("Keys of the interactive expert", bindings, f"Keys (click here first): {text}")
        primary = partial(self._button, button_style="primary")
        self.action_buttons = {
            name: primary(f"{shown[name]} {name}", f"What to do here: {name}.", partial(self.act, name))
            for name in self.actions
        }
        others = [
            self._button(label, tooltip, partial(self.do, name))
            for name, label, tooltip in (
                ("take_over", "Take over", "You are in control: your actions are done, and kept as demonstrations."),
                ("hand_back", "Hand back", "The policy is in control: your actions are kept as labels."),
                ("watch", f"Watch {self.watch_steps} steps", "The policy goes on, and nothing is labelled."),
                ("undo", "Undo", "Go back to before your last action."),
                ("restart", "New episode", "Leave this episode; what was labelled stays."),
                ("save", "Save", "Keep what was labelled since the last time."),
            )
        ]
        self.take_over, self.hand_back, self.watch, self.undo, self.restart, self.save = others
        self.picture = image_of(b"")
        self.alt = alt_text("The environment as it is now.")
        self.children = [
            self.status, self.alt, self.picture, Row([*self.action_buttons.values()]), Row(others),
            Row([self.key_catcher]),
        ]  # fmt: skip
        self.refresh()

    # What buttons, keys and programs do.

    def act(self, name: str) -> None:
        """Does what the button of that action does.

        Raises:
            ValueError: there is no such action.
        """
        if name not in self.actions:
            raise ValueError(f"There is no action {name!r}, expected one of {', '.join(self.actions)}.")
        self._do(partial(self._act, self.actions[name]))

    def do(self, word: str) -> None:
        """Does what another button does: take_over, hand_back, turn (whichever fits), watch, undo, restart or save.

        Raises:
            ValueError: there is no such button.
        """
        steps: dict[str, Callable[[], str | None]] = {
            "take_over": self.session.take_over,
            "hand_back": self._hand_back,
            "turn": self._hand_back if self.session.in_control else self.session.take_over,
            "watch": self._watch,
            "undo": self._undo,
            "restart": self.session.restart,
            "save": self._save,
        }
        if word not in steps:
            raise ValueError(f"There is no button {word!r}, expected one of {', '.join(steps)}.")
        self._do(steps[word])

    def press(self, key: str) -> None:
        """Does what a key does, see `bindings`; other keys do nothing."""
        what = self.bindings.get(key)
        if what in self.actions:
            self.act(what)
        elif what is not None:
            self.do(what)

    # Each returns what there is to note.

    def _act(self, action: Any) -> str:
        before = self.session.position[0]
        self.session.act(action)
        return "The episode ended; this is a new one." if self.session.position[0] > before else ""

    def _hand_back(self) -> str | None:
        if not self.session.has_policy:
            return "There is no policy to hand back to."
        self.session.hand_back()
        return None

    def _watch(self) -> str:
        if not self.session.has_policy:
            return "There is no policy to watch."
        n = self.session.watch(self.watch_steps)
        return f"Watched {n} steps" + (", to the end of the episode." if n < self.watch_steps else ".")

    def _undo(self) -> str:
        if not self.session.undo():
            return "Nothing to undo: no action since the last save."
        again = "The last label is gone. This environment does not repeat itself, so a new episode begins."
        return "" if self.session.repeatable else again

    def _save(self) -> str:
        trajectories = self.session.trajectories()
        if not trajectories:
            return "Nothing to save yet."
        if self._save_to is None:
            return "There is nowhere to save to: make the widget with save_to=."
        try:
            if isinstance(self._save_to, DAggerTrainer):
                where = self._save_to.add_demonstrations(trajectories).name
                where = f"round {self._save_to.round_num}, {where}"
            elif callable(self._save_to):
                self._save_to(trajectories)
                where = "the function given"
            else:
                where = save_demonstrations(self._save_to, trajectories).name
        except (OSError, ValueError) as error:
            return f"Not saved: {error}"
        self.session.mark_saved()
        return f"Saved {sum(map(len, trajectories))} labelled steps to {where}."

    # What is shown.

    def refresh(self) -> None:
        """Shows the session as it is; call it after steps made elsewhere."""
        with self._lock:
            session, counts = self.session, self.session.counts()
            self.picture.value = image_to_png(self._render())
            self.take_over.disabled = session.in_control
            self.hand_back.disabled = not (session.in_control and session.has_policy)
            self.watch.disabled = not session.has_policy
            self.undo.disabled = self.save.disabled = not counts["unsaved"]
            place = "Episode {}, step {}.".format(*session.position)
            who = "You are" if session.in_control else "The policy is"
            told = ", ".join(f"{n} {name}" for name, n in counts.items())
            self._say(f"{place} {who} in control. {told}.")

    def update_policy(self) -> None:
        """Lets the policy act as trained by now, from the next step on."""
        self.session.refresh()
        self.refresh()

    def _place(self) -> str:
        counts = self.session.counts()
        return f"{self.session.position} {counts['demonstrated']} {counts['labelled']}"

    def figure(self, last: int = 60) -> LabFigure:
        """Return the frame and the last steps as a plain figure."""
        return session_figure(self.session, actions=self.actions, frame=np.asarray(self._render()), last=last)

    def table(self) -> str:
        """Return how many steps of each kind there are, as plain text."""
        return text_table(self.session.counts())

    def _summary(self) -> str:
        counts = self.session.counts()
        return f"{counts['demonstrated']} demonstrated, {counts['labelled']} labelled, {counts['unsaved']} unsaved"


def _actions(space: spaces.Space) -> dict[str, Any]:
    if not isinstance(space, spaces.Discrete):
        raise ValueError(
            f"The action space is {space}: name the actions that buttons shall offer, such as "
            "actions={'push left': [-1.0], 'rest': [0.0], 'push right': [1.0]}."
        )
    return {f"action {i}": int(space.start) + i for i in range(int(space.n))}


def _bindings(names: list[str], keys: Sequence[str] | None) -> dict[str, str]:
    """Key to what it does."""
    if keys is None:
        free = [key for key in _DIGITS_AND_LETTERS if key not in OTHER_KEYS]
        keys = ARROWS.get(len(names), free[: len(names)])
    if len(keys) != len(names):
        raise ValueError(f"There are {len(keys)} keys for {len(names)} actions: give one key for each of {names}.")
    found = dict(zip(keys, names, strict=True))
    if len(found) < len(names) or found.keys() & OTHER_KEYS.keys():
        raise ValueError(f"keys {list(keys)} must differ from each other and from {list(OTHER_KEYS)}.")
    return {**found, **OTHER_KEYS}
