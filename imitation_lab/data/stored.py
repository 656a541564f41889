"""Sequences of trajectories that are made when they are looked at, as from flat arrays mapped from a file."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from imitation_lab.data import types
from imitation_lab.util import artifacts, codec, tree

__all__ = ["LazyTrajectories", "LazyInfos", "StoredTrajectories", "trajectory", "joined_infos"]


class LazyTrajectories(Sequence[Any]):
    """A view of some episodes of a source, in some order; a slice is again lazy.

    Subclasses say what an episode is, by `_trajectory`.

    Args:
        episodes: the episodes' numbers in the source.
    """

    def __init__(self, episodes: Sequence[int]) -> None:
        self._episodes = episodes

    def _trajectory(self, episode: int) -> types.Trajectory:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._episodes)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice):
            return self._trajectory(int(self._episodes[key]))
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._episodes = self._episodes[key]
        return part

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class LazyInfos(Sequence[Any]):
    """One episode's infos, `(T,)`, decoded when they are first looked at.

    Args:
        length: T.
        decode: makes them.
    """

    def __init__(self, length: int, decode: Callable[[], list[dict[str, Any]]]) -> None:
        self._length = length
        self._decode = decode

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: Any) -> Any:
        return self._decoded[key]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._decoded)

    @functools.cached_property
    def _decoded(self) -> list[dict[str, Any]]:
        return self._decode()


def trajectory(obs: Any, acts: Any, infos: Any, terminal: bool, rews: Any) -> types.Trajectory:
    """With rewards, where they are not None; whole numbers become floats."""
    if rews is None:
        return types.Trajectory(obs, acts, infos, terminal)
    rews = np.asarray(rews)
    return types.TrajectoryWithRew(
        obs, acts, infos, terminal, rews.astype(np.float64) if rews.dtype.kind in "biu" else rews
    )


def joined_infos(parts: Sequence[Any], lengths: np.ndarray) -> np.ndarray:
    """The infos of episodes of these lengths as one array `(ΣT,)`; None stands for empty ones."""
    if all(isinstance(infos, np.ndarray) for infos in parts):
        return np.concatenate(parts)
    if all(infos is None for infos in parts):
        return types.infos_array(None, lengths.sum())
    nothing: dict[str, Any] = {}
    filled = (itertools.repeat(nothing, n) if infos is None else infos for infos, n in zip(parts, lengths, strict=True))
    return np.fromiter(itertools.chain.from_iterable(filled), object, lengths.sum())


class StoredTrajectories(LazyTrajectories):
    """A lazy sequence of trajectories over the tensors that `serialize` documents.

    An integer index makes one trajectory of views, in constant time; a slice is again lazy.

    Args:
        name: of the file, for errors.
        tensors: the file's tensors, mapped or in memory.

    Raises:
        ArtifactError: if the tensors do not fit together.
    """

    def __init__(self, name: str, tensors: Mapping[str, np.ndarray]) -> None:
        self._name = name
        _check_tensors(name, tensors)
        self._lengths = np.asarray(tensors["lengths"], dtype=np.int64)
        self._ends = np.cumsum(self._lengths)
        self._terminal = tensors["terminal"]
        self._obs = types.maybe_wrap_in_dictobs(tree.unnamed("obs", dict(sorted(tensors.items()))))
        self._acts = tensors["acts"]
        self._rews = tensors.get("rews")
        self._infos = tensors.get("infos")
        self._infos_ends = tensors.get("infos_end")
        super().__init__(range(len(self._lengths)))

    def _trajectory(self, i: int) -> types.Trajectory:
        end = int(self._ends[i])
        begin = end - int(self._lengths[i])
        obs, acts = self._obs[begin + i : end + i + 1], self._acts[begin:end]
        rews = None if self._rews is None else self._rews[begin:end]
        return trajectory(obs, acts, self._infos_of(i), bool(self._terminal[i]), rews)

    def _infos_of(self, i: int) -> LazyInfos | None:
        if self._infos is None or self._infos_ends is None:
            return None
        line = self._infos[self._infos_ends[i - 1] if i else 0 : self._infos_ends[i]].tobytes()
        if line == b"null\n":
            return None
        n = int(self._lengths[i])
        return LazyInfos(n, functools.partial(_decode_infos, f"trajectory {i} in {self._name!r}", line, n))

    def __repr__(self) -> str:
        return f"<{len(self)} trajectories of {self._name!r}>"

    @property
    def whole(self) -> bool:
        """Whether these are all of the file's trajectories, in order."""
        return self._episodes == range(len(self._lengths))

    def arrays(self) -> dict[str, Any]:
        """The arrays of all episodes, mapped: obs, acts, lengths, terminal, and rews where there are rewards.

        Raises:
            ValueError: of a slice.
        """
        if not self.whole:
            raise ValueError("This is a slice of a file's trajectories, expected all of them: save the slice first.")
        found = {"obs": self._obs, "acts": self._acts, "lengths": self._lengths, "terminal": self._terminal}
        return found if self._rews is None else {**found, "rews": self._rews}

    def field(self, name: str, begin: int = 0, end: int | None = None) -> Any:
        """One of obs, acts, infos, next_obs, dones, rews, copied, of the transitions `begin` to `end` of the file.

        Raises:
            ValueError: if rewards are wanted and there are none.
        """
        end = int(self._ends[-1]) if end is None else end
        if name == "infos":
            return joined_infos([self._infos_of(i) for i in range(len(self._lengths))], self._lengths)[begin:end]
        if name in ("acts", "rews"):
            values = self._acts if name == "acts" else self._rews
            if values is None:
                raise ValueError(
                    f"{self!r} have no rewards, expected TrajectoryWithRew: use flatten_trajectories where rewards are "
                    "not needed."
                )
            return np.array(values[begin:end])
        first, last = np.searchsorted(self._ends, (begin, end - 1), side="right")
        touched = slice(first, last + 1)
        ends = np.minimum(self._ends[touched], end)
        if name == "dones":
            dones = np.zeros(end - begin, dtype=bool)
            dones[ends - begin - 1] = self._terminal[touched] & (ends == self._ends[touched])
            return dones
        earlier = np.repeat(np.arange(first, last + 1), np.diff(ends, prepend=begin))  # episodes: each has a row more
        return tree.take(self._obs, np.arange(begin + (name == "next_obs"), end + (name == "next_obs")) + earlier)


