"""A reward network whose output is bounded."""

import math
from typing import Any

import gymnasium as gym
import torch as th

from imitation_lab.rewards.reward_nets import BasicRewardNet

__all__ = ["BoundedRewardNet"]


class BoundedRewardNet(BasicRewardNet):
    """`BasicRewardNet` with the output bound · tanh(x / bound).

    AIRL pays its discriminator's f, which grows without bound between what is clearly not the expert's: a learner that
    has not found the expert yet then looks for the least bad of its failures. GAIL's −log(1 − D) is flat there, and so
    is this.

    Args:
        observation_space: see `BasicRewardNet`.
        action_space: see there.
        bound: largest absolute reward.
        **kwargs: for `BasicRewardNet`.

    Raises:
        ValueError: if `bound` is not a positive number.
    """

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, bound: float = 3.0, **kwargs: Any):
        super().__init__(observation_space, action_space, **kwargs)
        if not (math.isfinite(bound) and bound > 0):
            raise ValueError(f"bound must be a positive number, got {bound!r}.")
        self.bound = bound

    def forward(self, state: Any, action: Any, next_state: Any, done: th.Tensor) -> th.Tensor:
        """Rewards, `(batch,)`; arguments as in `RewardNet.forward`."""
        return self.bound * th.tanh(super().forward(state, action, next_state, done) / self.bound)
