"""A saved reward as an object of study: its parts, copies of it tampered with, and what the loader says."""

import os
import shutil
import tempfile
import textwrap
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.serialize import RewardFileInfo, inspect_reward, load_net, save_reward
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.viz import style, tampering
from imitation_lab.viz.tampering import TAMPERINGS

__all__ = ["TAMPERINGS", "Checkpoint", "Verdict", "verdict_table", "outline", "checkpoint_figure"]

UNTOUCHED = "untouched"
_MAX_DEPTH = 12


@dataclass(frozen=True)
class Verdict:
    """What the loader made of a file.

    Attributes:
        tampering: what was done to the file.
        accepted: whether it was loaded.
        message: the error's text, or what was loaded.
        code_ran: whether a payload in it was run.
        changed: names of the parts that differ from the saved file.
    """

    tampering: str
    accepted: bool
    message: str
    code_ran: bool
    changed: tuple[str, ...]


class Checkpoint:
    """A temporary copy of a saved reward, to tamper with. The file itself is only read.

    Args:
        source: a file of ``save_reward`` or ``torch.save``, or a reward network, which is saved in the native format.

    Attributes:
        original: the file's bytes.
        data: the bytes as they are now.
        tampering: what was done to them, ``"untouched"`` at first.
        name: the file's name.

    Raises:
        FileNotFoundError: no such file.
        ArtifactError: a file that is no intact reward to begin with.
    """

    def __init__(self, source: RewardNet | str | os.PathLike) -> None:
        self._folder = Path(tempfile.mkdtemp())
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.name = "reward" if isinstance(source, RewardNet) else Path(source).name
        self._path, self._mark = self._folder / "copy" / self.name, self._folder / "executed"
        self._path.parent.mkdir()
        if isinstance(source, RewardNet):
            save_reward(source, self._path)
        else:
            load_net(source)
            self._path.write_bytes(Path(source).read_bytes())
        self.original = self._path.read_bytes()
        self.restore()

    def restore(self) -> None:
        """Undo all tampering."""
        self.tamper(UNTOUCHED)

    def tamper(self, name: str) -> None:
        """Do one thing, by its name in ``TAMPERINGS``, to a fresh copy; ``"untouched"`` leaves that as it is."""
        self.data = self.original if name == UNTOUCHED else tampering.apply(name, self.original, self._mark)
        self.tampering = name
        self._path.write_bytes(self.data)
        self._mark.unlink(missing_ok=True)

    def inspect(self) -> RewardFileInfo | str:
        """What ``inspect_reward`` says of the file now, or the text of its error."""
        try:
            return inspect_reward(self._path)
        except ArtifactError as error:
            return self._tidy(error)

    def load(self) -> Verdict:
        """Let the loader try the file as it is now."""
        try:
            accepted, message = True, f"loaded a {type(load_net(self._path)).__name__}"
        except ArtifactError as error:
            accepted, message = False, self._tidy(error)
        return Verdict(self.tampering, accepted, message, self._mark.exists(), self.changed())

    def changed(self) -> tuple[str, ...]:
        """Names of the parts that differ from the saved file."""
        before, now = ({n: d[i:j] for n, i, j in tampering.regions(d)} for d in (self.original, self.data))
        return tuple(name for name, part in now.items() if before.get(name) != part)

    def verdicts(self, names: Iterable[str] = TAMPERINGS) -> list[Verdict]:
        """Try the untouched file and each kind of tampering; the file is untouched afterwards."""
        found = []
        for name in (UNTOUCHED, *names):
            self.tamper(name)
            found.append(self.load())
        self.restore()
        return found

    def _tidy(self, error: Exception) -> str:
        return str(error).replace(str(self._path.parent) + os.sep, "")

    def close(self) -> None:
        """Remove the temporary copy."""
        self._remove()

    def __repr__(self) -> str:
        return f"Checkpoint({self.name!r}, {self.tampering})"


def verdict_table(verdicts: Sequence[Verdict], width: int = 110) -> str:
    """What was tried and what the loader said, as plain text."""
    column = 2 + max(len(verdict.tampering) for verdict in verdicts)
    indent = " " * (column + 10)
    lines = []
    for verdict in verdicts:
        head = verdict.tampering.ljust(column) + ("loaded" if verdict.accepted else "refused").ljust(10)
        lines.append(textwrap.fill(head + verdict.message, width, subsequent_indent=indent, drop_whitespace=True))
    ran = sum(verdict.code_ran for verdict in verdicts)
    return "\n".join([*lines, f"code in the file was run: {ran} of {len(verdicts)} times"])


