"""All demonstrated transitions at once, and observations and actions as flat numbers."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch as th
from gymnasium import spaces
from torch.nn import functional as F

from imitation_lab.algorithms._loaders import (
    AnyTransitions,
    BatchStream,
    TensorSpec,
    TransitionTensors,
    demonstration_tensors,
    join_batches,
)
from imitation_lab.data import types
from imitation_lab.util import util

_AS_THEY_ARE = TensorSpec()


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
    single = types.TransitionsMinimal | types.Trajectory | Mapping | str
    if not isinstance(demonstrations, single) and isinstance(demonstrations, Iterable):
        try:
            first, demonstrations = util.get_first_iter_element(demonstrations)
        except ValueError:
            demonstrations = ()
        else:
            if isinstance(first, Mapping | types.TransitionsMinimal):
                batches = [_fields(batch) for batch in demonstrations]
                names = set.intersection(*(set(batch) for batch in batches))
                joined = [_AS_THEY_ARE.tensors({k: batch[k] for k in names}) for batch in batches]
                return TransitionTensors(_with(spec, names.intersection(optional)).tensors(join_batches(joined)))
    found = demonstration_tensors(demonstrations, _with(spec, optional), 1)
    assert not isinstance(found, BatchStream)
    return found


def _with(spec: TensorSpec, names: Iterable[str]) -> TensorSpec:
    return spec if spec.fields is None else dataclasses.replace(spec, fields=(*spec.fields, *names))


def _fields(batch: Any) -> Mapping[str, Any]:
    if isinstance(batch, Mapping):
        return batch
    if isinstance(batch, types.TransitionsMinimal):
        return types.dataclass_quick_asdict(batch)
    raise TypeError(f"A batch of the demonstrations is a {type(batch).__name__}, expected a mapping.")


def width(space: spaces.Space) -> int:
    """How many numbers `flatten` makes of one element of a supported space."""
    if isinstance(space, spaces.Dict):
        return sum(width(part) for part in space.values())
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    return int(th.Size(space.shape or ()).numel())


def flatten(value: Any, space: spaces.Space, device: th.device | str = "cpu") -> th.Tensor:
    """Elements of a space as numbers: discrete ones one-hot, dictionaries part by part.

    Args:
        value: arrays or tensors `(batch, *shape)`, or a mapping of them for `Dict`.
        space: what they are elements of.
        device: where the result lives.

    Returns:
        Float64 `(batch, width(space))`.
    """
    if isinstance(space, spaces.Dict):
        return th.cat([flatten(value[key], part, device) for key, part in space.items()], dim=1)
    tensor = th.as_tensor(value, device=device)
    if isinstance(space, spaces.Discrete):
        return F.one_hot(tensor.long().reshape(-1), int(space.n)).double()
    if isinstance(space, spaces.MultiDiscrete):
        columns = tensor.long().reshape(len(tensor), -1).unbind(1)
        return th.cat([F.one_hot(c, int(n)) for c, n in zip(columns, space.nvec.ravel(), strict=True)], dim=1).double()
    return tensor.reshape(len(tensor), -1).double()
