"""Demonstrations as tensors on the device, made once, and batches that are indices into them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces

from imitation_lab.data import rollout, types
from imitation_lab.data.spaces import cast_acts, cast_obs
from imitation_lab.util import checks, tree, util

__all__ = [
    "TransitionKind", "AnyTransitions", "Batch", "TensorSpec", "TransitionTensors", "TensorLoader", "BatchStream",
    "demonstration_tensors", "all_tensors", "sort_out", "episode_lengths", "GroupedStream",
]  # fmt: skip

TransitionKind = TypeVar("TransitionKind", bound=types.TransitionsMinimal)
AnyTransitions = Iterable[types.Trajectory] | Iterable[types.TransitionMapping] | types.TransitionsMinimal
Batch = dict[str, Any]
_ALL = ("obs", "acts", "infos", "next_obs", "dones")

# Rows are gathered this many bytes at a time: one gather serves many batches, and the allocator keeps the copy's memory
# for the next (larger blocks go back to the system each time, and their page faults cost more than the gather).
_GATHER_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """What algorithms want demonstrations to be.

    Attributes:
        fields: names among obs, acts, next_obs, dones, rews, infos; None takes all that are there.
        device: where the tensors live; `infos` stays an object array on the CPU.
        observation_space: where given, observations are checked against it and cast, see `cast_obs`.
        action_space: the same for actions.
    """

    fields: Sequence[str] | None = None
    device: th.device | str = "cpu"
    observation_space: spaces.Space | None = None
    action_space: spaces.Space | None = None

    def tensors(self, found: Mapping[str, Any]) -> Batch:
        """Turns arrays, one per field, into tensors; see `Raises` of `demonstration_tensors`."""
        names = [name for name in found if found[name] is not None] if self.fields is None else list(self.fields)
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(f"The demonstrations have the fields {sorted(found)}, but {missing} are needed as well.")
        out: Batch = {name: self._tensor(name, found[name]) for name in names}
        lengths = {name: tree.length(value) for name, value in out.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The fields of the demonstrations differ in length: {lengths}.")
        return out

    def _tensor(self, name: str, value: Any) -> Any:
        if name == "infos":
            return value if isinstance(value, np.ndarray) else types.infos_array(value, len(value))
        value = types.maybe_unwrap_dictobs(value)
        value = tree.map(lambda part: util.safe_to_tensor(part, device=self.device), value)
        if name in ("obs", "next_obs") and self.observation_space is not None:
            return cast_obs(name, value, self.observation_space)
        if name == "acts" and self.action_space is not None:
            return cast_acts(name, value, self.action_space)
        return value


class TransitionTensors:
    """Transitions as tensors on one device, one per field.

    Args:
        fields: name to tensor `(n, *shape)`, dict of tensors (dictionary observations) or object array (infos).
        spec: what fields that are loaded from a file must be.
    """

    def __init__(self, fields: Mapping[str, Any], spec: TensorSpec = TensorSpec()) -> None:
        self.fields = dict(fields)
        self._spec = spec

    def __len__(self) -> int:
        return tree.length(self.fields) if self.fields else 0

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def state_dict(self) -> Batch:
        """What `algorithms.saved` saves of an attribute of this kind."""
        return self.fields

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Takes fields from a file: checked, and moved to their device."""
        self.fields = self._spec.tensors(saved) if saved else {}

    def rows(self, index: th.Tensor | slice) -> TransitionTensors:
        """The transitions at `index`, int64 `(k,)`, copied by one gather per field; a slice gives views."""
        return TransitionTensors(tree.take(self.fields, index))

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[TransitionTensors, TransitionTensors]:
        """Two parts at random, the second with `fraction` of the transitions, at least one."""
        n_second = max(1, round(fraction * len(self)))
        order = th.as_tensor(rng.permutation(len(self)))
        return self.rows(order[n_second:]), self.rows(order[:n_second])

    def batches(self, batch_size: int, **options: Any) -> TensorLoader:
        """A loader over these transitions, see `TensorLoader` for the options."""
        return TensorLoader(self, batch_size, **options)


