"""Saving and loading trajectories, as data and never as code.

The native file (kind ``trajectories``, version 1) holds, over all episodes one after another:

| tensor | shape | |
|---|---|---|
| ``obs``, or ``obs/<key>`` each | (Σ(T + 1), *obs_shape) | |
| ``acts`` | (ΣT, *act_shape) | |
| ``rews`` | (ΣT,) | where all trajectories have rewards |
| ``lengths`` | (n,) int64 | T of each episode |
| ``terminal`` | (n,) bool | |
| ``infos`` | (bytes,) uint8 | where any trajectory has infos: a line of JSON each, a list of T dicts or null |
| ``infos_end`` | (n,) int64 | where each line ends |
"""

from __future__ import annotations

import json
import math
import operator
import os
import pathlib
import time
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from imitation_lab.data import types
from imitation_lab.data.demonstrations import huggingface
from imitation_lab.data.stored import StoredTrajectories
from imitation_lab.util import artifacts, codec

__all__ = ["save", "load", "load_with_rewards"]

KIND = "trajectories"
VERSION = 1

# Files whose checksum has been compared; what was written a moment ago could change again without a newer time.
_verified: set[tuple[int, ...]] = set()
_SETTLED_NS = 2_000_000_000

_encode_json = json.JSONEncoder(allow_nan=False).encode  # json.dumps would make an encoder at each call
_PLAIN = frozenset({bool, int, float, str, type(None)})


def save(path: types.AnyPath, trajectories: Sequence[types.Trajectory]) -> None:
    """Writes trajectories to one file of the native format, atomically; parent folders are created.

    Arrays are streamed, one trajectory at a time: a lazily loaded sequence is never held in memory as a whole. Arrays
    of mixed dtypes are stored in the smallest dtype that holds all exactly.

    Args:
        path: the file to write.
        trajectories: all with rewards, or all without.

    Raises:
        TypeError: if an info or an array cannot be expressed as data.
        ValueError: if there are no trajectories, they do not go together, or one dtype for all would round a number.
    """
    if len(trajectories) == 0:
        raise ValueError("Got no trajectories, expected at least one to save.")
    with_rew = isinstance(trajectories[0], types.TrajectoryWithRew)
    keys = _obs_keys(trajectories[0])
    for i, traj in enumerate(trajectories):
        if isinstance(traj, types.TrajectoryWithRew) != with_rew:
            raise ValueError(
                f"Trajectory {i} has {'no ' if with_rew else ''}rewards, unlike the first, expected all or none to "
                "have them: complete them, or drop them by types.Trajectory(t.obs, t.acts, t.infos, t.terminal)."
            )
        if _obs_keys(traj) != keys:
            raise ValueError(f"Trajectory {i} has observations {_obs_keys(traj)}, expected {keys} like the first.")
    names = ["acts", *(["obs"] if keys is None else [f"obs/{key}" for key in keys]), *(["rews"] if with_rew else [])]
    tensors: dict[str, Any] = {name: _Chunks(name, trajectories) for name in names}
    tensors["lengths"] = np.fromiter(map(len, trajectories), np.int64, len(trajectories))
    tensors["terminal"] = np.fromiter((t.terminal for t in trajectories), bool, len(trajectories))
    tensors.update(_infos_tensors(trajectories))
    meta = {"episodes": len(trajectories), "steps": int(tensors["lengths"].sum())}
    artifacts.write(path, kind=KIND, version=VERSION, meta=meta, tensors=tensors)


def load(path: types.AnyPath) -> Sequence[types.Trajectory]:
    """Opens saved trajectories: our own files, old ``.npz`` files and folders of Hugging Face datasets.

    Args:
        path: the file or folder.

    Returns:
        A sequence, of `TrajectoryWithRew` where there are rewards. Of a native file it is read-only and lazy: arrays
        are mapped from the file in the dtype they were saved in, and read when looked at. Its checksum is compared when
        a process opens it for the first time, and again when it has changed since by size or time.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ArtifactError: a ValueError, if the file is damaged, newer than this library, of another kind, or a pickle.
    """
    found = artifacts.sniff(path)
    name = os.fsdecode(path)
    if found == "directory":
        return _load_folder(name)
    if found == "npz":
        return _load_npz(name)
    if found == "pickle":
        raise artifacts.ArtifactError(
            f"{name!r} is a pickle, and unpickling runs whatever code the file's author put into it, so it is not "
            "opened. If you trust it, load it with the library that wrote it and save it from there as .npz (obs, "
            "acts, rews, terminal, indices), or build Trajectory objects there and call imitation_lab's serialize.save."
        )
    now, stat = time.time_ns(), os.stat(name)
    seen = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    artifact = artifacts.read(path, kind=KIND, version=VERSION, mmap=True, verify=seen not in _verified)
    if now - max(seen[3:]) > _SETTLED_NS:
        _verified.add(seen)
    return StoredTrajectories(name, artifact.tensors)


def load_with_rewards(path: types.AnyPath) -> Sequence[types.TrajectoryWithRew]:
    """Like `load`, for trajectories that must have rewards.

    Raises:
        ValueError: if they have none.
    """
    trajectories = load(path)
    for i in range(1 if isinstance(trajectories, StoredTrajectories) else len(trajectories)):
        if not isinstance(trajectories[i], types.TrajectoryWithRew):
            raise ValueError(
                f"Trajectory {i} in {os.fsdecode(path)!r} has no rewards, expected rewards for each step: use "
                "serialize.load where they are not needed, or save TrajectoryWithRew objects."
            )
    return cast(Sequence[types.TrajectoryWithRew], trajectories)


