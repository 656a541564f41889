"""Demonstrations against spaces: which are supported, and what a tensor of observations or actions must look like."""

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.vec_env import VecTransposeImage

ArrayOrDict = Any  # an array or tensor, a dict of them, or a DictObs

_BASIC = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def check_supported(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Raises ValueError naming the first space, of observations or actions, that policies here cannot handle."""
    parts = observation_space.spaces if isinstance(observation_space, spaces.Dict) else {"": observation_space}
    for key, space in parts.items():
        _check_basic(f"observation_space[{key!r}]" if key else "observation_space", space)
    _check_basic("action_space", action_space)


def _check_basic(name: str, space: spaces.Space) -> None:
    if not isinstance(space, _BASIC):
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


def cast_obs(name: str, obs: ArrayOrDict, space: spaces.Space) -> ArrayOrDict:
    """Checks observations `(n, *obs_shape)` and casts them: floats to float32, whole numbers to int64, bytes stay.

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
    """Checks actions `(n, *act_shape)` and casts them: floats to float32, whole numbers to int64.

    Raises:
        ValueError: on NaN or infinity, another shape, or an action outside of the space.
    """
    acts = _cast(name, acts, space)
    if isinstance(space, spaces.Box):
        acts = acts.float()
        low, high = (th.as_tensor(bound, dtype=th.float32, device=acts.device) for bound in (space.low, space.high))
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
    top = th.as_tensor(_sizes(space), device=value.device)
    _refuse(name, value, (whole < 0) | (whole >= top), f"outside of {space}", "check the recording or the space")
    return whole


def _sizes(space: spaces.Space) -> Any:
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec
    return int(space.n) if isinstance(space, spaces.Discrete) else 2


def _refuse(name: str, value: th.Tensor, wrong: th.Tensor, what: str, mend: str) -> None:
    if wrong.any():
        first = int(wrong.flatten(1).any(1).nonzero()[0]) if wrong.ndim > 1 else int(wrong.nonzero()[0])
        raise ValueError(
            f"{name}: {int(wrong.sum())} of {wrong.numel()} values are {what}; the first in row {first}: "
            f"{value[first][wrong[first]].flatten()[:3].tolist() if wrong.ndim > 1 else value[first].item()}. "
            f"To mend it, {mend}."
        )