def outline(info: RewardFileInfo) -> list[tuple[int, str]]:
    """The tree of a reward file as ``(depth, text)`` per line: networks, their arguments, and their tensors."""
    return list(enumerate(info.chain) if info.description is None else _outline(info.description))


def _outline(spec: Any, depth: int = 0, role: str = "") -> Iterator[tuple[int, str]]:
    if depth > _MAX_DEPTH or not isinstance(spec, dict):
        yield depth, f"{role}…"
        return
    args = spec.get("args")
    args = args if isinstance(args, dict) else {}
    plain = {k: v for k, v in args.items() if not _modules(v) and not k.endswith("_space")}
    text = ", ".join(f"{key}={_short(value)}" for key, value in plain.items())
    yield depth, f"{role}{str(spec.get('class')).rpartition('.')[2]}({text})"
    for key, value in args.items():
        for i, part in enumerate(_modules(value)):
            name = f"{key}[{i}]" if isinstance(value, list) else key
            yield from _outline(part, depth + 1, f"{name}: ")


def _modules(value: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    return [item["__module__"] for item in items if isinstance(item, dict) and "__module__" in item]


def _short(value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1:
        ((tag, inner),) = value.items()
        if tag == "__class__":
            return str(inner).rpartition(".")[2]
        if tag == "__tuple__" and isinstance(inner, list):
            return "(" + ", ".join(map(_short, inner)) + ("," if len(inner) == 1 else "") + ")"
    if isinstance(value, dict):
        value = ", ".join(f"{key}={_short(item)}" for key, item in value.items())
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


@style.styled
def checkpoint_figure(checkpoint: Checkpoint, verdict: Verdict | None = None) -> style.LabFigure:
    """The bytes of the saved file and of the copy, part by part, with what differs marked, and the verdict.

    Args:
        checkpoint: the file.
        verdict: of ``checkpoint.load()``; asked for if missing.
    """
    verdict = checkpoint.load() if verdict is None else verdict
    figure, axes = style.new_axes((9.0, 2.9))
    longest = max(len(checkpoint.original), len(checkpoint.data))
    bars = (("as saved", checkpoint.original, ()), ("this copy", checkpoint.data, verdict.changed))
    for height, (_, data, changed) in zip((1, 0), bars, strict=True):
        for i, (name, begin, end) in enumerate(tampering.regions(data)):
            about = name.startswith("description") or name.endswith(".pkl")
            color = style.YELLOW if about else (style.BLUE, style.SKY)[i % 2]
            bad = name in changed
            axes.barh(
                height, (end - begin) / 1e3, left=begin / 1e3, height=0.55, color=color, alpha=0.85,
                edgecolor=style.ORANGE if bad else "white", linewidth=2.5 if bad else 0.6, hatch="//" if bad else None,
                zorder=3 if bad else 2,
            )  # fmt: skip
            share = (end - begin) / longest
            label = name.rpartition("/")[2] if name.endswith(".pkl") else ".".join(name.split(".")[-2:])
            if share * 100 > 1.15 * len(label):
                axes.text(
                    (begin + end) / 2e3, height, label, ha="center", va="center", fontsize=9, zorder=4,
                    color="black" if bad else style.ink_on(color),
                    bbox={"facecolor": "white", "lw": 0, "pad": 1.0} if bad else None,
                )  # fmt: skip
    axes.set_yticks((1, 0), [name for name, _, _ in bars])
    axes.set(xlim=(0, longest / 1e3 * 1.01), xlabel="position in the file [kB]; hatched: differs from what was saved")
    axes.grid(visible=False)
    word, color = ("accepted", style.GREEN) if verdict.accepted else ("refused", style.ORANGE)
    axes.set_title(f"{verdict.tampering}: {word}", color=color)
    message = verdict.message if len(verdict.message) < 330 else verdict.message[:327] + "…"
    figure.supxlabel(style.wrapped(message, 12.5), fontsize=10, x=0.01, ha="left")
    figure.alt = f"Bytes of {checkpoint.name}, {verdict.tampering}: {word}. {verdict.message}"
    return figure