def _decode_infos(where: str, line: bytes, length: int) -> list[dict[str, Any]]:
    try:
        infos = json.loads(line)
    except (ValueError, RecursionError):
        infos = None
    if not isinstance(infos, list) or len(infos) != length:
        raise artifacts.ArtifactError(f"The infos of {where} are damaged.")
    return codec.decode(infos) if b'"__' in line else infos


def _check_tensors(name: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raises an ArtifactError unless the tensors' shapes and dtypes fit together."""

    def refuse(why: str) -> artifacts.ArtifactError:
        return artifacts.ArtifactError(f"Cannot read trajectories from {name!r}: {why}.")

    obs = [key for key in tensors if key == "obs" or key.startswith("obs/")]
    missing = [key for key in ("acts", "lengths", "terminal") if key not in tensors]
    if missing or not obs or ("obs" in obs and len(obs) > 1):
        raise refuse(f"it holds the tensors {sorted(tensors)}, expected obs (or obs/<key>), acts, lengths, terminal")
    lengths = tensors["lengths"]
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or len(lengths) == 0 or lengths.min() < 1:
        raise refuse("lengths must be a list of whole numbers of at least 1")
    n, steps = len(lengths), sum(map(int, lengths))
    rows = {"acts": steps, "rews": steps, "terminal": n, "infos_end": n}
    rows.update(dict.fromkeys(obs, steps + n))
    for key, expected in rows.items():
        if key in tensors and tensors[key].shape[:1] != (expected,):
            raise refuse(f"{key} has shape {tensors[key].shape}, expected {expected} rows by the episodes' lengths")
    if "rews" in tensors and (tensors["rews"].ndim != 1 or tensors["rews"].dtype.kind != "f"):
        raise refuse("rews must be one floating-point number per step")
    if ("infos" in tensors) != ("infos_end" in tensors):
        raise refuse("of infos and infos_end it holds one, expected both or neither")
    if "infos" in tensors:
        infos, ends = tensors["infos"], tensors["infos_end"]
        if infos.dtype != np.uint8 or ends.dtype.kind not in "iu":
            raise refuse("infos must be bytes and infos_end whole numbers")
        if np.any(np.diff(ends.astype(np.int64), prepend=0) < 1) or ends[-1] != len(infos):
            raise refuse("infos_end must rise to the number of bytes in infos")
