"""Recording of vectorized environment steps, and cutting episodes out of the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from imitation_lab.data import types

__all__ = ["StepRecorder", "last_observation", "check_observation", "as_vec_env", "RolloutInfoWrapper"]


class _Column:
    """A growing array `(time, n_envs, *shape)`."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.array: np.ndarray | None = None

    def write(self, t: int, row: np.ndarray) -> None:
        array = self.array
        if array is None or array.dtype != row.dtype:
            array = self._allocate(row)
        array[t] = row

    def _allocate(self, row: np.ndarray) -> np.ndarray:
        """Makes the array at the first row; later, if a row brings another dtype, widens it to hold both."""
        if self.array is None:
            self.array = np.empty((self._capacity, *row.shape), row.dtype)
        else:
            self.array = self.array.astype(np.result_type(self.array, row), copy=False)
        return self.array

    def make_room(self, begin: int, end: int, capacity: int) -> None:
        """Keeps rows `begin` to `end`, moved to the front of an array of `capacity` rows."""
        self._capacity = capacity
        if self.array is None:
            return
        kept = self.array[begin:end]
        if capacity != len(self.array):
            self.array = np.empty((capacity, *self.array.shape[1:]), self.array.dtype)
        self.array[: end - begin] = kept


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
        self._obs: dict[str | None, _Column] = {}
        self._acts = _Column(capacity)
        self._rews = _Column(capacity)
        self._infos: list[Sequence[dict[str, Any]]] = []

    def length(self, env: int) -> int:
        """Steps recorded of environment `env` since its last cut."""
        return self._t - int(self._starts[env]) if self._recording[env] else 0

    def stop(self, env: int) -> None:
        """Ignores environment `env` from now on."""
        self._recording[env] = False

    def add(self, obs: Any, acts: np.ndarray, rews: np.ndarray, infos: Sequence[dict[str, Any]]) -> None:
        """Records a step: the observation `(n_envs, ...)` acted on (or a dict of such), action, reward and infos."""
        if self._t == self._capacity:
            self._make_room()
        t = self._t
        if not self._obs:
            keys = obs if isinstance(obs, Mapping) else (None,)
            self._obs = {key: _Column(self._capacity) for key in keys}
        for key, column in self._obs.items():
            column.write(t, obs if key is None else obs[key])
        self._acts.write(t, acts)
        self._rews.write(t, rews)
        self._infos.append(infos)
        self._t = t + 1

    def cut(self, env: int, last_obs: Any, *, terminal: bool) -> types.TrajectoryWithRew:
        """The steps of environment `env` since its last cut as a trajectory that ends in `last_obs`."""
        begin, end = int(self._starts[env]), self._t
        self._starts[env] = end
        parts: dict[str | None, np.ndarray] = {}
        for key, column in self._obs.items():
            assert column.array is not None
            part = np.empty((end - begin + 1, *column.array.shape[2:]), column.array.dtype)
            part[:-1] = column.array[begin:end, env]
            part[-1] = last_obs if key is None else last_obs[key]
            parts[key] = part
        assert self._acts.array is not None
        assert self._rews.array is not None
        return types.TrajectoryWithRew(
            obs=parts[None] if None in parts else types.DictObs(parts),  # type: ignore[arg-type]
            acts=self._acts.array[begin:end, env].copy(),
            infos=[infos[env] for infos in self._infos[begin:end]],
            terminal=terminal,
            rews=self._rews.array[begin:end, env].copy(),
        )

    def _make_room(self) -> None:
        """Forgets the steps that belong to no running episode; doubles the arrays if that frees less than half."""
        begin = int(self._starts[self._recording].min(initial=self._t))
        capacity = self._capacity if 2 * begin >= self._capacity else 2 * self._capacity
        for column in (*self._obs.values(), self._acts, self._rews):
            column.make_room(begin, self._t, capacity)
        del self._infos[:begin]
        self._starts -= begin
        self._t -= begin
        self._capacity = capacity


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
    single = inner = _single(env)
    while isinstance(inner, gym.Wrapper) and not isinstance(inner, RolloutInfoWrapper):
        inner = inner.env
    if record and not isinstance(inner, RolloutInfoWrapper):
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
