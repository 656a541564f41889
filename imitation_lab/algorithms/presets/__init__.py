"""Settings of each algorithm on each task: data, which library, command line, comparisons and benchmarks read.

`<algorithm>/<task>.json` holds an object with

- `values`: in the language of the command line, whose keys they are (`imitation-lab train gail print_config`). Classes
  stand by name, `{"linear": [x, y]}` is a schedule (see `names.with_classes`).
- `doc`, where the file is more than the settings for an environment; `notes`, why a value is what it is.
- `result`, what was reached, and `env_name` and `expert`, where it was measured on an environment of our own.
- `compare`, by task: the settings of `imitation-lab compare`, whose runs are short.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

__all__ = ["algorithms", "available", "read"]

_FOLDER = pathlib.Path(__file__).parent


def algorithms() -> list[str]:
    """Names of the algorithms that have presets."""
    return sorted(path.name for path in _FOLDER.iterdir() if any(path.glob("*.json")))


def available(algorithm: str) -> list[str]:
    """Names of an algorithm's presets."""
    return sorted(path.stem for path in (_FOLDER / algorithm).glob("*.json"))


@functools.cache
def _text(algorithm: str, name: str) -> str:
    if name not in available(algorithm):
        raise ValueError(f"There is no preset {name!r} of {algorithm}; there are {', '.join(available(algorithm))}.")
    return (_FOLDER / algorithm / f"{name}.json").read_text(encoding="utf-8")


def read(algorithm: str, name: str) -> dict[str, Any]:
    """What the file of a preset holds, read anew for each caller.

    Args:
        algorithm: as the command line names it, such as "gail".
        name: such as "cartpole".

    Raises:
        ValueError: if there is none; the text lists those there are.
    """
    return json.loads(_text(algorithm, name))
