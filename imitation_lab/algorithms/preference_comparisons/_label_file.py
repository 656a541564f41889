"""An append-only file of labels, one JSON object a line, that survives a crash at any moment."""

from __future__ import annotations

import json
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from imitation_lab.util.artifacts import ArtifactError

FORMAT = "imitation_lab preference labels"
VERSION = 1
_BEGIN = json.dumps({"format": FORMAT})[:-1].encode()
_MAX_BYTES = 1 << 30


class LabelFile:
    """Lines of JSON: the first names format and environment, each later one is an event.

    A line that was cut off while it was written (the last one alone can be) is dropped with a warning.

    Args:
        path: the file; made, with its first line, when it does not exist.
        environment: what labels are about, as JSON; a file about something else is refused.

    Raises:
        ArtifactError: a ValueError, if there is a file of another format, version or environment, or a line other
            than the last is damaged.
    """

    def __init__(self, path: pathlib.Path, environment: Mapping[str, Any]) -> None:
        self.path = path
        self.events: list[dict[str, Any]] = []
        if path.exists() and path.stat().st_size:
            self._read(environment)
        if not self.path.exists() or not self.path.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write({"format": FORMAT, "version": VERSION, "environment": environment})

    def append(self, *events: Mapping[str, Any]) -> None:
        """Writes events, and returns once they are on the disk."""
        self._write(*events)
        self.events += map(dict, events)

    def _write(self, *objects: Mapping[str, Any]) -> None:
        text = "".join(json.dumps(item, allow_nan=False) + "\n" for item in objects)
        with open(self.path, "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    def _read(self, environment: Mapping[str, Any]) -> None:
        name = str(self.path)
        if self.path.stat().st_size > _MAX_BYTES:
            raise ArtifactError(f"{name!r} has {self.path.stat().st_size} bytes, too many for a file of labels.")
        content = self.path.read_bytes()
        lines = content.split(b"\n")
        last = lines.pop()  # what follows the last newline: nothing, unless writing was interrupted
        complete = _parse(last) is not None
        if complete:
            lines.append(last)
        self._check_head(lines[0] if lines else last, environment, whole=bool(lines))  # before anything is changed
        if last:
            keep = content if complete else content[: len(content) - len(last)]
            if not complete:
                warnings.warn(
                    f"The last line of {name!r} is cut off, probably because its program was stopped while writing: "
                    f"that one label is dropped, the {max(0, len(lines) - 1)} lines before it are kept.",
                    stacklevel=4,
                )
            with open(self.path, "r+b") as file:
                file.truncate(len(keep))
                file.seek(0, os.SEEK_END)
                file.write(b"\n" if complete else b"")
        for number, line in enumerate(lines[1:], start=2):
            event = _parse(line)
            if event is None:
                raise ArtifactError(
                    f"Line {number} of {name!r} is damaged: {line[:80]!r}. Restore the file from a copy, or delete "
                    "that line to keep all other labels."
                )
            self.events.append(event)

    def _check_head(self, line: bytes, environment: Mapping[str, Any], *, whole: bool) -> None:
        """Raises an ArtifactError unless the first line, or where not `whole` what there is of it, is ours."""
        name = str(self.path)
        head = _parse(line) if whole else None
        begun = not whole and line[: len(_BEGIN)] == _BEGIN[: len(line)]
        if not (begun or (head is not None and head.get("format") == FORMAT)):
            raise ArtifactError(
                f"{name!r} is not a file of preference labels: its first line should name the format {FORMAT!r}. "
                "Choose another folder, or move the file away."
            )
        if head is None:
            return
        if not isinstance(head.get("version"), int) or head["version"] > VERSION:
            raise ArtifactError(
                f"{name!r} is in version {head.get('version')} of its format; this imitation_lab reads up to version "
                f"{VERSION}. Upgrade imitation_lab to open it."
            )
        check_environment(name, head.get("environment"), environment)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.events)


def check_environment(name: str, found: Any, expected: Mapping[str, Any]) -> None:
    """Raises an ArtifactError unless two descriptions agree, in what both say."""
    if not isinstance(found, dict):
        raise ArtifactError(f"{name!r} does not say which environment its labels are about.")
    for key in expected:
        if key in found and found[key] != expected[key] and None not in (found[key], expected[key]):
            raise ArtifactError(
                f"{name!r} holds labels of another environment: its {key} is {_short(found[key])}, this one's is "
                f"{_short(expected[key])}. Choose another folder for this environment."
            )


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return repr(text if len(text) < 200 else text[:200] + "…")
