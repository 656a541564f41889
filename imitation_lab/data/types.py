"""Trajectories, transitions and dictionary observations.

A trajectory of length T holds T + 1 observations and T actions; transitions hold one row per time step. Nothing here
copies arrays: constructors keep what they are given and slices are views, so treat the arrays as immutable.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, TypedDict, TypeVar, Union, overload

import numpy as np
import torch as th
from torch.utils.data import Dataset

T = TypeVar("T")

AnyPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
AnyTensor = np.ndarray | th.Tensor
Pair = tuple[T, T]


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
        lengths = {key: value.shape[0] if value.shape else None for key, value in self._d.items()}
        distinct = set(lengths.values())
        if len(distinct) != 1 or None in distinct:
            raise ValueError(
                f"This DictObs has no single length; its arrays have {lengths} (None is a scalar). Expected every "
                "array to have the same leading dimension."
            )
        length = distinct.pop()
        assert length is not None
        return length

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
        if not isinstance(other, DictObs):
            return NotImplemented
        return self.keys() == other.keys() and all(_same(v, other._d[k]) for k, v in self._d.items())

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


Observation = np.ndarray | DictObs


def assert_not_dictobs(x: Observation) -> np.ndarray:
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
    if isinstance(maybe_dict, DictObs):
        return maybe_dict.map_arrays(fn)
    if isinstance(maybe_dict, Mapping):
        return {k: fn(v) for k, v in maybe_dict.items()}
    return fn(maybe_dict)


class TransitionMappingNoNextObs(TypedDict, total=False):
    """A batch of transitions as a dictionary, without next observations."""

    obs: Any
    acts: Any
    infos: Any
    dones: Any


class TransitionMapping(TransitionMappingNoNextObs, total=False):
    """A batch of transitions as a dictionary: arrays or tensors `(batch, *shape)`, next observations among them."""

    next_obs: Any


def dataclass_quick_asdict(obj: Any) -> dict[str, Any]:
    """A dataclass instance's fields as a dictionary; unlike `dataclasses.asdict` it copies nothing."""
    return {f.name: getattr(obj, f.name) for f in dataclasses.fields(obj)}


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    """An episode, or a fragment of one, of length T.

    Attributes:
        obs: `(T + 1, *obs_shape)`, an array or a `DictObs`.
        acts: `(T, *act_shape)`.
        infos: T dictionaries, or None.
        terminal: whether the last observation ended an episode (terminated or truncated); False for a fragment that
            was cut out of a longer episode.

    Raises:
        TypeError: if `obs` or `acts` is no array.
        ValueError: if the lengths do not fit, or there is no action.
    """

    obs: Observation
    acts: np.ndarray
    infos: Sequence[Any] | None
    terminal: bool

    def __len__(self) -> int:
        """The number of actions, T."""
        return len(self.acts)

    def __post_init__(self) -> None:
        _check_array("obs", self.obs)
        _check_array("acts", self.acts)
        n = len(self.acts)
        if n == 0:
            raise ValueError("This trajectory has no actions, expected at least one: leave empty episodes out.")
        if len(self.obs) != n + 1:
            raise ValueError(
                f"This trajectory has {len(self.obs)} observations and {n} actions, expected {n + 1} observations: "
                "one before each action and the one after the last action."
            )
        if self.infos is not None and len(self.infos) != n:
            raise ValueError(
                f"This trajectory has {len(self.infos)} infos and {n} actions, expected one info per action, "
                "or infos=None."
            )

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other)

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass(frozen=True, eq=False)
class TrajectoryWithRew(Trajectory):
    """A trajectory with rewards.

    Attributes:
        rews: `(T,)`, floating point; the reward of each step.

    Raises:
        ValueError: if `rews` has another shape or is not floating point.
    """

    rews: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rews(self.rews, len(self.acts))


TrajectoryPair = Pair[Trajectory]
TrajectoryWithRewPair = Pair[TrajectoryWithRew]


