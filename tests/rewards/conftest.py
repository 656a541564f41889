"""Spaces and batches that the reward tests share."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

BOX = spaces.Box(-2, 2, (3,), np.float32)
SPACES: dict[str, gym.Space] = {
    "box": BOX,
    "box2d": spaces.Box(-1, 1, (2, 3), np.float32),
    "discrete": spaces.Discrete(4),
    "discrete_from_3": spaces.Discrete(4, start=3),
    "multidiscrete": spaces.MultiDiscrete([2, 3, 4]),
    "multibinary": spaces.MultiBinary(5),
    "image": spaces.Box(0, 255, (6, 5, 3), np.uint8),
    "dict": spaces.Dict({"b": BOX, "a": spaces.Discrete(2), "c": spaces.Dict({"d": spaces.MultiDiscrete([2, 2])})}),
}


def draw(space: gym.Space, n: int, rng: np.random.Generator) -> Any:
    """n elements of `space`, batched."""
    if isinstance(space, spaces.Dict):
        return {key: draw(sub, n, rng) for key, sub in space.items()}
    space.seed(int(rng.integers(2**31)))
    return np.stack([space.sample() for _ in range(n)])


def transitions(net: Any, n: int = 8, seed: int = 0) -> tuple[Any, Any, Any, np.ndarray]:
    """A batch (state, action, next_state, done) for `net`, anything with the two spaces."""
    rng = np.random.default_rng(seed)
    obs, act = net.observation_space, net.action_space
    return draw(obs, n, rng), draw(act, n, rng), draw(obs, n, rng), rng.random(n) < 0.3


@pytest.fixture
def batch() -> Callable[..., tuple[Any, Any, Any, np.ndarray]]:
    return transitions


@pytest.fixture(params=list(SPACES))
def any_space(request: pytest.FixtureRequest) -> gym.Space:
    return SPACES[request.param]
