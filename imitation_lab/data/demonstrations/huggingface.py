"""Trajectories as data sets of the Hugging Face package `datasets`, one row per episode.

Columns are those that the field's library writes: obs `(T + 1, *obs_shape)` (a struct of such for dictionary
observations), acts `(T, *act_shape)`, infos (T texts of JSON), terminal, and rews `(T,)` where there are rewards.
Dtypes are kept both ways. Infos are read as data: text that jsonpickle would run is not run, see `_jsonpickle`.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imitation_lab.data import _jsonpickle, types
from imitation_lab.data.demonstrations.validation import AnyEnv, fit
from imitation_lab.data.stored import LazyInfos, LazyTrajectories, trajectory
from imitation_lab.util import checks, codec
from imitation_lab.util.artifacts import ArtifactError

if TYPE_CHECKING:
    import datasets

__all__ = ["TrajectoryDatasetSequence", "from_huggingface", "trajectories_to_dataset", "trajectories_to_dict"]

_EMPTY = "{}"
_PLAIN = ("infos", "terminal")


class TrajectoryDatasetSequence(LazyTrajectories):
    """The episodes of a data set as a lazy sequence of trajectories, read when they are looked at.

        dataset = datasets.load_dataset("HumanCompatibleAI/ppo-seals-CartPole-v0", split="train")
        trajectories = TrajectoryDatasetSequence(dataset)

    Args:
        dataset: a `datasets.Dataset` with the columns obs, acts, terminal, and perhaps infos and rews.

    Raises:
        TypeError: if it is no `datasets.Dataset`.
        ValueError: if columns are missing.
    """

    def __init__(self, dataset: datasets.Dataset) -> None:
        if not isinstance(dataset, checks.optional("datasets", "hub", "Hugging Face data sets need").Dataset):
            hint = ": choose a split, as by dataset['train']" if isinstance(dataset, dict) else ""
            raise TypeError(f"dataset is a {type(dataset).__name__}, expected a datasets.Dataset{hint}.")
        missing = {"obs", "acts", "terminal"} - set(dataset.column_names)
        if missing:
            raise ValueError(
                f"The data set has the columns {dataset.column_names} and lacks {sorted(missing)}: rename them by "
                "dataset.rename_columns({'observations': 'obs', 'actions': 'acts'}), say; one row is one episode."
            )
        self._dataset = dataset
        self._table = dataset.with_format("arrow")
        super().__init__(range(len(dataset)))

    @property
    def dataset(self) -> datasets.Dataset:
        """The data set underneath; of a slice, its rows alone."""
        whole = range(len(self._dataset))
        return self._dataset if self._episodes == whole else self._dataset.select(self._episodes)

    def _trajectory(self, i: int) -> types.Trajectory:
        row = self._table[i : i + 1]
        cells = {name: row.column(name).combine_chunks() for name in row.column_names}
        texts: Any = (cells["infos"][0].as_py() if "infos" in cells else None) or ()
        empty = all(text == _EMPTY for text in texts)
        infos = None if empty else LazyInfos(len(texts), functools.partial(_decode, i, texts))
        obs, acts, rews = (_value(i, name, cells[name]) if name in cells else None for name in ("obs", "acts", "rews"))
        try:
            return trajectory(types.maybe_wrap_in_dictobs(obs), acts, infos, cells["terminal"][0].as_py(), rews)
        except ValueError as error:
            raise ValueError(f"Row {i} of the data set: {error}") from None

    def __repr__(self) -> str:
        return f"<{len(self)} trajectories of a data set>"


def trajectories_to_dict(trajectories: Sequence[types.Trajectory]) -> dict[str, list[Any]]:
    """Columns as the module's text describes them, for `datasets.Dataset.from_dict`.

    Raises:
        TypeError: if an info cannot be expressed as data.
        ValueError: if there are no trajectories, or some have rewards and others not.
    """
    with_rew = types.all_have_rewards(trajectories)
    columns: dict[str, list[Any]] = {
        "obs": [types.maybe_unwrap_dictobs(t.obs) for t in trajectories],
        "acts": [t.acts for t in trajectories],
        "infos": [_texts(t, i) for i, t in enumerate(trajectories)],
        "terminal": [bool(t.terminal) for t in trajectories],
    }
    if with_rew:
        columns["rews"] = [t.rews for t in trajectories]  # type: ignore[attr-defined]
    return columns


def trajectories_to_dataset(
    trajectories: Sequence[types.Trajectory], info: datasets.DatasetInfo | None = None
) -> datasets.Dataset:
    """A data set of the trajectories; `save_to_disk` writes a folder that `data.serialize.load` opens.

        trajectories_to_dataset(trajectories).push_to_hub("me/my-demonstrations")

    Args:
        trajectories: all with rewards, or all without; those of a `TrajectoryDatasetSequence` are its data set.
        info: description, licence and so on.

    Raises:
        ImportError: if `datasets` is not installed.
        TypeError: if an info cannot be expressed as data.
        ValueError: if they do not go together.
    """
    hub = checks.optional("datasets", "hub", "Hugging Face data sets need")
    if isinstance(trajectories, TrajectoryDatasetSequence):
        return trajectories.dataset
    columns = trajectories_to_dict(trajectories)
    features = {name: _feature(name, column) for name, column in columns.items() if name not in _PLAIN}
    features |= {"infos": hub.Sequence(hub.Value("string")), "terminal": hub.Value("bool")}
    info = hub.DatasetInfo() if info is None else info
    info.features = hub.Features({name: features[name] for name in columns})
    return hub.Dataset.from_dict(columns, info=info)


def from_huggingface(
    source: Any, *, split: str = "train", revision: str | None = None, env: AnyEnv | None = None
) -> Sequence[Any]:
    """Opens demonstrations of a Hugging Face data set; its infos are data and never run.

        trajectories = from_huggingface("HumanCompatibleAI/ppo-seals-CartPole-v0")

    Args:
        source: a `datasets.Dataset`, a folder that `save_to_disk` wrote, or the name of a data set on the hub.
        split: which one, where there are several.
        revision: branch, tag or commit on the hub.
        env: fit to its spaces, and raise where `validate` finds something, but for a variable horizon; this reads all.

    Returns:
        A lazy sequence; a list with `env`.

    Raises:
        FileNotFoundError: if there is no such folder or data set, or the hub cannot be reached.
        ImportError: if `datasets` is not installed.
        ValueError: if it does not hold trajectories, or what `validate` finds.
    """
    hub = checks.optional("datasets", "hub", "Hugging Face data sets need")
    if isinstance(source, str | bytes | os.PathLike):
        name = os.fsdecode(source)
        try:
            if os.path.isdir(name):
                source = hub.load_from_disk(name)
            elif name.count("/") == 1 and not name.startswith((".", "/")):
                source = hub.load_dataset(name, split=split, revision=revision)
            else:
                raise FileNotFoundError("there is no such folder")
        except (OSError, ValueError) as error:
            at = "" if revision is None else f" at revision {revision!r}"
            raise FileNotFoundError(
                f"cannot open the data set {name!r}{at}: {error}. Give a folder that save_to_disk wrote, or the name "
                "of a data set on the hub (organization/name) while the hub can be reached."
            ) from error
    if isinstance(source, dict):
        if split not in source:
            raise ValueError(f"There is no split {split!r}, only {sorted(source)}.")
        source = source[split]
    return fit(source if isinstance(source, TrajectoryDatasetSequence) else TrajectoryDatasetSequence(source), env)


def _decode(row: int, texts: list[str]) -> list[dict[str, Any]]:
    infos = []
    for step, text in enumerate(texts):
        try:
            info = _jsonpickle.loads(text)
            info = codec.decode(info) if '"__' in text else info
        except (ValueError, RecursionError):
            info = None
        if not isinstance(info, dict):
            raise ArtifactError(f"The info of step {step} in row {row} of the data set is damaged.")
        infos.append(info)
    return infos


def _texts(trajectory: types.Trajectory, episode: int) -> list[str]:
    if trajectory.infos is None:
        return [_EMPTY] * len(trajectory)
    try:
        return [
            json.dumps(codec.encode(info, where=f"step {step}, info"), allow_nan=False)
            for step, info in enumerate(trajectory.infos)
        ]
    except TypeError as error:
        raise TypeError(
            f"Trajectory {episode}, {error}. Remove that entry, or all infos by dataclasses.replace(t, infos=None)."
        ) from None


def _feature(name: str, episodes: Sequence[Any]) -> Any:
    """The type of a column that holds one field of all episodes."""
    if isinstance(episodes[0], dict):
        return {key: _feature(f"{name}/{key}", [episode[key] for episode in episodes]) for key in episodes[0]}
    arrays = [np.asarray(episode) for episode in episodes]
    for i, array in enumerate(arrays):
        if array.dtype.kind not in "biuf" or array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"Trajectory {i}: {name} has shape {array.shape[1:]} of {array.dtype} per step, expected numbers of "
                f"shape {arrays[0].shape[1:]} like the first."
            )
        if 0 in array.shape[1:-1]:
            raise ValueError(
                f"Trajectory {i}: {name} has shape {array.shape[1:]} per step, no numbers but dimensions after them, "
                "which lists cannot show: reshape it."
            )
    hub = checks.optional("datasets", "hub", "Hugging Face data sets need")
    feature = hub.Value(str(types.common_dtype(name, [array.dtype for array in arrays], arrays)))
    for _ in range(arrays[0].ndim):
        feature = hub.Sequence(feature)
    return feature


def _value(row: int, name: str, column: Any) -> Any:
    """A NumPy array, or a dict of them, of one cell."""
    arrow = importlib.import_module("pyarrow")
    array = column.storage if isinstance(column, arrow.ExtensionArray) else column
    if arrow.types.is_struct(array.type):
        fields = zip(array.type, array.flatten(), strict=True)
        return {field.name: _value(row, f"{name}/{field.name}", part) for field, part in fields}
    shape: list[int] = []
    while isinstance(array, arrow.ListArray | arrow.LargeListArray | arrow.FixedSizeListArray):
        lengths = np.unique(array.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1 or array.null_count:
            raise ArtifactError(f"Row {row} of the data set: {name} is ragged, its steps differ in shape.")
        shape.append(int(lengths[0]) if len(lengths) else getattr(array.type, "list_size", 0))
        array = array.flatten()
    values = array.to_numpy(zero_copy_only=False)
    if array.null_count or values.dtype.kind not in "biuf":
        raise ArtifactError(f"Row {row} of the data set: {name} holds {array.type} values, or gaps, expected numbers.")
    return values.reshape(shape)
