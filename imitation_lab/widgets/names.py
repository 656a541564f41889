"""Names and keys for what ipywidgets leaves without: a slider's handle, the buttons of `Play`, a picture, a list."""

from pathlib import Path

import anywidget

__all__ = ["ROOT_CLASS", "Names", "names"]

ROOT_CLASS = "imitation-lab"


class Names(anywidget.AnyWidget):
    """Invisible; tells screen readers what the controls and pictures in the widget around it are.

    It also keeps keys for the control that has the focus: JupyterLab would take the arrows to go to another cell.
    """

    _esm = Path(__file__).with_name("names.js").read_text(encoding="utf-8").replace("ROOT_CLASS", ROOT_CLASS)

    def __repr__(self) -> str:
        return "Names()"


_shared: Names | None = None


def names() -> Names:
    """Return the one that all widgets share: a view of it does the work, wherever it is shown."""
    global _shared
    if _shared is None or _shared.comm is None:
        _shared = Names(layout={"display": "none"})
    return _shared
