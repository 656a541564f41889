"""Dictionary observations that behave like arrays, and functions that take either."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any

import numpy as np
import torch as th

from imitation_lab.util import tree

__all__ = [
    "DictObs", "assert_not_dictobs", "concatenate_maybe_dictobs", "stack_maybe_dictobs", "maybe_unwrap_dictobs",
    "maybe_wrap_in_dictobs", "map_maybe_dict", "same",
]  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class DictObs:
    """Observations from a `gymnasium.spaces.Dict`, as one array per key that share their leading dimension.

    It behaves like an array as far as code on observations needs: `len`, iteration, indexing, slicing, `shape` and
    `dtype` (as dictionaries). An index applies to every array; a string picks one array.

    Attributes:
        _d: key to array, each `(n, *shape_of_key)` (or `shape_of_key` for a single observation).

    Raises:
        TypeError: if a value is not an array (nested dictionaries and tuples are not supported).
    """

    _d: dict[str, Any]

    __array_ufunc__ = None  # array == dict_obs is then ours to answer, and arithmetic a TypeError

    def __post_init__(self) -> None:
        if not isinstance(self._d, Mapping):
            raise TypeError(f"DictObs got a {type(self._d).__name__}, expected a dict of arrays.")
        for key, value in self._d.items():
            if not hasattr(value, "shape"):
                raise TypeError(
                    f"DictObs value under {key!r} is a {type(value).__name__}, expected an array: pass "
                    "np.asarray(value), and flatten nested Dict or Tuple spaces first."
                )

    @classmethod
    def from_obs_list(cls, obs_list: Sequence[Mapping[str, Any]]) -> DictObs:
        """Stacks single dictionary observations into one DictObs of length `len(obs_list)`."""
        return cls.stack([cls({k: np.asarray(v) for k, v in obs.items()}) for obs in obs_list])

    def __len__(self) -> int:
        lengths: dict[str, Any] = {key: value.shape[0] if value.shape else None for key, value in self._d.items()}
        distinct = set(lengths.values())
        if len(distinct) != 1 or None in distinct:
            raise ValueError(
                f"This DictObs has no single length; its arrays have {lengths} (None is a scalar). Expected every "
                "array to have the same leading dimension."
            )
        return distinct.pop()

    @property
    def dict_len(self) -> int:
        """Number of keys."""
        return len(self._d)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.get(key)
        return DictObs({k: v[key] for k, v in self._d.items()})

    def __iter__(self) -> Iterator[DictObs]:
        for i in range(len(self)):
            yield self[i]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DictObs) and same(self._d, other._d)

    __hash__ = None  # type: ignore[assignment]

    @property
    def shape(self) -> dict[str, tuple[int, ...]]:
        """Key to shape."""
        return {k: tuple(v.shape) for k, v in self._d.items()}

    @property
    def dtype(self) -> dict[str, Any]:
        """Key to dtype."""
        return {k: v.dtype for k, v in self._d.items()}

    def keys(self) -> KeysView[str]:
        """The keys."""
        return self._d.keys()

    def values(self) -> ValuesView[Any]:
        """The arrays."""
        return self._d.values()

    def items(self) -> ItemsView[str, Any]:
        """Pairs of key and array."""
        return self._d.items()

    def get(self, key: str) -> Any:
        """The array under `key`; a KeyError lists the keys there are."""
        try:
            return self._d[key]
        except KeyError:
            raise KeyError(f"No {key!r} in this DictObs; it has {sorted(self._d)}.") from None

    def unwrap(self) -> dict[str, Any]:
        """The plain dictionary of arrays, not copied."""
        return self._d

    def map_arrays(self, fn: Callable[[Any], Any]) -> DictObs:
        """A DictObs with `fn` applied to every array."""
        return DictObs({k: fn(v) for k, v in self._d.items()})

    @classmethod
    def stack(cls, dictobs_list: Iterable[DictObs], axis: int = 0) -> DictObs:
        """Stacks along a new axis, key by key; all must have the same keys."""
        return cls._join(dictobs_list, np.stack, axis)

    @classmethod
    def concatenate(cls, dictobs_list: Iterable[DictObs], axis: int = 0) -> DictObs:
        """Concatenates along an existing axis, key by key; all must have the same keys."""
        return cls._join(dictobs_list, np.concatenate, axis)

    @classmethod
    def _join(cls, dictobs_list: Iterable[DictObs], fn: Callable[..., Any], axis: int) -> DictObs:
        parts = list(dictobs_list)
        if not parts:
            raise ValueError("Got no DictObs to join, expected at least one.")
        keys = parts[0].keys()
        for i, part in enumerate(parts):
            if part.keys() != keys:
                raise ValueError(f"DictObs {i} has keys {sorted(part.keys())}, expected {sorted(keys)} like the first.")
        return cls({k: fn([part._d[k] for part in parts], axis=axis) for k in keys})


def assert_not_dictobs(x: np.ndarray | DictObs) -> np.ndarray:
    """Returns `x`, an array.

    Raises:
        ValueError: if `x` is a DictObs.
    """
    if isinstance(x, DictObs):
        raise ValueError(
            f"Dictionary observations (keys {sorted(x.keys())}) are not supported here, expected one array: wrap the "
            "environment in gymnasium.wrappers.FlattenObservation."
        )
    return x


def concatenate_maybe_dictobs(arrs: Sequence[Any]) -> Any:
    """Concatenates arrays, or DictObs, along their first axis."""
    _check_one_kind(arrs)
    return DictObs.concatenate(arrs) if isinstance(arrs[0], DictObs) else np.concatenate(arrs)


def stack_maybe_dictobs(arrs: Sequence[Any]) -> Any:
    """Stacks arrays, or DictObs, along a new first axis."""
    _check_one_kind(arrs)
    return DictObs.stack(arrs) if isinstance(arrs[0], DictObs) else np.stack(arrs)


def _check_one_kind(arrs: Sequence[Any]) -> None:
    if len(arrs) == 0:
        raise ValueError("Got no arrays to join, expected at least one.")
    if len({isinstance(a, DictObs) for a in arrs}) > 1:
        raise ValueError("Got a mixture of arrays and DictObs, expected only one of the two.")


def maybe_unwrap_dictobs(maybe_dictobs: Any) -> Any:
    """A DictObs as its plain dictionary; anything else as it is."""
    return maybe_dictobs.unwrap() if isinstance(maybe_dictobs, DictObs) else maybe_dictobs


def maybe_wrap_in_dictobs(obs: Any) -> Any:
    """A dictionary of arrays as a DictObs; anything else as it is."""
    return DictObs(dict(obs)) if isinstance(obs, Mapping) else obs


def map_maybe_dict(fn: Callable[[Any], Any], maybe_dict: Any) -> Any:
    """Applies `fn` to each value of a dictionary or DictObs, or to the thing itself."""
    return tree.map(fn, maybe_dict)


def same(x: Any, y: Any) -> bool:
    """Deep equality that looks into arrays."""
    if x is y:
        return True
    if isinstance(x, DictObs) or isinstance(y, DictObs):
        return bool(x == y)
    if isinstance(x, Mapping):
        return isinstance(y, Mapping) and x.keys() == y.keys() and all(same(v, y[k]) for k, v in x.items())
    if any(isinstance(v, np.ndarray | th.Tensor) and v.dtype != object for v in (x, y)):
        return hasattr(x, "shape") and hasattr(y, "shape") and bool(np.array_equal(x, y))
    if all(isinstance(v, Sequence | np.ndarray) and not isinstance(v, str | bytes) for v in (x, y)):
        return len(x) == len(y) and all(same(v, w) for v, w in zip(x, y, strict=True))
    return bool(x == y)
