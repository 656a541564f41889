"""Demonstrations that grow: appending costs the new ones alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch as th

from imitation_lab.algorithms._shared.demonstrations import AnyTransitions, TransitionTensors
from imitation_lab.algorithms.bc.bc import BC

__all__ = ["GrowingTensors", "append_demonstrations"]

_GROWTH = 1.5


class GrowingTensors:
    """Transitions in tensors with room for more. When full, the room grows by half: appending n rows costs O(n)."""

    def __init__(self) -> None:
        self._room: dict[str, Any] = {}
        self._capacity = 0
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def tensors(self) -> TransitionTensors:
        """Views of all transitions, valid until the next `append`."""
        return TransitionTensors(_map(lambda room: room[: self._n], self._room))

    def append(self, new: TransitionTensors) -> None:
        """Copies transitions behind those there are."""
        n = self._n + len(new)
        if n > self._capacity:
            self._capacity = max(n, int(_GROWTH * self._capacity))
            old = self._room or new.fields
            self._room = _map(self._enlarged, old)
        _map(lambda room, part: room[self._n : n].copy_(part), self._room, new.fields)
        self._n = n

    def _enlarged(self, old: th.Tensor) -> th.Tensor:
        room = old.new_empty((self._capacity, *old.shape[1:]))
        room[: self._n] = old[: self._n]
        return room


def append_demonstrations(trainer: BC, store: GrowingTensors, demonstrations: AnyTransitions) -> None:
    """Adds demonstrations to those in `store`, and makes all of them what `trainer` learns from.

    They may be fewer than a batch; training needs a batch in all.

    Raises:
        TypeError: they come as batches, or are no demonstrations.
        ValueError: see `BC.set_demonstrations`.
    """
    data = trainer._tensors(demonstrations)
    if not isinstance(data, TransitionTensors):
        raise TypeError("demonstrations comes as batches, expected transitions or trajectories, which can be appended.")
    store.append(data)
    trainer._data = store.tensors
    trainer._split = None


def _map(fn: Callable[..., Any], first: Any, *others: Any) -> Any:
    if isinstance(first, dict):
        return {key: _map(fn, value, *(other[key] for other in others)) for key, value in first.items()}
    return fn(first, *others)
