"""Sequences whose items are made when they are looked at."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from imitation_lab.data import types


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

    @overload
    def __getitem__(self, key: int) -> types.Trajectory: ...

    @overload
    def __getitem__(self, key: slice) -> LazyTrajectories: ...

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

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, key: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, key: Any) -> Any:
        return self._decoded[key]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._decoded)

    @functools.cached_property
    def _decoded(self) -> list[dict[str, Any]]:
        return self._decode()
