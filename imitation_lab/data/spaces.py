"""What spaces ask of data: which are supported, what fits them, and how their elements become numbers.

Values are n elements of a space at once, `(n, *space.shape)`: NumPy's arrays or torch's tensors, and for `Dict` spaces
mappings of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecTransposeImage
from torch.nn import functional as F

from imitation_lab.data.dict_obs import DictObs
from imitation_lab.util import util

__all__ = [
    "ARRAYS", "check_supported", "channels_first", "bounds", "width", "flatten",
    "cast_obs", "cast_acts", "conform", "Misfit", "misfits", "as_array", "not_finite",
]  # fmt: skip

ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""The spaces whose elements are arrays of numbers."""

Misfit = tuple[str, str, str, str]
"""Where values do not fit: the field, what was found, what was expected, how to mend it."""


def check_supported(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Raises ValueError naming the first space, of observations or actions, that policies here cannot handle."""
    parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {"": observation_space}
    named = {f"observation_space[{key!r}]" if key else "observation_space": space for key, space in parts.items()}
    for name, space in (*named.items(), ("action_space", action_space)):
        if not isinstance(space, ARRAYS):
            raise ValueError(
                f"{name} is {space}, which is not supported: expected Box, Discrete, MultiDiscrete or MultiBinary, and "
                "for observations also a Dict of these. Flatten it with a Gymnasium wrapper."
            )
        if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary) and len(space.shape) != 1:
            raise ValueError(f"{name} is {space} of shape {space.shape}: expected one dimension. Flatten it.")
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete) and np.any(space.start):
            raise ValueError(
                f"{name} is {space}: Stable-Baselines3 policies count from 0. Shift the values so that they start at 0."
            )


def channels_first(space: spaces.Space) -> spaces.Space:
    """The space that SB3 shows a policy in place of one with channels-last images."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict([(key, channels_first(part)) for key, part in space.items()])
    if isinstance(space, spaces.Box) and is_image_space(space) and not is_image_space_channels_first(space):
        return VecTransposeImage.transpose_space(space)
    return space


def bounds(space: spaces.Space) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest value, both allowed, as arrays that broadcast to the shape of one of `ARRAYS`."""
    if isinstance(space, spaces.Box):
        return space.low, space.high
    if isinstance(space, spaces.MultiBinary):
        return np.asarray(0), np.asarray(1)
    size: Any = space.nvec if isinstance(space, spaces.MultiDiscrete) else space.n  # type: ignore[attr-defined]
    start = np.asarray(space.start)  # type: ignore[attr-defined]
    return start, start + size - 1


def width(space: spaces.Space) -> int:
    """How many numbers `flatten` makes of one element.

    Raises:
        ValueError: if the space is neither of `ARRAYS` nor a `Dict` of these.
    """
    if isinstance(space, spaces.Dict):
        return sum(map(width, space.values()))
    if not isinstance(space, ARRAYS):
        raise ValueError(
            f"{space} has no width, expected Box, Discrete, MultiDiscrete, MultiBinary or a Dict of these."
        )
    return spaces.flatdim(space)


def flatten(values: Sequence[Any], of: Sequence[spaces.Space], device: th.device | str = "cpu") -> th.Tensor:
    """Elements of spaces as numbers, side by side: discrete ones one-hot, dictionaries part by part.

    Args:
        values: for each space arrays or tensors `(batch, *shape)`, or a mapping of them for `Dict`.
        of: the spaces, which count from 0.
        device: where the result lives.

    Returns:
        Float64 `(batch, d)`, where d is the sum of `width` over the spaces.
    """
    parts = [part for value, space in zip(values, of, strict=True) for part in _numbers(value, space, device)]
    if len(parts) == 1:
        return parts[0].double()
    out = th.empty((len(parts[0]), sum(part.shape[1] for part in parts)), dtype=th.float64, device=device)
    start = 0
    for part in parts:
        out[:, start : start + part.shape[1]] = part
        start += part.shape[1]
    return out


def _numbers(value: Any, space: spaces.Space, device: th.device | str) -> Iterator[th.Tensor]:
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _numbers(value[key], part, device)
        return
    tensor = util.safe_to_tensor(value if isinstance(value, th.Tensor) else np.asarray(value), device=device)
    rows = tensor.reshape(len(tensor), -1)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        sizes = space.nvec.ravel() if isinstance(space, spaces.MultiDiscrete) else [space.n]
        for column, n in zip(rows.long().unbind(1), sizes, strict=True):
            yield F.one_hot(column, int(n))
    else:
        yield rows


def cast_obs(name: str, obs: Any, space: spaces.Space) -> Any:
    """Checks observations, tensors, and casts them: floats to float32, whole numbers to int64, bytes stay.

    Images whose channels come last are transposed where `space` has them first, as SB3's `VecTransposeImage` does.
    Bounds of a `Box` are not enforced: environments overstep their nominal ones, and no policy minds.

    Raises:
        ValueError: on NaN or infinity, another shape, other keys, or a number that is not in a discrete space.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict):
            raise ValueError(f"{name} is no dictionary, expected one array for each of the keys {list(space)}.")
        if set(obs) != set(space):
            raise ValueError(f"{name} has the keys {sorted(obs)}, expected those of the space, {sorted(space)}.")
        return {key: cast_obs(f"{name}[{key!r}]", obs[key], part) for key, part in space.items()}
    if isinstance(obs, dict):
        raise ValueError(f"{name} is a dictionary with the keys {sorted(obs)}, but the space is {space}.")
    channels_last = obs.ndim == 4 and (obs.shape[3], *obs.shape[1:3]) == space.shape != obs.shape[1:]
    if channels_last and isinstance(space, spaces.Box) and is_image_space(space):
        obs = obs.permute(0, 3, 1, 2).contiguous()
    return _cast(name, obs, space)


