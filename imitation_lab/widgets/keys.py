"""Keys for a widget: ipywidgets has none."""

import html
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from imitation_lab.widgets.base import Composite, answer_while_running, button, ipw

__all__ = ["KeyCatcher", "Keyed"]


class KeyCatcher(anywidget.AnyWidget):
    """Sends the keys in `bindings` that are pressed while the focus is in the widget around it.

    A key comes as a message ``{"key", "place"}``, not as a synchronized value: while the kernel is busy, values that
    follow each other fast are merged, and a key would be lost.

    Args:
        root: the CSS class of the widget around, in which keys act; needed.
        label: its name for screen readers; needed.

    Attributes:
        text: what the box says.
        bindings: the keys, as browsers name them.
        place: what is shown, sent with each key, so that one meant for what has gone since can be told.
        play: an ``ipywidgets.Play`` to start once the widget is on the page, or None.
    """

    _esm = Path(__file__).with_name("keys.js").read_text(encoding="utf-8")
    root = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    bindings = traitlets.List(traitlets.Unicode()).tag(sync=True)
    place = traitlets.Unicode().tag(sync=True)
    play = traitlets.Instance(ipw.Play, allow_none=True).tag(sync=True, **ipw.widget_serialization)

    def __init__(self, root: str, label: str, **kwargs: object) -> None:
        super().__init__(root=root, label=label, **kwargs)

    def __repr__(self) -> str:
        return "KeyCatcher()"


class Keyed(Composite):
    """Buttons and keys that do the same, and nothing that waits for them; also while a cell runs.

    Args:
        label: its keys' name for screen readers.
        bindings: what each key does; keys are named as browsers name them.
        text: what the box of the keys says.
        **kwargs: as in `KeyCatcher`.

    Attributes:
        bindings: as given.
        key_catcher: the `KeyCatcher`.
        status: where we are, and what came of the last click.
    """

    root: ClassVar[str]
    """The CSS class in which the keys act."""

    def __init__(self, label: str, bindings: Mapping[str, str], text: str, **kwargs: Any) -> None:
        self.bindings = dict(bindings)
        self._lock = threading.RLock()
        self._note = ""
        self._answering: list[ipw.Widget] = []
        self.key_catcher = KeyCatcher(self.root, label, text=text, bindings=list(bindings), **kwargs)
        self.key_catcher.on_msg(self._on_key)
        self.status = ipw.HTML()
        super().__init__()
        self.add_class(self.root)

    def _button(self, label: str, tooltip: str, action: Callable[[], Any], **kwargs: Any) -> ipw.Button:
        made = button(label, tooltip, action, **kwargs)
        self._answering.append(made)
        return made

    def _do(self, step: Callable[[], str | None]) -> None:
        """Does it, and shows what there is now, and the note that it returns."""
        with self._lock:
            self._note = step() or ""
            self.refresh()

    def act(self, word: str) -> None:
        """Does what the button of that name does."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Shows what there is now."""
        raise NotImplementedError

    def press(self, key: str) -> None:
        """Does what a key does, see `bindings`; other keys do nothing."""
        if key in self.bindings:
            self.act(self.bindings[key])

    def _place(self) -> str:
        raise NotImplementedError

    def _on_key(self, _: Any, content: Any, buffers: Any) -> None:
        with self._lock:  # a key meant for what has gone since must do nothing to what came next
            if isinstance(content, dict) and content.get("place") == self._place():
                self.press(str(content.get("key")))

    def _say(self, text: str) -> None:
        """Shows the text and takes answers to what is shown; call it when all else is in place."""
        self.key_catcher.place = self._place()  # before the text: who reads it may press the next key
        self.status.value = html.escape(f"{text} {self._note}".strip())
        for widget in (*self._answering, self.key_catcher):
            answer_while_running(widget)
