"""Trajectories, transitions and dictionary observations.

A trajectory of length T holds T + 1 observations and T actions; transitions hold one row per time step. Nothing here
copies arrays: constructors keep what they are given and slices are views, so treat the arrays as immutable.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Union, overload

import numpy as np
import torch as th
from torch.utils.data import Dataset

from imitation_lab.data.dict_obs import (
    DictObs,
    assert_not_dictobs,
    concatenate_maybe_dictobs,
    map_maybe_dict,
    maybe_unwrap_dictobs,
    maybe_wrap_in_dictobs,
    same,
    stack_maybe_dictobs,
)

__all__ = [
    "Trajectory", "TrajectoryWithRew", "TransitionsMinimal", "Transitions", "TransitionsWithRew", "DictObs",
    "AnyPath", "AnyTensor", "Observation", "Pair", "TrajectoryPair", "TrajectoryWithRewPair", "TransitionMapping",
    "TransitionMappingNoNextObs", "transitions_collate_fn", "dataclass_quick_asdict", "infos_array", "all_have_rewards",
    "common_dtype", "assert_not_dictobs", "concatenate_maybe_dictobs", "stack_maybe_dictobs", "maybe_unwrap_dictobs",
    "maybe_wrap_in_dictobs", "map_maybe_dict",
]  # fmt: skip

T = TypeVar("T")

AnyPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
AnyTensor = np.ndarray | th.Tensor
Observation = np.ndarray | DictObs
Pair = tuple[T, T]


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
        if getattr(self.infos, "ndim", 1) == 0:
            raise ValueError("infos has no dimension, expected one dictionary per action.")
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
            _check_array(name, getattr(self, name))
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
            return self._of_checked(rows)
        return rows

    @classmethod
    def _of_checked(cls: type[T], fields: dict[str, Any]) -> T:
        """Rows of a batch that was checked, which need no second check."""
        new = object.__new__(cls)
        new.__dict__.update(fields)
        return new

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


def all_have_rewards(trajectories: Sequence[Trajectory]) -> bool:
    """Whether all trajectories have rewards, rather than none.

    Raises:
        ValueError: if there are no trajectories, or some have rewards and others not.
    """
    if len(trajectories) == 0:
        raise ValueError("Got no trajectories, expected at least one.")
    with_rew = [isinstance(t, TrajectoryWithRew) for t in trajectories]
    if any(with_rew) and not all(with_rew):
        raise ValueError(
            f"Trajectory {with_rew.index(False)} has no rewards while others do, expected all or none to have them."
        )
    return with_rew[0]


def common_dtype(name: str, dtypes: Iterable[np.dtype], arrays: Iterable[np.ndarray]) -> np.dtype:
    """The dtype to which NumPy casts `dtypes` together, if no whole number of `arrays` is rounded by it.

    Args:
        name: what the arrays are, for the error.
        dtypes: those of the arrays, and perhaps others.
        arrays: one per trajectory; looked at only if whole numbers become floats.

    Raises:
        ValueError: naming the trajectory that holds a number too large.
    """
    kinds = set(dtypes)
    common = np.result_type(*kinds)
    if common.kind == "f" and any(dtype.kind in "iu" for dtype in kinds):
        limit = 2 ** (np.finfo(common).nmant + 1)
        for i, array in enumerate(arrays):
            if array.dtype.kind in "iu" and array.size:
                largest = max(int(array.max()), int(array.min()), key=abs)
                if abs(largest) > limit:
                    raise ValueError(
                        f"Trajectory {i}: {name} holds {largest}, which {common}, the dtype that all trajectories need "
                        "together, would round: give all of them one dtype."
                    )
    return common


def infos_array(infos: Sequence[Any] | None, n: int) -> np.ndarray:
    """Infos as an object array `(n,)`; for None all entries are one shared empty dictionary, at no cost per item."""
    if infos is None:
        return np.full(n, {}, dtype=object)
    if len(infos) != n:
        raise ValueError(f"infos has length {len(infos)}, expected {n}.")
    return infos if isinstance(infos, np.ndarray) else np.fromiter(infos, object, n)


def _check_array(name: str, value: Any) -> None:
    if getattr(value, "ndim", 1) == 0:
        raise ValueError(f"{name} has no dimension, expected one per time step at least: its shape is ().")
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
        elif not same(x, y):
            return False
    return True
