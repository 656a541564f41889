"""Reward networks for tests."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch as th

from imitation_lab.rewards import reward_nets

__all__ = ["make_ensemble", "MockRewardNet"]


def make_ensemble(
    obs_space: gym.Space, action_space: gym.Space, num_members: int = 2, **kwargs: Any
) -> reward_nets.RewardEnsemble:
    """An ensemble of `BasicRewardNet`s, each with weights of its own.

    Args:
        obs_space: observation space.
        action_space: action space.
        num_members: number of networks.
        **kwargs: passed to every `BasicRewardNet`.
    """
    members = [reward_nets.BasicRewardNet(obs_space, action_space, **kwargs) for _ in range(num_members)]
    return reward_nets.RewardEnsemble(obs_space, action_space, members)


class MockRewardNet(reward_nets.RewardNet):
    """Rewards every transition with one and the same value; it has no parameters.

    Attributes:
        value: the reward; it may be changed at any time.
    """

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, value: float = 0.0) -> None:
        super().__init__(observation_space, action_space)
        self.value = value

    def forward(self, state: Any, action: th.Tensor, next_state: Any, done: th.Tensor) -> th.Tensor:
        """`value` for each transition, `(batch,)`, float32."""
        return th.full(action.shape[:1], float(self.value), dtype=th.float32, device=action.device)