class _Chunks(Sequence[np.ndarray]):
    """One field of each trajectory in turn, in one dtype; made anew at each access."""

    def __init__(self, name: str, trajectories: Sequence[Any]) -> None:
        self._trajectories = trajectories
        field, _, key = name.partition("/")
        self._get = operator.attrgetter(field) if field == name else lambda trajectory: getattr(trajectory, field)[key]
        first = np.asarray(self._get(trajectories[0]))
        dtypes = set()
        for i, traj in enumerate(trajectories):
            array = np.asarray(self._get(traj))
            dtypes.add(array.dtype)
            if array.dtype.kind not in "biuf":
                raise TypeError(f"Trajectory {i}: {name} has dtype {array.dtype}, expected numbers or booleans.")
            if array.shape[1:] != first.shape[1:]:
                raise ValueError(
                    f"Trajectory {i}: {name} has shape {array.shape[1:]} per step, expected {first.shape[1:]} like the "
                    "first."
                )
        self._dtype = types.common_dtype(name, dtypes, (np.asarray(self._get(traj)) for traj in trajectories))

    def __len__(self) -> int:
        return len(self._trajectories)

    def __getitem__(self, i: Any) -> Any:
        return np.asarray(self._get(self._trajectories[i])).astype(self._dtype, copy=False)


def _obs_keys(traj: types.Trajectory) -> list[str] | None:
    return sorted(traj.obs.keys()) if isinstance(traj.obs, types.DictObs) else None


def _infos_tensors(trajectories: Sequence[types.Trajectory]) -> dict[str, Any]:
    if all(t.infos is None for t in trajectories):
        return {}
    lines = [_infos_line(t.infos, i) for i, t in enumerate(trajectories)]
    return {
        "infos": [np.frombuffer(line, np.uint8) for line in lines],
        "infos_end": np.cumsum([len(line) for line in lines]),
    }


def _infos_line(infos: Sequence[Any] | None, episode: int) -> bytes:
    if infos is None:
        return b"null\n"
    encoded = [info if _is_plain(info) else _encode_info(info, episode, step) for step, info in enumerate(infos)]
    try:
        text = _encode_json(encoded)
    except ValueError:  # infinite or not a number: the codec has a way to say so
        text = _encode_json([_encode_info(info, episode, step) for step, info in enumerate(infos)])
    return text.encode() + b"\n"


def _is_plain(info: Any) -> bool:
    """Whether JSON as it is says the same as the codec's."""
    return (
        type(info) is dict
        and _PLAIN.issuperset(map(type, info.values()))
        and all(type(key) is str and key[:2] != "__" for key in info)
    )


def _encode_info(info: Any, episode: int, step: int) -> Any:
    try:
        return codec.encode(info, where="info")
    except TypeError as error:
        raise TypeError(
            f"Trajectory {episode}, step {step}: {error}. Remove that entry, or leave all infos out, by "
            "rollout(..., exclude_infos=True) or dataclasses.replace(trajectory, infos=None)."
        ) from None


def _load_npz(name: str) -> Sequence[types.Trajectory]:
    """Reads the field's older format: fields concatenated, and in `indices` where each episode but the first begins."""
    try:
        with zipfile.ZipFile(name) as archive:
            present = {member.removesuffix(".npy") for member in archive.namelist()}
            wanted = present & {"obs", "acts", "rews", "terminal", "indices"}
            data = {key: _read_npy(archive, f"{key}.npy") for key in wanted}
    except (ValueError, KeyError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise artifacts.ArtifactError(f"Cannot read {name!r}: {error}.") from None
    if "infos" in present:
        warnings.warn(
            f"{name!r} holds its infos as a pickle, which could run code: they are left out, all else is loaded.",
            stacklevel=3,
        )
    missing = {"obs", "acts", "terminal", "indices"} - data.keys()
    if missing:
        raise artifacts.ArtifactError(
            f"{name!r} has no {', '.join(sorted(missing))}, expected the arrays obs, acts, terminal, indices and "
            "perhaps rews of a trajectories file."
        )
    starts = np.concatenate([[0], data.pop("indices").astype(np.int64), [len(data["acts"])]])
    return StoredTrajectories(name, {**data, "lengths": np.diff(starts), "terminal": data["terminal"].astype(bool)})


def _read_npy(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """An array of numbers; unlike `numpy.load`, memory is taken for what is there and not for what is declared."""
    header_readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(member) as file:
        shape, fortran, dtype = header_readers[np.lib.format.read_magic(file)](file)
        declared = dtype.itemsize * math.prod(shape)
        raw = bytearray(file.read(max(declared, 0) + 1))  # a small archive may unfold into more than memory holds
    if dtype.hasobject:
        raise ValueError(f"{member} holds objects, which only a pickle restores (allow_pickle=False)")
    if declared != len(raw):
        what = f"declares shape {shape} of {dtype}, but holds {'more' if len(raw) > declared else f'{len(raw)} bytes'}"
        raise ValueError(f"{member} {what}: the file is truncated or tampered with")
    return np.ndarray(shape, dtype, raw, order="F" if fortran else "C")


def _load_folder(name: str) -> Sequence[types.Trajectory]:
    folder = pathlib.Path(name)
    if not (folder / "dataset_info.json").exists() and not any(folder.glob("*.arrow")):
        raise artifacts.ArtifactError(
            f"{name!r} is a folder, expected a file written by serialize.save, an .npz file, or a folder of a Hugging "
            "Face dataset (with dataset_info.json)."
        )
    return huggingface.from_huggingface(name)
