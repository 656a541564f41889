"""Labelled pairs: a bounded dataset, and its file."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch as th
from torch.utils.data import Dataset

from imitation_lab.algorithms.preference_comparisons._batch import FragmentBatch
from imitation_lab.data import types
from imitation_lab.data.stored import StoredTrajectories
from imitation_lab.util import artifacts

__all__ = ["PreferenceDataset", "preference_collate_fn"]

KIND = "preferences"
VERSION = 1


class PreferenceDataset(Dataset):
    """Pairs of fragments and their preferences; when it is full the oldest pairs go first.

    An integer index gives `(pair, preference)`, a slice `(pairs, preferences)`. Fragments are copied in, without
    infos, and never change; the tensors for training are built once after each push.

    Args:
        max_size: how many pairs are kept; None is no limit.

    Raises:
        ValueError: if `max_size` is not positive.
    """

    def __init__(self, max_size: int | None = None) -> None:
        if max_size is not None and max_size < 1:
            raise ValueError(f"max_size must be at least 1, or None, got {max_size}.")
        self.max_size = max_size
        self._pairs: deque[types.TrajectoryPair] = deque(maxlen=max_size)
        self._preferences: deque[float] = deque(maxlen=max_size)
        self._tensors: tuple[Any, FragmentBatch, th.Tensor] | None = None

    def push(self, fragments: Sequence[types.TrajectoryPair], preferences: np.ndarray) -> None:
        """Adds pairs.

        Args:
            fragments: pairs of trajectories.
            preferences: `(pairs,)`, 1 where the first fragment is preferred, 0 the second, 0.5 neither.

        Raises:
            ValueError: if their numbers differ, or a preference lies outside [0, 1].
        """
        values = np.asarray(preferences)
        if values.shape != (len(fragments),):
            raise ValueError(
                f"Unexpected preferences shape {values.shape} for {len(fragments)} pairs of fragments, expected "
                f"({len(fragments)},): one preference per pair."
            )
        if values.dtype.kind not in "fiub" or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                "Preferences must be numbers in [0, 1], 1 where the first fragment is preferred, got "
                f"{values.tolist() if len(values) < 10 else values.dtype}."
            )
        self._pairs.extend((_own(first), _own(second)) for first, second in fragments)
        self._preferences.extend(values.astype(np.float32).tolist())
        self._tensors = None

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, key: int) -> tuple[types.TrajectoryPair, float]: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[list[types.TrajectoryPair], np.ndarray]: ...

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return self.pairs[key], self.preferences[key]
        return self._pairs[key], self._preferences[key]

    @property
    def pairs(self) -> list[types.TrajectoryPair]:
        """All pairs, the oldest first."""
        return list(self._pairs)

    @property
    def fragments1(self) -> list[types.Trajectory]:
        """The first fragment of each pair."""
        return [first for first, _ in self._pairs]

    @property
    def fragments2(self) -> list[types.Trajectory]:
        """The second fragment of each pair."""
        return [second for _, second in self._pairs]

    @property
    def preferences(self) -> np.ndarray:
        """float32 `(pairs,)`."""
        return np.array(self._preferences, dtype=np.float32)

    def tensors(self, device: th.device, dtype: th.dtype) -> tuple[FragmentBatch, th.Tensor]:
        """All pairs and their preferences `(pairs,)` on `device`; built anew only after a push.

        Raises:
            ValueError: if the dataset is empty.
        """
        if not self._pairs:
            raise ValueError("The PreferenceDataset is empty: push at least one labelled pair before training.")
        if self._tensors is None or self._tensors[0] != (device, dtype):
            batch = FragmentBatch.of(self.pairs, device, dtype)
            self._tensors = ((device, dtype), batch, th.from_numpy(self.preferences).to(device, dtype))
        return self._tensors[1:]

    def state_dict(self) -> dict[str, np.ndarray]:
        """The pairs and preferences as arrays; empty if there are none."""
        return {**pair_tensors(self.pairs), "preferences": self.preferences} if self._pairs else {}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes over what `state_dict` gave, in place of what there is."""
        self._pairs.clear()
        self._preferences.clear()
        self._tensors = None
        if state:
            fragments = {name: array for name, array in state.items() if name != "preferences"}
            self.push(pairs_of("dataset", fragments), state["preferences"])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tensors": None}

    def save(self, path: types.AnyPath) -> None:
        """Writes the dataset to one file of the native format, atomically.

        Raises:
            ValueError: if it is empty.
            TypeError: if an array cannot be expressed as data.
        """
        write_pairs(path, self.pairs, self.preferences, {"max_size": self.max_size})

    @staticmethod
    def load(path: types.AnyPath) -> PreferenceDataset:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ArtifactError: a ValueError, if the file is damaged, newer than this library, of another kind, or a pickle.
        """
        pairs, preferences, meta = read_pairs(path)
        max_size = meta.get("max_size")
        if not (max_size is None or (type(max_size) is int and max_size >= 1)):
            raise artifacts.ArtifactError(f"cannot read {os.fsdecode(path)!r}: max_size is {max_size!r}")
        dataset = PreferenceDataset(max_size)
        dataset.push(pairs, preferences)
        return dataset


def _own(fragment: types.Trajectory) -> types.Trajectory:
    """A copy without infos: a view would keep the whole episode alive."""
    fields = {
        name: types.map_maybe_dict(np.array, value) if hasattr(value, "shape") else value
        for name, value in types.dataclass_quick_asdict(fragment).items()
    }
    return dataclasses.replace(fragment, **{**fields, "infos": None})


def preference_collate_fn(
    batch: Sequence[tuple[types.TrajectoryPair, float]],
) -> tuple[list[types.TrajectoryPair], np.ndarray]:
    """Collates items of a `PreferenceDataset` for `torch.utils.data.DataLoader`: pairs, and preferences `(batch,)`."""
    pairs, preferences = zip(*batch, strict=True)
    return list(pairs), np.array(preferences, dtype=np.float32)


def pair_tensors(pairs: Sequence[types.TrajectoryPair]) -> dict[str, np.ndarray]:
    """The pairs as the tensors of a trajectories file, without infos; the two of a pair follow each other."""
    if len(pairs) == 0:
        raise ValueError("Got no pairs of fragments, expected at least one to save.")
    return trajectory_tensors([fragment for pair in pairs for fragment in pair])


def trajectory_tensors(fragments: Sequence[types.Trajectory]) -> dict[str, np.ndarray]:
    """Trajectories as the tensors that `data.serialize` documents, without infos."""
    first = fragments[0]
    tensors: dict[str, np.ndarray] = {
        "acts": np.concatenate([f.acts for f in fragments]),
        "lengths": np.fromiter(map(len, fragments), np.int64, len(fragments)),
        "terminal": np.fromiter((f.terminal for f in fragments), bool, len(fragments)),
    }
    if isinstance(first.obs, types.DictObs):
        for key in first.obs.unwrap():
            tensors[f"obs/{key}"] = np.concatenate([f.obs.get(key) for f in fragments])  # type: ignore[union-attr]
    else:
        tensors["obs"] = np.concatenate([f.obs for f in fragments])
    if all(isinstance(f, types.TrajectoryWithRew) for f in fragments):
        tensors["rews"] = np.concatenate([f.rews for f in fragments])  # type: ignore[attr-defined]
    return tensors


def pairs_of(name: str, tensors: Mapping[str, np.ndarray]) -> list[types.TrajectoryPair]:
    """Inverse of `pair_tensors`.

    Raises:
        ArtifactError: if the tensors do not fit together.
    """
    fragments = StoredTrajectories(name, tensors)
    if len(fragments) % 2:
        raise artifacts.ArtifactError(f"cannot read {name!r}: {len(fragments)} fragments make no pairs")
    return [(fragments[i], fragments[i + 1]) for i in range(0, len(fragments), 2)]


def write_pairs(
    path: types.AnyPath, pairs: Sequence[types.TrajectoryPair], preferences: np.ndarray, meta: Mapping[str, Any]
) -> None:
    """Writes a file of kind "preferences": the tensors of a trajectories file, and `preferences` `(pairs,)`."""
    tensors = {**pair_tensors(pairs), "preferences": np.asarray(preferences, dtype=np.float32)}
    artifacts.write(path, kind=KIND, version=VERSION, meta={"pairs": len(pairs), **meta}, tensors=tensors)


def read_pairs(path: types.AnyPath) -> tuple[list[types.TrajectoryPair], np.ndarray, dict[str, Any]]:
    """Reads what `write_pairs` wrote: pairs, preferences, metadata.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it cannot be read as that.
    """
    name = os.fsdecode(path)
    artifact = artifacts.read(path, kind=KIND, version=VERSION)
    tensors = dict(artifact.tensors)
    preferences = tensors.pop("preferences", None)
    pairs = pairs_of(name, tensors)
    if preferences is None or preferences.shape != (len(pairs),) or preferences.dtype != np.float32:
        raise artifacts.ArtifactError(f"cannot read {name!r}: it needs one float32 preference for each pair")
    if not ((preferences >= 0) & (preferences <= 1)).all():
        raise artifacts.ArtifactError(f"cannot read {name!r}: it holds preferences outside [0, 1]")
    return pairs, preferences, artifact.meta
