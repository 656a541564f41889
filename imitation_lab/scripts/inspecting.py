"""`imitation-lab inspect FILE`: what a file holds, told without building anything or running code from it."""

from __future__ import annotations

import csv
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from imitation_lab.policies.sb3_zip import read_sb3_zip
from imitation_lab.rewards.serialize import inspect_reward
from imitation_lab.scripts import _console, _results
from imitation_lab.scripts._values import flat, read_json
from imitation_lab.util import artifacts, sacred

__all__ = ["run", "describe"]

_MOST = 40
_OTHERS = {
    ".gif": "video",
    ".html": "page",
    ".ipynb": "notebook",
    ".log": "text",
    ".md": "text",
    ".mp4": "video",
    ".png": "picture",
    ".tex": "table in LaTeX",
    ".txt": "text",
    ".webp": "video",
}
"""Files that other programs show."""


def run(argv: Sequence[str], program: str) -> int:
    """Print the description."""
    parser = _console.parser(
        program,
        "Tell what a file or folder holds: policies, rewards, trajectories, checkpoints, preferences, "
        "models of Stable-Baselines3, recorded runs, logs. Nothing is unpickled or run.",
        f"example: {program} output",
    )
    parser.add_argument("path", metavar="FILE", help="file or folder")
    arguments = parser.parse_args(argv)
    print(describe(arguments.path))
    return 0


def describe(path: str) -> str:
    """What a file or folder holds, as text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or of no known kind.
    """
    file = pathlib.Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if file.is_dir():
        return _folder(file)
    if file.suffix in (".json", ".csv"):
        return _json(file) if file.suffix == ".json" else _csv(file)
    if file.suffix in _OTHERS:
        return f"{_OTHERS[file.suffix]}, {_size(file)}"
    if ".tfevents." in file.name:
        return f"TensorBoard's log, {_size(file)}: tensorboard --logdir {file.parent}"
    readers: dict[str, Callable[[pathlib.Path], str]] = {"native": _native, "npz": _npz, "zip": _zip}
    if (kind := artifacts.sniff(path)) in readers:
        return readers[kind](file)
    if kind == "pickle":
        raise ValueError(f"{path} is a pickle, which runs code when it is opened: it is not looked into.")
    raise ValueError(f"{path} is of no kind that the library writes or reads.")


def _native(file: pathlib.Path) -> str:
    header = artifacts.read_header(file)
    artifacts.read(file, kind=header.kind, version=header.version, mmap=True)  # checks sizes and checksum
    if header.kind == "reward":
        return str(inspect_reward(file))
    lines = [f"{header.kind}, native format version {header.version}, {_size(file)}, checksum right"]
    tensors = {name: (np.dtype(artifacts._DTYPES[dtype]), shape) for name, (dtype, shape) in header.tensors.items()}
    return _tensors([*lines, *_values(header.meta)], dict(sorted(tensors.items())))


def _npz(file: pathlib.Path) -> str:
    lines = [f"NumPy archive, {_size(file)}"]
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                try:
                    first, _ = np.lib.format.read_magic(member)
                    read = getattr(np.lib.format, f"read_array_header_{min(first, 2)}_0")
                    shape, _, dtype = read(member)
                except ValueError as error:
                    raise ValueError(f"{file}: {name!r} is damaged: {error}") from None
                opaque = ", pickled objects, which are not opened" if dtype.hasobject else ""
                lines.append(f"  {name.removesuffix('.npy')}  {dtype} {list(shape)}{opaque}")
    return "\n".join(lines)


def _zip(file: pathlib.Path) -> str:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if "data" not in names:
        return str(inspect_reward(file))

    saved = read_sb3_zip(str(file))
    lines = [
        f"model of Stable-Baselines3, {_size(file)}, {saved.policy_class().__name__}; pickles inside are not opened"
    ]
    lines += _values({k: v for k, v in saved.scalars().items() if not k.startswith("_") and v is not None})
    tensors = {
        f"{part}.{name}": (tensor.dtype, tensor.shape)
        for part, state in saved.states.items()
        if not part.endswith("optimizer")
        for name, tensor in state.items()
    }
    return _tensors(lines, tensors)


def _tensors(lines: list[str], tensors: Mapping[str, tuple[Any, Sequence[int]]]) -> str:
    """What is known of a file, and its tensors: dtype and shape by name."""
    rows = [f"  {name}  {str(kind).removeprefix('torch.')} {list(shape)}" for name, (kind, shape) in tensors.items()]
    return "\n".join([*lines, "tensors:", *_shortened(rows)])


def _folder(folder: pathlib.Path) -> str:
    if sacred.dir_contains_sacred_jsons(folder):
        run = sacred.SacredDicts.load_from_dir(folder)
        name, command, status = run.run.get("experiment", {}).get("name"), run.run.get("command"), run.run.get("status")
        result = _results.numbers({"result": run.run.get("result") or {}})
        return "\n".join([f"recorded run of {name} {command}, {status}", *_values({**run.config, **result})])
    names = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    lines = [f"folder with {len(names)} files"]
    if (folder / "sacred").is_dir():
        lines.append(f"recorded in {(folder / 'sacred').resolve()}")
    return "\n".join([*lines, *_shortened([f"  {path.relative_to(folder)}  {_size(path)}" for path in names])])


def _json(file: pathlib.Path) -> str:
    content = read_json(file)
    if not isinstance(content, dict):
        return f"JSON, a list of {len(content)}" if isinstance(content, list) else f"JSON: {content}"
    return "\n".join([f"JSON, {_size(file)}", *_values(content)])


def _csv(file: pathlib.Path) -> str:
    with open(file, encoding="utf-8", newline="") as lines:
        first = lines.readline()
        if not first.startswith("#"):  # SB3's monitors begin with a line of JSON
            lines.seek(0)
        rows = list(csv.DictReader(lines))
    if not rows:
        return f"table without rows, {_size(file)}"
    last = {key: value for key, value in rows[-1].items() if value}
    return "\n".join([f"table of {len(rows)} rows, {len(rows[0])} columns; the last row:", *_values(last)])


def _values(values: Mapping[str, Any]) -> list[str]:
    """Nested values under dotted names, one a line, long ones cut."""
    texts = {key: repr(value) for key, value in flat(values).items()}
    return _shortened([f"  {key} = {t if len(t) <= 100 else t[:97] + '...'}" for key, t in texts.items()])


def _shortened(lines: list[str]) -> list[str]:
    left = len(lines) - _MOST
    return lines if left <= 1 else [*lines[:_MOST], f"  … and {left} more"]


def _size(path: pathlib.Path) -> str:
    size = path.stat().st_size
    return f"{size} bytes" if size < 1000 else tqdm.format_sizeof(size, "B")
