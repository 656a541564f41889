"""From NumPy batches to network inputs: one encoder per space, built once.

The encoding is that of Stable-Baselines3: one-hot for `Discrete`, concatenated one-hots for `MultiDiscrete`, images
scaled to [0, 1], floats elsewhere. Unlike it, `start` of a discrete space is honoured and an index out of range is an
error.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from imitation_lab.data.spaces import width
from imitation_lab.data.types import DictObs
from imitation_lab.util.util import safe_to_tensor

_FLOAT32 = np.dtype(np.float32)


def flat_size(space: spaces.Space) -> int:
    """Number of features that a flattened, encoded element of `space` has.

    Raises:
        ValueError: if the space is not supported.
    """
    try:
        return width(space)
    except ValueError as error:
        raise ValueError(
            f"Spaces of type {type(space).__name__} are not supported by reward networks: {error} Override "
            "`preprocess` in your own RewardNet, or wrap the environment."
        ) from None


def join(parts: Sequence[Any]) -> Any:
    """Arrays or tensors `(batch, ...)` side by side."""
    return th.cat(parts, 1) if isinstance(parts[0], th.Tensor) else np.concatenate(parts, 1)  # type: ignore[arg-type]


def flatten(encoded: Any) -> Any:
    """Joins an encoded observation into shape `(batch, flat_size)`; the keys of a Dict in the space's order."""
    if isinstance(encoded, dict):
        return join([flatten(value) for value in encoded.values()])
    return encoded if encoded.ndim == 2 else encoded.reshape(len(encoded), math.prod(encoded.shape[1:]))


def make_encoder(space: spaces.Space, normalize_images: bool) -> "Encoder":
    """Builds the encoder of `space`."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return _OneHot(space)
    if isinstance(space, spaces.Dict):
        return _Keys(space, normalize_images)
    flat_size(space)  # refuses what is not supported
    return _Floats(space, normalize_images)


class NotAtHand(Exception):  # noqa: N818 - no error: it tells the caller to take the usual way
    """Something is not in host memory as NumPy could read it."""


class Encoder:
    """Callable from an array or tensor `(batch, *shape)` to a tensor; `name` is for error texts."""

    def __init__(self, space: spaces.Space):
        self.space = space
        self.shape = space.shape

    def __call__(self, x: Any, device: th.device, dtype: th.dtype, name: str) -> Any:
        raise NotImplementedError

    def array(self, x: Any, name: str) -> Any:
        """The same encoding, of an array to a float32 array.

        Raises:
            NotAtHand: if `x` is a tensor.
        """
        raise NotImplementedError

    def _misfit(self, x: Any, name: str) -> ValueError:
        return ValueError(
            f"{name} of shape {tuple(x.shape)} does not fit {self.space}: expected (batch, *{self.shape}), the batch "
            "axis first. For a single transition add it with x[None]."
        )


def to_float(x: Any, device: th.device, dtype: th.dtype) -> th.Tensor:
    """Array or tensor to a floating-point tensor."""
    if not isinstance(x, th.Tensor):
        x = safe_to_tensor(np.asarray(x, np.float64 if dtype is th.float64 else np.float32))
    return x if x.dtype is dtype and x.device == device else x.to(device, dtype)


class _Floats(Encoder):
    """`Box` and `MultiBinary`."""

    def __init__(self, space: spaces.Space, normalize_images: bool):
        super().__init__(space)
        self.is_image = normalize_images and is_image_space(space)

    def __call__(self, x: Any, device: th.device, dtype: th.dtype, name: str) -> th.Tensor:
        if self.is_image:  # bytes travel to the device, not floats
            tensor = safe_to_tensor(x if isinstance(x, th.Tensor) else np.asarray(x)).to(device).to(dtype) / 255
        else:
            tensor = to_float(x, device, dtype)
        if tensor.ndim == 0 or tensor.shape[1:] != self.shape:
            raise self._misfit(tensor, name)
        return tensor

    def array(self, x: Any, name: str) -> np.ndarray:
        if type(x) is not np.ndarray or x.dtype is not _FLOAT32:
            if isinstance(x, th.Tensor):
                raise NotAtHand
            x = np.asarray(x, np.float32)
        if x.shape[1:] != self.shape or x.ndim == 0:
            raise self._misfit(x, name)
        return x / np.float32(255) if self.is_image else x


class _OneHot(Encoder):
    """`Discrete` and `MultiDiscrete`: a comparison of each index with the values it can take."""

    def __init__(self, space: spaces.Discrete | spaces.MultiDiscrete):
        super().__init__(space)
        if isinstance(space, spaces.Discrete):
            counts, starts = np.array([space.n]), np.array([space.start])
        else:
            counts, starts = space.nvec.ravel(), space.start.ravel()
        self.count = len(counts)
        # Which entry of the element each output column compares, and with what.
        self.entry = np.repeat(np.arange(self.count), counts) if self.count > 1 else None
        self.values = np.concatenate([start + np.arange(n) for n, start in zip(counts, starts, strict=True)])

    def __call__(self, x: Any, device: th.device, dtype: th.dtype, name: str) -> th.Tensor:
        if isinstance(x, th.Tensor):
            self._check(x, name)
            flat = x.to(device).reshape(-1, self.count)
            if self.entry is not None:
                flat = flat[:, th.from_numpy(self.entry).to(device)]
            return (flat == th.from_numpy(self.values).to(device)).to(dtype)
        return to_float(self.array(x, name), device, dtype)

    def array(self, x: Any, name: str) -> np.ndarray:
        if isinstance(x, th.Tensor):
            raise NotAtHand
        x = np.asarray(x)
        self._check(x, name)
        flat = x.reshape(-1, self.count)
        if self.entry is not None:
            flat = flat[:, self.entry]
        hot = flat == self.values
        if np.count_nonzero(hot) != hot.shape[0] * self.count:
            raise ValueError(f"{name} holds values outside {self.space}: it ranges from {x.min()} to {x.max()}.")
        return hot.astype(np.float32)

    def _check(self, x: Any, name: str) -> None:
        shape = tuple(x.shape[1:])
        if x.ndim == 0 or not (shape == self.shape or (self.shape == () and shape == (1,))):
            raise self._misfit(x, name)


class _Keys(Encoder):
    """`Dict`: each key by its own space."""

    def __init__(self, space: spaces.Dict, normalize_images: bool):
        super().__init__(space)
        self.encoders = {key: make_encoder(sub, normalize_images) for key, sub in space.spaces.items()}

    def __call__(self, x: Any, device: th.device, dtype: th.dtype, name: str) -> dict[str, th.Tensor]:
        x = self._check(x, name)
        return {key: encode(x[key], device, dtype, f"{name}[{key!r}]") for key, encode in self.encoders.items()}

    def array(self, x: Any, name: str) -> dict[str, Any]:
        x = self._check(x, name)
        return {key: encoder.array(x[key], f"{name}[{key!r}]") for key, encoder in self.encoders.items()}

    def _check(self, x: Any, name: str) -> Mapping[str, Any]:
        if isinstance(x, DictObs):
            x = x.unwrap()
        if not isinstance(x, Mapping) or x.keys() != self.encoders.keys():
            given = f"the keys {sorted(x)}" if isinstance(x, Mapping) else f"a {type(x).__name__}"
            raise ValueError(f"{name} is {given}; expected a mapping with the keys {sorted(self.encoders)}.")
        return x


def batch_size(encoded: Any) -> int:
    """Length of the leading axis; of any key in a mapping."""
    while isinstance(encoded, dict):
        encoded = next(iter(encoded.values()))
    return encoded.shape[0]
