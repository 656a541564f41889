"""Ring buffers of arrays: the newest samples up to a capacity, stored and drawn by array operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data import types
from imitation_lab.util import tree

__all__ = ["Buffer", "ReplayBuffer", "num_samples"]

Shape = tuple[int, ...]
_FIELDS = ("obs", "acts", "infos", "next_obs", "dones")


def num_samples(data: Mapping[Any, np.ndarray]) -> int:
    """The common length of the arrays.

    Raises:
        ValueError: if there are no arrays or their lengths differ.
    """
    lengths = {key: len(array) for key, array in data.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"The arrays have lengths {lengths}, expected at least one array and all of one length.")
    return next(iter(lengths.values()))


class Buffer:
    """A ring buffer of named arrays.

    Args:
        capacity: the number of samples kept; older ones are overwritten.
        sample_shapes: name to the shape of one sample.
        dtypes: name to dtype.
        rng: draws the samples; by default a freshly seeded generator.

    Raises:
        ValueError: if the capacity is below 1 or the names differ.
    """

    def __init__(
        self,
        capacity: int,
        sample_shapes: Mapping[str, Shape],
        dtypes: Mapping[str, Any],
        *,
        rng: np.random.Generator | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}, expected at least 1.")
        if sample_shapes.keys() != dtypes.keys():
            raise ValueError(
                f"sample_shapes has the names {sorted(sample_shapes)} and dtypes {sorted(dtypes)}, expected the same."
            )
        self.capacity = capacity
        self.sample_shapes = {name: tuple(shape) for name, shape in sample_shapes.items()}
        self._rng = np.random.default_rng() if rng is None else rng
        self._arrays = {name: np.zeros((capacity, *shape), dtypes[name]) for name, shape in self.sample_shapes.items()}
        self._n = 0
        self._next = 0

    @classmethod
    def from_data(
        cls,
        data: Mapping[str, np.ndarray],
        capacity: int | None = None,
        truncate_ok: bool = False,
        *,
        rng: np.random.Generator | None = None,
    ) -> Buffer:
        """A buffer that holds `data`, of its shapes and dtypes.

        Args:
            data: name to array `(n, *sample_shape)`.
            capacity: by default n.
            truncate_ok: see `store`.
            rng: see the class.
        """
        n = num_samples(data)
        shapes = {name: array.shape[1:] for name, array in data.items()}
        dtypes = {name: array.dtype for name, array in data.items()}
        buffer = cls(n if capacity is None else capacity, shapes, dtypes, rng=rng)
        buffer.store(data, truncate_ok)
        return buffer

    def store(self, data: Mapping[str, np.ndarray], truncate_ok: bool = False) -> None:
        """Adds samples, in place of the oldest ones once the buffer is full.

        Args:
            data: name to array `(n, *sample_shape)`, for every name.
            truncate_ok: whether of more than `capacity` samples the last ones are kept, rather than an error raised.

        Raises:
            ValueError: if the data are empty, too many, or have other names or shapes; nothing is stored then.
        """
        if data.keys() != self._arrays.keys():
            raise ValueError(f"The data have the names {sorted(data)}, expected {sorted(self._arrays)}.")
        n = num_samples(data)
        if n == 0:
            raise ValueError("The data are empty, expected at least one sample.")
        for name, shape in self.sample_shapes.items():
            if data[name].shape[1:] != shape:
                raise ValueError(f"{name} has samples of shape {data[name].shape[1:]}, expected {shape}.")
        if n > self.capacity and not truncate_ok:
            raise ValueError(
                f"Got {n} samples for a capacity of {self.capacity}: pass truncate_ok=True to keep the last ones."
            )
        skipped = max(0, n - self.capacity)
        kept = n - skipped
        until_end = min(kept, self.capacity - self._next)
        for name, array in self._arrays.items():
            array[self._next : self._next + until_end] = data[name][skipped : skipped + until_end]
            array[: kept - until_end] = data[name][skipped + until_end :]
        self._next = (self._next + kept) % self.capacity
        self._n = min(self._n + kept, self.capacity)

    def sample(self, n_samples: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Draws samples uniformly with replacement.

        Args:
            n_samples: how many.
            rng: by default the buffer's own generator.

        Returns:
            Name to array `(n_samples, *sample_shape)`.

        Raises:
            ValueError: if the buffer is empty.
        """
        if self._n == 0:
            raise ValueError("The buffer is empty: store samples before drawing some.")
        rows = (self._rng if rng is None else rng).integers(self._n, size=n_samples)
        return {k: array.take(rows, 0) if array.ndim > 1 else array[rows] for k, array in self._arrays.items()}

    def size(self) -> int:
        """The number of samples held."""
        return self._n


