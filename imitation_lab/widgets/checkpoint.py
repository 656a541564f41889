"""A view of a saved reward: its tree, buttons to tamper with a copy, and what the loader says."""

import html
from functools import partial
from typing import Any

import numpy as np

from imitation_lab.rewards.serialize import RewardFileInfo
from imitation_lab.viz import checkpoint
from imitation_lab.viz.checkpoint import TAMPERINGS, UNTOUCHED, Checkpoint, Verdict, outline
from imitation_lab.viz.style import GREEN, ORANGE, LabFigure
from imitation_lab.viz.tables import html_table
from imitation_lab.widgets.base import Composite, Picture, Row, button, ipw, notice

__all__ = ["CheckpointInspector"]

_HINTS = {
    "flip a byte": "Invert one byte in the middle of the largest tensor.",
    "change a shape": "Give a tensor another shape, with a valid checksum.",
    "rename the class": "Name a class that nobody knows, with a valid checksum.",
    "swap in a pickle": "Replace the file by a pickle that runs a command when opened the usual way.",
    "truncate": "Lose the last third of the file.",
    "declare 100 GB": "Declare a tensor that would take 100 GB of memory.",
}


class CheckpointInspector(Composite):
    """What a saved reward holds, and what happens when somebody tampers with it. Works on a temporary copy.

    Args:
        source: a file of ``save_reward`` or ``torch.save``, a reward network, or a ``Checkpoint``.

    Attributes:
        model: the ``Checkpoint``.
        buttons: ``{tampering: Button}``; each starts from a fresh copy and lets the loader try it.
        restore: button that undoes all tampering.
        tree: the HTML of what ``inspect_reward`` says.
        image: the ``Picture``.
        status: the loader's answer.
        verdict: the last ``Verdict``.
        history: all verdicts so far.
    """

    def __init__(self, source: Any) -> None:
        self.model = source if isinstance(source, Checkpoint) else Checkpoint(source)
        made = partial(button, layout=ipw.Layout(width="160px"))
        self.buttons = {
            name: made(name, _HINTS[name], partial(self.tamper, name), icon="wrench") for name in TAMPERINGS
        }
        self.restore = made("restore", "Undo all tampering.", partial(self.tamper, None), icon="undo")
        self.tree, self.status = ipw.HTML(), ipw.HTML()
        self.history: list[Verdict] = []
        self.verdict = self._try()
        self.image = Picture(self.figure())
        super().__init__([Row([*self.buttons.values(), self.restore]), self.image, self.status, self.tree])

    def tamper(self, name: str | None) -> Verdict:
        """Tamper with a fresh copy, or undo all with None, and let the loader try it."""
        self.model.tamper(UNTOUCHED if name is None else name)
        self.verdict = self._try()
        self.image.show(self.figure())
        return self.verdict

    def _try(self) -> Verdict:
        verdict = self.model.load()
        self.history.append(verdict)
        info = self.model.inspect()
        color, word = (GREEN, "accepted") if verdict.accepted else (ORANGE, "refused")
        ran = "code in the file was run" if verdict.code_ran else "no code in the file was run"
        said = f"<b>{html.escape(verdict.tampering)}: {word}</b>; {ran}<br>{html.escape(verdict.message)}"
        self.status.value = notice("status", color, said)
        self.tree.value = _tree(info)
        return verdict

    def figure(self) -> LabFigure:
        """Return what is shown as a plain figure."""
        return checkpoint.checkpoint_figure(self.model, self.verdict)

    def table(self) -> str:
        """Return what was tried so far as plain text."""
        return checkpoint.verdict_table(self.history)

    def close(self) -> None:
        """Remove the widget and the temporary copy."""
        super().close()
        self.model.close()

    def _summary(self) -> str:
        return f"{self.model.name}, {self.verdict.tampering}: {'accepted' if self.verdict.accepted else 'refused'}"


def _tree(info: RewardFileInfo | str) -> str:
    if isinstance(info, str):
        return f"<b>inspect_reward</b> cannot read it: {html.escape(info)}"
    version = "" if info.version is None else f", format version {info.version}"
    lines = [f"<b>inspect_reward</b>: {html.escape(info.format)} file{version}"]
    for depth, text in outline(info):
        lines.append(f'<div style="margin-left:{20 * depth + 10}px"><code>{html.escape(text)}</code></div>')
    named = "".join(f"<li><code>{html.escape(name)}</code></li>" for name in info.classes)
    rows = [
        {"tensor": name, "type": dtype, "shape": str(list(shape)), "value": _value(info, name)}
        for name, (dtype, shape) in info.tensors.items()
    ]
    lines.append(f"<details><summary>{len(info.tensors)} tensors</summary>{html_table(rows, digits=3)}</details>")
    lines.append(f"<details><summary>{len(info.classes)} classes named</summary><ul>{named}</ul></details>")
    return "".join(lines)


def _value(info: RewardFileInfo, name: str) -> str:
    value = info.statistics.get(name)
    return "" if value is None or np.size(value) > 4 else str(np.round(value, 4).tolist())