def cast_acts(name: str, acts: th.Tensor, space: spaces.Space) -> th.Tensor:
    """Checks actions, a tensor, and casts them: floats to float32, whole numbers to int64.

    Raises:
        ValueError: on NaN or infinity, another shape, or an action outside of the space.
    """
    acts = _cast(name, acts, space)
    if isinstance(space, spaces.Box):
        acts = acts.float()
        low, high = (th.as_tensor(bound, dtype=th.float32, device=acts.device) for bound in bounds(space))
        slack = 1e-4 * (high - low).nan_to_num(posinf=0.0) + 1e-5  # float32 rounding is no mistake
        _refuse(name, acts, (acts < low - slack) | (acts > high + slack), f"outside of {space}", "np.clip them first")
    return acts


def _cast(name: str, value: th.Tensor, space: spaces.Space) -> th.Tensor:
    if tuple(value.shape[1:]) != space.shape:
        expected = ", ".join(["n", *map(str, space.shape or ())])
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({expected}) for {space}.")
    if value.is_floating_point():
        value = value.float()
        _refuse(name, value, ~th.isfinite(value), "not finite", "remove these transitions")
    if isinstance(space, spaces.Box):
        return value
    whole = value.long()
    _refuse(name, value, whole != value, f"no whole number, but the space is {space}", "pass integers")
    low, high = (th.as_tensor(bound, device=value.device) for bound in bounds(space))
    _refuse(name, value, (whole < low) | (whole > high), f"outside of {space}", "check the recording or the space")
    return whole


def _refuse(name: str, value: th.Tensor, wrong: th.Tensor, what: str, mend: str) -> None:
    if wrong.any():
        value, wrong = (x.reshape(len(x), -1) for x in (value, wrong))
        first = int(wrong.any(1).nonzero()[0])
        raise ValueError(
            f"{name}: {int(wrong.sum())} of {wrong.numel()} values are {what}; the first in row {first}: "
            f"{value[first][wrong[first]][:3].tolist()}. To mend it, {mend}."
        )