class ReplayBuffer:
    """A ring buffer of `Transitions`; observations may be dictionaries.

    Args:
        capacity: the number of transitions kept.
        venv: gives the shapes and dtypes by its spaces; or else all of:
        obs_shape: shape of one observation; for dictionary observations a dict of shapes.
        act_shape: shape of one action.
        obs_dtype: dtype of observations; for dictionary observations a dict of dtypes.
        act_dtype: dtype of actions.
        rng: draws the samples; by default a freshly seeded generator.

    Raises:
        ValueError: if both or neither of `venv` and the shapes and dtypes are given.
    """

    def __init__(
        self,
        capacity: int,
        venv: VecEnv | None = None,
        *,
        obs_shape: Shape | Mapping[str, Shape] | None = None,
        act_shape: Shape | None = None,
        obs_dtype: Any = None,
        act_dtype: Any = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        given = {"obs_shape": obs_shape, "act_shape": act_shape, "obs_dtype": obs_dtype, "act_dtype": act_dtype}
        names = [name for name, value in given.items() if value is not None]
        if names and venv is not None:
            raise ValueError(f"Got venv and {', '.join(names)}, expected one or the other: venv's spaces say it all.")
        if venv is not None:
            obs_shape, obs_dtype = (_of(venv.observation_space, what) for what in ("shape", "dtype"))
            act_shape, act_dtype = (_of(venv.action_space, what) for what in ("shape", "dtype"))
        elif len(names) < len(given):
            missing = ", ".join(sorted(given.keys() - set(names)))
            raise ValueError(f"Got no {missing}, expected venv, or all of {', '.join(given)}.")
        self.capacity = capacity
        shapes = _named({"obs": obs_shape, "next_obs": obs_shape, "acts": act_shape, "dones": (), "infos": ()})
        dtypes = _named({"obs": obs_dtype, "next_obs": obs_dtype, "acts": act_dtype, "dones": bool, "infos": object})
        self._buffer = Buffer(capacity, shapes, dtypes, rng=rng)

    @classmethod
    def from_data(
        cls,
        transitions: types.Transitions,
        capacity: int | None = None,
        truncate_ok: bool = False,
        *,
        rng: np.random.Generator | None = None,
    ) -> ReplayBuffer:
        """A buffer that holds `transitions`, by default with just enough capacity; `truncate_ok` as in `store`."""
        buffer = cls.__new__(cls)
        buffer._buffer = Buffer.from_data(_arrays(transitions), capacity, truncate_ok, rng=rng)
        buffer.capacity = buffer._buffer.capacity
        return buffer

    def sample(self, n_samples: int, rng: np.random.Generator | None = None) -> types.Transitions:
        """Draws transitions uniformly with replacement, by `rng` or the buffer's own generator."""
        drawn: dict[str, Any] = self._buffer.sample(n_samples, rng)
        if "obs" not in drawn:
            drawn.update((name, types.DictObs(tree.unnamed(name, drawn))) for name in ("obs", "next_obs"))
        return types.Transitions._of_checked({name: drawn[name] for name in _FIELDS})

    def store(self, transitions: types.Transitions, truncate_ok: bool = True) -> None:
        """Adds transitions, in place of the oldest ones; see `Buffer.store`."""
        self._buffer.store(_arrays(transitions), truncate_ok)

    def size(self) -> int:
        """The number of transitions held."""
        return self._buffer.size()


def _of(space: Any, what: str) -> Any:
    """Shape or dtype of each array in a space's elements."""
    found = tree.map(lambda part: getattr(part, what), space)
    if any(part is None for part in tree.leaves(found)):
        raise ValueError(f"The space {space} has no single {what}, expected arrays or a flat Dict of them.")
    return found


def _arrays(transitions: types.Transitions) -> dict[str, np.ndarray]:
    return _named({name: getattr(transitions, name) for name in _FIELDS})


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part for name, value in fields.items() for key, part in tree.named(name, value).items()}
