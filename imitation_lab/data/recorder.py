"""Recording of vectorized environment steps, and cutting episodes out of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from imitation_lab.data import types

__all__ = ["StepRecorder", "last_observation", "check_observation", "as_vec_env", "RolloutInfoWrapper"]


_ACTS, _REWS = 0, 1  # keys of columns, beside the names of observations


class StepRecorder:
    """Holds the running episodes of `n_envs` environments and cuts them into trajectories.

    A step costs one array assignment per field, an episode one copy per field. Memory is bounded by the longest running
    episode times `n_envs`.
    """

    def __init__(self, n_envs: int, capacity: int = 64) -> None:
        self._capacity = capacity
        self._t = 0
        self._starts = np.zeros(n_envs, dtype=np.int64)
        self._recording = np.ones(n_envs, dtype=bool)
        self._columns: dict[Any, np.ndarray] = {}  # (time, n_envs, *shape) each; None is the key of plain observations
        self._infos: list[Sequence[dict[str, Any]]] = []

    def length(self, env: int) -> int:
        """Steps recorded of environment `env` since its last cut."""
        return self._t - int(self._starts[env]) if self._recording[env] else 0

    def stop(self, envs: Sequence[int]) -> None:
        """Ignores these environments from now on."""
        self._recording[envs] = False

    def add(self, obs: Any, acts: np.ndarray, rews: np.ndarray, infos: Sequence[dict[str, Any]]) -> None:
        """Records a step: the observation `(n_envs, ...)` acted on (or a dict of such), action, reward and infos."""
        if self._t == self._capacity:
            self._make_room()
        t, columns = self._t, self._columns
        rows: dict[Any, np.ndarray] = {None: obs} if isinstance(obs, np.ndarray) else dict(obs)
        rows[_ACTS], rows[_REWS] = acts, rews
        for key, row in rows.items():
            array = columns.get(key)
            if array is None:
                array = columns[key] = np.empty((self._capacity, *row.shape), row.dtype)
            elif array.dtype != row.dtype:  # widened to hold both
                array = columns[key] = array.astype(np.result_type(array, row), copy=False)
            array[t] = row
        self._infos.append(infos)
        self._t = t + 1

    def cut(self, env: int, last_obs: Any, *, terminal: bool) -> types.TrajectoryWithRew:
        """The steps of environment `env` since its last cut as a trajectory that ends in `last_obs`."""
        begin, end = int(self._starts[env]), self._t
        self._starts[env] = end
        parts = {key: column[begin:end, env] for key, column in self._columns.items()}
        acts, rews = parts.pop(_ACTS).copy(), parts.pop(_REWS).copy()
        for key, rows in parts.items():
            parts[key] = part = np.empty((len(rows) + 1, *rows.shape[1:]), rows.dtype)
            part[:-1] = rows
            part[-1] = last_obs if key is None else last_obs[key]
        infos = [infos[env] for infos in self._infos[begin:end]]
        obs = parts[None] if None in parts else types.DictObs(parts)
        return types.TrajectoryWithRew(obs, acts, infos, terminal, rews)

    def _make_room(self) -> None:
        """Forgets the steps that belong to no running episode; doubles the arrays if that frees less than half."""
        begin = int(self._starts[self._recording].min(initial=self._t))
        if 2 * begin < self._capacity:
            self._capacity *= 2
        for key, array in self._columns.items():
            kept = array[begin : self._t]
            if len(array) != self._capacity:
                self._columns[key] = array = np.empty((self._capacity, *array.shape[1:]), array.dtype)
            array[: len(kept)] = kept
        del self._infos[:begin]
        self._starts -= begin
        self._t -= begin


def last_observation(env: int, infos: Sequence[Mapping[str, Any]]) -> Any:
    """The observation that ended the episode of environment `env`, which the VecEnv has already reset.

    Raises:
        ValueError: if the VecEnv did not keep it.
    """
    try:
        return infos[env]["terminal_observation"]
    except KeyError:
        raise ValueError(
            f"Environment {env} is done but its info has no 'terminal_observation', only {sorted(infos[env])}. A "
            "VecEnv must put the episode's last observation there before it resets, as Stable-Baselines3's do."
        ) from None


def check_observation(obs: Any) -> None:
    """Raises a TypeError unless `obs` is an array or a dict of arrays."""
    for value in obs.values() if isinstance(obs, Mapping) else (obs,):
        if not isinstance(value, np.ndarray):
            raise TypeError(
                f"The environment's observations contain a {type(value).__name__}, expected an array or a flat dict of "
                "arrays: flatten Tuple and nested Dict spaces with gymnasium.wrappers.FlattenObservation."
            )


def as_vec_env(env: VecEnv | gym.Env, *, record: bool = False) -> VecEnv:
    """A single environment as a vectorized one of one; a vectorized one as it is.

    Args:
        env: the environment.
        record: whether a single one is wrapped in `RolloutInfoWrapper`, unless it is already.

    Raises:
        TypeError: if it is neither; Gymnasium's own vector environments reset in other ways.
    """
    if isinstance(env, VecEnv):
        return env
    single = _single(env)
    if record and not is_wrapped(single, RolloutInfoWrapper):
        single = RolloutInfoWrapper(single)
    return DummyVecEnv([lambda: single])


def _single(env: Any) -> gym.Env:
    if isinstance(env, gym.vector.VectorEnv):
        raise TypeError(
            f"env is a {type(env).__name__} of Gymnasium's, which resets in a way of its own, expected an environment "
            "or a vectorized one of Stable-Baselines3: make it by util.util.make_vec_env(env_id, rng=rng) "
            "or by DummyVecEnv([make_env] * n)."
        )
    if not isinstance(env, gym.Env):
        raise TypeError(
            f"env is a {type(env).__name__}, expected an environment or a vectorized one of Stable-Baselines3."
        )
    return env


class RolloutInfoWrapper(gym.Wrapper):
    """Puts the whole episode's observations and rewards, as seen here, into the last step's info.

    Wrappers above may then change what the policy sees: `rollout.unwrap_traj` still finds the original under
    `info["rollout"]`, `{"obs": (T + 1, *obs_shape), "rews": (T,)}`.
    """

    def __init__(self, env: gym.Env) -> None:
        super().__init__(_single(env))
        self._obs: list[Any] = []
        self._rews: list[float] = []

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Resets the environment and begins a new record."""
        obs, info = self.env.reset(**kwargs)
        self._obs = [_copied(obs)]
        self._rews = []
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment; the episode's last info receives the record.

        Raises:
            RuntimeError: if the info has a record already: the environment is wrapped twice.
        """
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._obs.append(_copied(obs))
        self._rews.append(float(reward))
        if terminated or truncated:
            if "rollout" in info:
                raise RuntimeError("info['rollout'] is there already: use one RolloutInfoWrapper, not two.")
            info["rollout"] = {"obs": _stacked(self._obs), "rews": np.asarray(self._rews)}
        return obs, reward, terminated, truncated, info


def _copied(obs: Any) -> Any:
    """A copy, since an environment may write its next observation into the same array."""
    if type(obs) is np.ndarray:
        return obs.copy()
    return {key: np.array(part) for key, part in obs.items()} if isinstance(obs, Mapping) else np.array(obs)


def _stacked(rows: list[Any]) -> Any:
    if isinstance(rows[0], dict):
        return types.DictObs({key: np.array([row[key] for row in rows]) for key in rows[0]})
    return np.array(rows)  # faster than np.stack