def conform(values: Any, space: spaces.Space) -> Any:
    """Arrays in the shape and dtype of a space where that loses nothing but float precision; others as they are."""
    if isinstance(values, DictObs):
        if not isinstance(space, spaces.Dict):
            return values
        return DictObs({k: conform(v, space[k]) if k in space.spaces else v for k, v in values.items()})
    if space.shape is None or space.dtype is None or values.dtype.kind not in "biuf":
        return values
    if values.shape[1:] != space.shape and values.size == len(values) * int(np.prod(space.shape)):
        squeezed = [tuple(n for n in shape if n != 1) for shape in (values.shape[1:], space.shape)]
        if squeezed[0] == squeezed[1]:  # (T, 1) for (T,), and the like; anything else is a mistake to report
            values = values.reshape(len(values), *space.shape)
    floats = values.dtype.kind == space.dtype.kind == "f"
    if values.dtype == space.dtype or not (floats or values.dtype.kind != "f" or np.isfinite(values).all()):
        return values
    with np.errstate(over="ignore"):
        cast = values.astype(space.dtype)
    return cast if floats or np.array_equal(cast, values) else values


def misfits(name: str, values: Any, space: spaces.Space) -> Iterator[Misfit]:
    """What is wrong with values in shape, dtype and membership, a whole array at once."""
    keyed = isinstance(values, DictObs | Mapping)
    if isinstance(space, spaces.Dict):
        if isinstance(values, Sequence) and all(isinstance(v, Mapping | DictObs) for v in values) and values:
            yield name, "a list of dicts", "a dict of arrays", "build it by types.DictObs.from_obs_list"
        elif not keyed:
            keys = list(space.spaces)
            yield name, f"a {type(values).__name__}", f"a DictObs with the keys {keys}", "keep the dict observations"
        elif set(values.keys()) != set(space.spaces):
            yield name, f"keys {sorted(values.keys())}", f"{sorted(space.spaces)}", "add the missing, drop the others"
        else:
            for key, part in values.items():
                yield from misfits(f"{name}/{key}", part, space.spaces[key])
        return
    if keyed:
        fix = "flatten it as the environment does, or use the environment it was recorded in"
        yield name, f"a dict with the keys {sorted(values.keys())}", f"an array of {space}", fix
        return
    array = as_array(values)
    if array.dtype.kind not in "biuf":
        fix = "make it one array of numbers, every step of one shape"
        yield name, f"an array of {array.dtype}", f"numbers of dtype {space.dtype}", fix
        return
    if space.shape is None or array.shape[1:] != space.shape or array.ndim == 0:
        expected = f"{('T + 1' if name.startswith('obs') else 'T', *(space.shape or ()))} for {space}".replace("'", "")
        yield name, f"shape {array.shape}", expected, "reshape it, or use the environment it was recorded in"
        return
    if space.dtype is not None and not np.can_cast(array.dtype, space.dtype, "same_kind"):
        yield name, f"dtype {array.dtype}", f"{space.dtype}", f"convert it by .astype(np.{space.dtype})"
    yield from not_finite(name, array)
    if not isinstance(space, ARRAYS):
        step = next((step for step, value in enumerate(array) if not space.contains(value)), None)
        if step is not None:
            yield name, f"{array[step]} at step {step}", f"an element of {space}", "record it in this environment"
        return
    low, high = bounds(space)
    if array.dtype.kind == "f" and space.dtype.kind == "f":
        array = array.astype(space.dtype)  # equal up to the space's precision
    outside = (array < low) | (array > high)
    if outside.any():
        where = _first(outside)
        low, high = (np.broadcast_to(bound, array.shape[1:])[where[1:]] for bound in (low, high))
        fix = "clip the actions" if name == "acts" and isinstance(space, spaces.Box) else "record in this environment"
        found = f"{array[where]} at {_at(where)} ({int(outside.sum())} such values)"
        yield name, found, f"values from {low} to {high}", f"{fix}, or check that numbering and units are the same"


def as_array(values: Any) -> np.ndarray:
    """As NumPy's array; where rows differ in shape an empty one of objects."""
    try:
        return np.asarray(values)
    except ValueError:
        return np.empty(0, dtype=object)


def not_finite(name: str, array: np.ndarray) -> Iterator[Misfit]:
    """The first NaN or infinity."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        where = _first(~np.isfinite(array))
        yield name, f"{array[where]} at {_at(where)}", "finite numbers", "drop the episode or find what produced it"


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _at(where: tuple[int, ...]) -> str:
    return f"step {where[0]}" + (f", index {list(where[1:])}" if where[1:] else "")