@dataclasses.dataclass(eq=False)
class TensorLoader:
    """Batches of transitions, in a new order on each pass.

    Attributes:
        data: the transitions.
        batch_size: transitions in a batch.
        shuffle: whether each pass draws a new permutation.
        drop_last: whether transitions that fill no batch are left out (others, in a shuffled pass, each time).
        generator: CPU generator of the permutations; None is PyTorch's global one.

    Raises:
        ValueError: if there are fewer transitions than `batch_size`.
    """

    data: TransitionTensors
    batch_size: int
    _: dataclasses.KW_ONLY
    shuffle: bool = True
    drop_last: bool = True
    generator: th.Generator | None = None

    def __post_init__(self) -> None:
        checks.integers(1, batch_size=self.batch_size)
        n = len(self.data)
        if n < self.batch_size:
            raise ValueError(
                f"There are {n} transitions, fewer than one batch of {self.batch_size}: give more demonstrations or a "
                f"batch_size of at most {n}."
            )
        row_bytes = max(1.0, sum(leaf.nbytes for leaf in tree.leaves(self.data.fields)) / n)
        self._block = self.batch_size * max(1, int(_GATHER_BYTES / row_bytes) // self.batch_size)

    def __len__(self) -> int:
        """The number of batches in a pass."""
        n = len(self.data)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        end = min(len(self.data), len(self) * self.batch_size)
        order = th.randperm(len(self.data), generator=self.generator) if self.shuffle else None
        names = list(self.data.fields)
        for start in range(0, end, self._block):
            span = slice(start, min(start + self._block, end))
            block = self.data.rows(span if order is None else order[span])
            for values in zip(*(tree.split(value, self.batch_size) for value in block.fields.values()), strict=True):
                yield dict(zip(names, values, strict=True))


class BatchStream:
    """Batches that somebody else makes, checked and moved to the device as they come.

    Args:
        batches: mappings with at least obs and acts; to make several passes it must be a collection, no iterator.
        batch_size: what each batch must hold.
        spec: what each becomes.
    """

    def __init__(self, batches: Iterable[Mapping[str, Any]], batch_size: int, spec: TensorSpec) -> None:
        checks.integers(1, batch_size=batch_size)
        first, self._batches = util.get_first_iter_element(batches)
        self.batch_size = batch_size
        self._spec = spec
        self._check(0, first)

    def __iter__(self) -> Iterator[Batch]:
        for number, batch in enumerate(self._batches):
            yield self._check(number, batch)

    def _check(self, number: int, batch: Any) -> Batch:
        tensors = self._spec.tensors(_fields(number, batch))
        size = tree.length(tensors)
        if size != self.batch_size:
            raise ValueError(
                f"Batch {number} of the demonstrations holds {size} transitions, expected {self.batch_size}: make "
                "batches of that size (a DataLoader needs drop_last=True), or pass the transitions themselves."
            )
        return tensors


def sort_out(
    demonstrations: Any, expected: str = "Transitions, trajectories, or an iterable of batches"
) -> tuple[str, Any]:
    """What demonstrations are, "transitions", "trajectories" or "batches"; and the same again, trajectories as a list.

    Args:
        demonstrations: what a user gave; it may run only once.
        expected: for the error's text.

    Raises:
        TypeError: if they are of no known kind.
        ValueError: if they are empty.
    """
    if isinstance(demonstrations, types.TransitionsMinimal):
        if len(demonstrations) == 0:
            raise ValueError("demonstrations holds no transition: at least one is needed.")
        return "transitions", demonstrations
    if not isinstance(demonstrations, Iterable) or isinstance(demonstrations, Mapping | str | types.Trajectory):
        hint = " (wrap a single trajectory in a list)" if isinstance(demonstrations, types.Trajectory) else ""
        raise TypeError(f"demonstrations is a {type(demonstrations).__name__}{hint}, expected {expected}.")
    try:
        first, demonstrations = util.get_first_iter_element(demonstrations)
    except ValueError:
        raise ValueError("demonstrations is empty: at least one trajectory or batch is needed.") from None
    if isinstance(first, types.Trajectory):
        return "trajectories", demonstrations if isinstance(demonstrations, list) else list(demonstrations)
    return "batches", demonstrations


def episode_lengths(demonstrations: Any) -> list[int]:
    """Steps of each whole episode, where `demonstrations`, as `sort_out` gives them, tell."""
    if isinstance(demonstrations, list):
        return [len(t) for t in demonstrations if isinstance(t, types.Trajectory) and t.terminal]
    return []


def demonstration_tensors(
    demonstrations: AnyTransitions, spec: TensorSpec, batch_size: int
) -> TransitionTensors | BatchStream:
    """Turns demonstrations of any kind into tensors, once.

    Args:
        demonstrations: transitions, trajectories, or batches (mappings) of transitions.
        spec: fields, device and spaces.
        batch_size: the size that ready-made batches must have.

    Returns:
        The tensors; ready-made batches, which may be endless, as a stream of checked tensors.

    Raises:
        TypeError: if `demonstrations` is none of these.
        ValueError: if it is empty, lacks a field, holds a batch of another size, or does not fit the spaces.
    """
    kind, demonstrations = sort_out(demonstrations)
    if kind == "batches":
        return BatchStream(demonstrations, batch_size, spec)  # type: ignore[arg-type]
    return TransitionTensors(spec.tensors(_joined(kind, demonstrations, spec.fields or _ALL)), spec)


def all_tensors(demonstrations: AnyTransitions, spec: TensorSpec, optional: Sequence[str] = ()) -> TransitionTensors:
    """`demonstration_tensors`, where ready-made batches are joined: they may be of any sizes, but must come to an end.

    Args:
        demonstrations: transitions, trajectories, or batches (mappings) of transitions.
        spec: fields that are needed, device and spaces.
        optional: fields that are taken where they are there.

    Raises:
        TypeError: if `demonstrations` is of no known kind.
        ValueError: if it is empty, lacks a field, or does not fit the spaces.
    """
    needed = tuple(spec.fields or ())
    found = _joined(*sort_out(demonstrations), (*needed, *optional))
    spec = dataclasses.replace(spec, fields=(*needed, *(name for name in optional if name in found)))
    return TransitionTensors(spec.tensors(found), spec)


def _joined(kind: str, demonstrations: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """The fields of all transitions, for trajectories those of these names; `kind` is as of `sort_out`."""
    if kind == "transitions":
        return types.dataclass_quick_asdict(demonstrations)
    if kind == "trajectories":
        return rollout.flatten_fields(demonstrations, names)
    batches = list(itertools.starmap(_fields, enumerate(demonstrations)))
    common = set.intersection(*map(set, batches))
    return tree.cat([TensorSpec().tensors({name: batch[name] for name in common}) for batch in batches])


def _fields(number: int, batch: Any) -> Mapping[str, Any]:
    """The fields of a batch; raises TypeError if it is none."""
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return types.dataclass_quick_asdict(batch)
    if isinstance(batch, Mapping):
        return batch
    raise TypeError(
        f"Batch {number} of the demonstrations is a {type(batch).__name__}, expected a mapping with obs and acts."
    )


@dataclasses.dataclass(frozen=True)
class GroupedStream:
    """`n` consecutive batches of a stream as one; what fills no group at the end of a pass is left out.

    Attributes:
        stream: the batches.
        n: how many make a group.
        prepare: applied to each group.
    """

    stream: BatchStream
    n: int
    prepare: Callable[[Batch], Batch]

    def __iter__(self) -> Iterator[Batch]:
        stream = iter(self.stream)
        while len(group := list(itertools.islice(stream, self.n))) == self.n:
            yield self.prepare(tree.cat(group) if self.n > 1 else group[0])
