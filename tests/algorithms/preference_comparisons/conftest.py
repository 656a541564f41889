"""Small pairs of fragments and networks that several tests share."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from imitation_lab.data import types
from imitation_lab.rewards import reward_nets
from imitation_lab.util import logger as lab_logger

OBS = gym.spaces.Box(-10, 10, (2,), np.float32)
ACT = gym.spaces.Discrete(2)


class Linear(reward_nets.RewardNet):
    """r = w · s, the weights known."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        super().__init__(observation_space, action_space)
        self.w = th.nn.Parameter(th.tensor([0.5, -1.0]))

    def forward(self, state: Any, action: th.Tensor, next_state: Any, done: th.Tensor) -> th.Tensor:
        return state @ self.w


@pytest.fixture
def linear() -> Linear:
    return Linear(OBS, ACT)


@pytest.fixture
def silent(tmp_path: Any) -> lab_logger.HierarchicalLogger:
    return lab_logger.configure(tmp_path / "log", [])


def trajectory(
    rng: np.random.Generator, length: int, *, terminal: bool = True, rews: bool = True, space: gym.Space = OBS
) -> types.Trajectory:
    """Random states; the true reward is the first feature of the state."""
    space.seed(int(rng.integers(1 << 30)))
    samples = [space.sample() for _ in range(length + 1)]
    obs = types.DictObs.from_obs_list(samples) if isinstance(space, gym.spaces.Dict) else np.stack(samples)
    acts = rng.integers(2, size=length)
    if not rews:
        return types.Trajectory(obs, acts, None, terminal)
    true = obs[:-1, 0] if isinstance(obs, np.ndarray) and obs.ndim == 2 else rng.standard_normal(length)
    return types.TrajectoryWithRew(obs, acts, None, terminal, np.asarray(true, dtype=np.float32))


@pytest.fixture
def make() -> Callable[..., types.Trajectory]:
    return trajectory


@pytest.fixture
def make_pairs(rng: np.random.Generator) -> Callable[..., list[types.TrajectoryPair]]:
    def make(n: int, lengths: Any = (5,), **kwargs: Any) -> list[types.TrajectoryPair]:
        sizes = [lengths[i % len(lengths)] for i in range(2 * n)]
        fragments = [trajectory(rng, size, **kwargs) for size in sizes]
        return list(zip(fragments[0::2], fragments[1::2], strict=True))

    return make
