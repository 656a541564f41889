"""All demonstrated transitions at once, and observations and actions as flat numbers."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
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


def flatten(values: Sequence[Any], of: Sequence[spaces.Space], device: th.device | str = "cpu") -> th.Tensor:
    """Elements of spaces as numbers, side by side: discrete ones one-hot, dictionaries part by part.

    Args:
        values: for each space arrays or tensors `(batch, *shape)`, or a mapping of them for `Dict`.
        of: the spaces.
        device: where the result lives.

    Returns:
        Float64 `(batch, d)`, where d is the sum of `width` over the spaces.
    """
    parts = [part for value, space in zip(values, of, strict=True) for part in _parts(value, space, device)]
    if len(parts) == 1:
        return parts[0].double()
    out = th.empty((len(parts[0]), sum(part.shape[1] for part in parts)), dtype=th.float64, device=device)
    start = 0
    for part in parts:
        out[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return out


def _parts(value: Any, space: spaces.Space, device: th.device | str) -> Iterator[th.Tensor]:
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _parts(value[key], part, device)
        return
    tensor = util.safe_to_tensor(value if isinstance(value, th.Tensor) else np.asarray(value), device=device)
    if isinstance(space, spaces.Discrete):
        yield F.one_hot(tensor.long().reshape(-1), int(space.n))
    elif isinstance(space, spaces.MultiDiscrete):
        for column, n in zip(tensor.long().reshape(len(tensor), -1).unbind(1), space.nvec.ravel(), strict=True):
            yield F.one_hot(column, int(n))
    else:
        yield tensor.reshape(len(tensor), -1)
