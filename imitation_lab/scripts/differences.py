"""What differs from `imitation` 1.0.1 on purpose: one table, which the tests and docs/migration.md read."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib

__all__ = ["Difference", "table", "markdown"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """A deliberate difference.

    Attributes:
        topic: what it is about.
        there: what `imitation` 1.0.1 does.
        here: what this library does, and what to write instead.
        patterns: of the differences in names and parameters that it explains (`fnmatch`); none for one of behavior.
        code: regular expression of source text that meets it, for `imitation-lab port`; "" if no text tells.
    """

    topic: str
    there: str
    here: str
    patterns: tuple[str, ...] = ()
    code: str = ""


@functools.cache
def table() -> tuple[Difference, ...]:
    """All differences, in reading order."""
    text = pathlib.Path(__file__).with_name("differences.json").read_text(encoding="utf-8")
    return tuple(Difference(**{**row, "patterns": tuple(row.get("patterns", ()))}) for row in json.loads(text))


def markdown() -> str:
    """The table of docs/migration.md."""
    rows = [f"| {row.topic} | {row.there} | {row.here} |" for row in table()]
    return "\n".join(["| topic | `imitation` | here |", "|---|---|---|", *rows])