@dataclasses.dataclass(frozen=True, eq=False)
class TransitionsMinimal(Dataset, Sequence[Any]):
    """A batch of observations and actions, as a PyTorch dataset and as a sequence.

    An integer index gives one transition as a dictionary; a slice, list, index array or mask gives the same class
    (a slice as views).

    Attributes:
        obs: `(batch, *obs_shape)`, an array or a `DictObs`.
        acts: `(batch, *act_shape)`.
        infos: `(batch,)` objects, one dictionary per transition; a list is converted, None stands for empty ones.

    Raises:
        TypeError: if a field is no array.
        ValueError: if lengths, shapes or dtypes do not fit together.
    """

    obs: Observation
    acts: np.ndarray
    infos: np.ndarray

    def __post_init__(self) -> None:
        _check_array("obs", self.obs)
        _check_array("acts", self.acts)
        if not isinstance(self.infos, np.ndarray):
            object.__setattr__(self, "infos", infos_array(self.infos, len(self.acts)))
        self._check_lengths("acts", "infos")

    def _check_lengths(self, *names: str) -> None:
        n = len(self.obs)
        for name in names:
            found = len(getattr(self, name))
            if found != n:
                raise ValueError(f"{name} has length {found}, expected {n}, the length of obs.")

    def __len__(self) -> int:
        """The number of transitions."""
        return len(self.obs)

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self: T, key: slice) -> T: ...

    @overload
    def __getitem__(self: T, key: Sequence[int] | np.ndarray) -> T: ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, Sequence):  # NumPy would read a tuple as one index per axis
            key = np.asarray(key, dtype=None if len(key) else np.intp)
        rows = {name: value[key] for name, value in dataclass_quick_asdict(self).items()}
        if isinstance(key, slice) or (isinstance(key, np.ndarray) and key.ndim > 0):
            new = object.__new__(type(self))  # rows of a checked batch need no second check
            new.__dict__.update(rows)
            return new
        return rows

    def __eq__(self, other: object) -> bool:
        return _same_fields(self, other)

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass(frozen=True, eq=False)
class Transitions(TransitionsMinimal):
    """A batch of transitions.

    Attributes:
        next_obs: `(batch, *obs_shape)`, the observation after the action; never that of a following episode.
        dones: `(batch,)` bool, whether the episode ended with this step (terminated or truncated).
    """

    next_obs: Observation
    dones: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_lengths("next_obs", "dones")
        for name in ("shape", "dtype"):
            found, expected = getattr(self.next_obs, name), getattr(self.obs, name)
            if found != expected:
                raise ValueError(f"next_obs has {name} {found}, expected {expected}, the {name} of obs.")
        if tuple(self.dones.shape) != (len(self.obs),):
            raise ValueError(f"dones has shape {tuple(self.dones.shape)}, expected ({len(self.obs)},).")
        if self.dones.dtype not in (np.dtype(bool), th.bool):
            raise ValueError(f"dones has dtype {self.dones.dtype}, expected bool: pass dones.astype(bool).")


@dataclasses.dataclass(frozen=True, eq=False)
class TransitionsWithRew(Transitions):
    """A batch of transitions with rewards.

    Attributes:
        rews: `(batch,)`, floating point.
    """

    rews: np.ndarray

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rews(self.rews, len(self.obs))


def transitions_collate_fn(batch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collates single transitions into a batch, for `torch.utils.data.DataLoader`.

    It is slow by nature, a row at a time: the library's own loops index whole arrays instead.

    Args:
        batch: dictionaries as `TransitionsMinimal` yields them at an integer index.

    Returns:
        Field to tensor `(batch, *shape)`; `infos` stays a list, `obs` of a DictObs becomes a DictObs of tensors.
    """
    if not batch:
        raise ValueError("Got an empty batch, expected at least one transition.")

    def tensor(rows: np.ndarray) -> th.Tensor:
        return th.as_tensor(rows)

    out: dict[str, Any] = {}
    for name in batch[0]:
        rows = [row[name] for row in batch]
        out[name] = rows if name == "infos" else map_maybe_dict(tensor, stack_maybe_dictobs(rows))
    return out


def infos_array(infos: Sequence[Any] | None, n: int) -> np.ndarray:
    """Infos as an object array `(n,)`; for None all entries are one shared empty dictionary, at no cost per item."""
    array = np.empty(n, dtype=object)
    if infos is None:
        array.fill({})
    elif len(infos) != n:
        raise ValueError(f"infos has length {len(infos)}, expected {n}.")
    else:
        array[:] = list(infos)
    return array


def _check_array(name: str, value: Any) -> None:
    if hasattr(value, "shape"):
        return
    hint = "wrap it in DictObs" if isinstance(value, Mapping) else f"pass np.asarray({name})"
    raise TypeError(f"{name} is a {type(value).__name__}, expected an array: {hint}.")


def _check_rews(rews: Any, n: int) -> None:
    _check_array("rews", rews)
    if tuple(rews.shape) != (n,):
        raise ValueError(f"rews has shape {tuple(rews.shape)}, expected ({n},), one reward per action.")
    if not (rews.dtype.is_floating_point if isinstance(rews, th.Tensor) else rews.dtype.kind == "f"):
        raise ValueError(f"rews has dtype {rews.dtype}, expected floating point: pass rews.astype(np.float32).")


def _same_fields(a: Any, b: object) -> bool:
    """Whether two dataclass instances have one class and equal fields; infos of None equal empty ones."""
    if type(a) is not type(b):
        return NotImplemented
    for name, x in dataclass_quick_asdict(a).items():
        y = getattr(b, name)
        if name == "infos" and (x is None) != (y is None):
            if any(x if y is None else y):
                return False
        elif not _same(x, y):
            return False
    return True


def _same(x: Any, y: Any) -> bool:
    """Deep equality that looks into arrays."""
    if x is y:
        return True
    if isinstance(x, DictObs) or isinstance(y, DictObs):
        return isinstance(x, DictObs) and isinstance(y, DictObs) and x == y
    if isinstance(x, Mapping):
        return isinstance(y, Mapping) and x.keys() == y.keys() and all(_same(v, y[k]) for k, v in x.items())
    numeric = [isinstance(v, np.ndarray | th.Tensor) and v.dtype != object for v in (x, y)]
    if any(numeric):
        return hasattr(x, "shape") and hasattr(y, "shape") and bool(np.array_equal(x, y))
    sequences = [isinstance(v, Sequence | np.ndarray) and not isinstance(v, str | bytes) for v in (x, y)]
    if all(sequences):
        return len(x) == len(y) and all(_same(v, w) for v, w in zip(x, y, strict=True))
    return bool(x == y)
