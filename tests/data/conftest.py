"""An environment whose episodes can be worked out by hand."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import types


class CountingEnv(gym.Env):
    """Episode k lasts `lengths[k]` steps (later ones as the last).

    Observation t is `[number, k, t]`, the reward of step t is 10 k + t.
    """

    action_space = spaces.Discrete(5)

    def __init__(self, number: int, lengths: Iterable[int], dictionary: bool = False) -> None:
        box = spaces.Box(-1000, 1000, (3,), np.float32)
        self.dictionary = dictionary
        self.observation_space = spaces.Dict({"where": box, "time": spaces.Discrete(1000)}) if dictionary else box
        self.number = number
        self.lengths: Iterator[int] = iter(lengths)
        self.episode = -1
        self.length = 1

    def _obs(self) -> Any:
        self._array[:] = [self.number, self.episode, self.t]  # the same array each time, as unkind environments do
        return {"where": self._array, "time": np.int64(self.t)} if self.dictionary else self._array

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._array = np.zeros(3, np.float32)
        self.episode += 1
        self.length = next(self.lengths, self.length)
        self.t = 0
        return self._obs(), {}

    def step(self, action):
        reward = 10.0 * self.episode + self.t
        self.t += 1
        return self._obs(), reward, self.t == self.length, False, {"action": int(action)}


@pytest.fixture
def counting_venv() -> Callable[..., DummyVecEnv]:
    """Makes a vectorized CountingEnv from each environment's list of episode lengths."""

    def make(*lengths: Iterable[int], wrap: Callable = lambda env: env, dictionary: bool = False) -> DummyVecEnv:
        def maker(number: int, own: Iterable[int]) -> Callable[[], gym.Env]:
            return lambda: wrap(CountingEnv(number, own, dictionary))

        return DummyVecEnv([maker(number, own) for number, own in enumerate(lengths)])

    return make


@pytest.fixture
def check_counting() -> Callable[[types.TrajectoryWithRew], tuple[int, int, int]]:
    """Checks a whole episode of CountingEnv; returns environment, episode and length."""

    def check(traj: types.TrajectoryWithRew) -> tuple[int, int, int]:
        obs = traj.obs["where"] if isinstance(traj.obs, types.DictObs) else traj.obs
        number, episode, _ = map(int, obs[0])
        n = len(traj)
        np.testing.assert_array_equal(obs, [[number, episode, t] for t in range(n + 1)])
        if isinstance(traj.obs, types.DictObs):
            np.testing.assert_array_equal(traj.obs["time"], np.arange(n + 1))
        np.testing.assert_array_equal(traj.rews, 10.0 * episode + np.arange(n))
        assert [info["action"] for info in traj.infos] == traj.acts.tolist()
        assert traj.terminal is True
        return number, episode, n

    return check
