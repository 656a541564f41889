"""Demonstrations from and to Minari, the data set format of the Farama Foundation."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from imitation_lab.data import types
from imitation_lab.data.demonstrations.validation import AnyEnv, fit
from imitation_lab.data.spaces import ARRAYS
from imitation_lab.data.stored import LazyTrajectories, trajectory
from imitation_lab.util import checks

__all__ = ["MinariTrajectories", "from_minari", "to_minari"]

if TYPE_CHECKING:
    import minari


class MinariTrajectories(LazyTrajectories):
    """The episodes of a Minari data set as a lazy sequence of `TrajectoryWithRew`, read when they are looked at.

    Args:
        dataset: the data set; its environment is not made.

    Raises:
        ValueError: if its spaces are not supported: observations are arrays or a flat `Dict` of arrays, actions arrays.
    """

    def __init__(self, dataset: minari.MinariDataset) -> None:
        _check_spaces(dataset.observation_space, dataset.action_space)
        self._dataset = dataset
        super().__init__(dataset.episode_indices)

    @property
    def dataset(self) -> minari.MinariDataset:
        """The data set underneath."""
        return self._dataset

    def _trajectory(self, episode: int) -> types.Trajectory:
        return _trajectory(next(iter(self._dataset.iterate_episodes([episode]))))

    def __iter__(self) -> Iterator[types.Trajectory]:
        return map(_trajectory, self._dataset.iterate_episodes(self._episodes))  # opens the file once

    def __repr__(self) -> str:
        return f"<{len(self)} trajectories of the Minari data set {self._dataset.id!r}>"


def from_minari(
    dataset: minari.MinariDataset | types.AnyPath, *, download: bool = False, env: AnyEnv | None = None
) -> Sequence[Any]:
    """Opens demonstrations of a Minari data set; the environment it was recorded in need not be installed.

        trajectories = from_minari("mujoco/hopper/expert-v0", download=True)

    Args:
        dataset: a `MinariDataset`, the id of one on this computer, or its folder.
        download: whether to fetch an id that is not on this computer.
        env: fit to its spaces, and raise where `validate` finds something, but for a variable horizon; this reads all.

    Returns:
        A lazy sequence of `TrajectoryWithRew`, `terminal` where an episode terminated or was truncated; with `env` a
        list.

    Raises:
        FileNotFoundError: if there is no such data set.
        ImportError: if `minari` is not installed.
        ValueError: if its spaces are not supported, an episode goes on after its end, or what `validate` finds.
    """
    package = checks.optional("minari", "minari", "Minari data sets need")
    if isinstance(dataset, str | bytes | os.PathLike):
        name = os.fsdecode(dataset)
        folder = pathlib.Path(name)
        try:
            own = [path for path in (folder / "data", folder) if (path / "metadata.json").is_file()]
            dataset = package.MinariDataset(own[0]) if own else package.load_dataset(name, download=download)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"cannot open the Minari data set {name!r}: {error}. On this computer are "
                f"{sorted(package.list_local_datasets())}; download=True fetches others."
            ) from error
    return fit(MinariTrajectories(dataset), env)


def to_minari(
    trajectories: Sequence[types.Trajectory],
    dataset_id: str,
    *,
    env: gym.Env | str | AnyEnv,
    infos: bool = True,
    overwrite: bool = False,
    **metadata: Any,
) -> minari.MinariDataset:
    """Writes trajectories as a Minari data set on this computer, without loss: images are not made JPEG.

        to_minari(trajectories, "cartpole/expert-v0", env="CartPole-v1", author="me")

    An episode that ended is marked truncated where its last info says `TimeLimit.truncated`, else terminated. Rewards
    that are not there are written as NaN.

    Args:
        trajectories: the episodes.
        dataset_id: such as "cartpole/expert-v0".
        env: the environment or its id, which the data set then names; or a pair of observation and action space, and
            the data set names none.
        infos: whether to store infos, which must have the same entries at each step of an episode.
        overwrite: whether to replace a data set of that name.
        **metadata: for `minari.create_dataset_from_buffers`, such as `author`, `algorithm_name`, `description`.

    Raises:
        FileExistsError: if there is one of that name.
        ImportError: if `minari` is not installed.
        ValueError: if the spaces are not supported, the trajectories do not fit them, or infos differ in their entries.
    """
    package = checks.optional("minari", "minari", "Minari data sets need")
    if len(trajectories) == 0:
        raise ValueError("Got no trajectories, expected at least one.")
    own = gym.make(env) if isinstance(env, str) else env
    pair = own if isinstance(own, tuple) else (own.observation_space, own.action_space)
    try:
        _check_spaces(*pair)
        fitted = fit(trajectories, pair)
        buffers = [_buffer(package, i, t, infos) for i, t in enumerate(fitted)]
    finally:
        if isinstance(env, str):
            own.close()  # type: ignore[union-attr]
    if isinstance(env, str | gym.Env):
        metadata = {"env": env, **metadata}
    if dataset_id in package.list_local_datasets():
        if not overwrite:
            raise FileExistsError(
                f"There is a Minari data set {dataset_id!r} already: pass overwrite=True to replace it."
            )
        package.delete_dataset(dataset_id)
    try:
        with warnings.catch_warnings():  # about what `metadata` does not say
            warnings.filterwarnings("ignore", message=r"`\w+` is set to None|env_spec is None", category=UserWarning)
            return package.create_dataset_from_buffers(
                dataset_id, buffers, observation_space=pair[0], action_space=pair[1], jpeg_encoding=False, **metadata
            )
    except BaseException:
        with contextlib.suppress(Exception):  # no half-written data set stays behind
            shutil.rmtree(importlib.import_module("minari.storage.datasets_root_dir").get_dataset_path(dataset_id))
        raise


def _trajectory(episode: Any) -> types.Trajectory:
    ended = np.asarray(episode.terminations, bool) | np.asarray(episode.truncations, bool)
    if ended[:-1].any():
        raise ValueError(
            f"Episode {episode.id} ends at step {int(np.argmax(ended))}, but goes on to step {len(ended) - 1}: split "
            "it there."
        )
    obs = types.maybe_wrap_in_dictobs(episode.observations)
    infos = [_at(episode.infos, t + 1) for t in range(len(ended))] if episode.infos else None
    try:
        return trajectory(obs, np.asarray(episode.actions), infos, bool(ended[-1]), episode.rewards)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Episode {episode.id}: {error}") from None


def _at(infos: Mapping[str, Any], t: int) -> dict[str, Any]:
    """The entries of one step; the first step is the reset, which trajectories do not keep."""
    return {key: _at(value, t) if isinstance(value, Mapping) else _text(value[t]) for key, value in infos.items()}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _buffer(package: Any, i: int, trajectory: types.Trajectory, infos: bool) -> Any:
    n = len(trajectory)
    last = trajectory.infos[-1] if trajectory.infos else {}
    truncated = trajectory.terminal and bool(last.get("TimeLimit.truncated", False))
    flags = np.zeros((2, n), bool)
    flags[int(truncated), -1] = trajectory.terminal
    stacked = None
    if infos and trajectory.infos is not None and any(trajectory.infos):
        try:
            stacked = _stack(list(trajectory.infos))
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ValueError(
                f"Trajectory {i}: its infos cannot be written, since their entries differ from step to step or are no "
                f"numbers or text ({error}): pass infos=False to leave infos out."
            ) from None
    return package.data_collector.EpisodeBuffer(
        observations=types.maybe_unwrap_dictobs(trajectory.obs),
        actions=trajectory.acts,
        rewards=getattr(trajectory, "rews", np.full(n, np.nan)),
        terminations=flags[0],
        truncations=flags[1],
        infos=stacked,
    )


def _stack(infos: list[Any]) -> dict[str, Any]:
    """One array per entry, `(T + 1, …)`: the first row stands for the reset."""
    if any(info.keys() != infos[0].keys() for info in infos):
        raise ValueError("entries differ")
    stacked: dict[str, Any] = {}
    for key, first in infos[0].items():
        values = [info[key] for info in infos]
        if isinstance(first, Mapping):
            stacked[key] = _stack(values)
        elif isinstance(first, str):
            stacked[key] = [values[0], *values]
        else:
            array = np.stack([np.asarray(value) for value in values])
            if array.dtype.kind not in "biuf":
                raise ValueError(f"{key!r} holds {array.dtype}")
            stacked[key] = np.concatenate([array[:1], array])
    return stacked


def _check_spaces(observation_space: spaces.Space, action_space: spaces.Space) -> None:
    flat = isinstance(observation_space, spaces.Dict) and all(
        isinstance(part, ARRAYS) for part in observation_space.spaces.values()
    )
    if not (flat or isinstance(observation_space, ARRAYS)) or not isinstance(action_space, ARRAYS):
        raise ValueError(
            f"The spaces are {observation_space} and {action_space}, expected arrays, or for observations a Dict of "
            "arrays: flatten nested spaces first, with gymnasium.wrappers.FlattenObservation when recording."
        )
