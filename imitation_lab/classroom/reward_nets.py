"""References for the assignment `reward-nets`; S states, A actions."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium.spaces.utils import flatdim
from torch import nn

from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util.networks import RunningNorm

__all__ = ["TanhReward", "merge_statistics", "shaped_rewards", "q_values"]


class TanhReward(RewardNet):
    """r(s, a) = w · tanh(W [s, a] + b) + c.

    Args:
        observation_space: as in `RewardNet`.
        action_space: as in `RewardNet`.
        hidden: rows of W.
    """

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, hidden: int):
        super().__init__(observation_space, action_space)
        self.hidden_layer = nn.Linear(flatdim(observation_space) + flatdim(action_space), hidden)
        self.output_layer = nn.Linear(hidden, 1)

    def forward(self, state: Any, action: Any, next_state: Any, done: th.Tensor) -> th.Tensor:
        """Rewards, `(batch,)`; arguments as in `RewardNet.forward`."""
        of_state, of_action = self.hidden_layer.weight.split([state.shape[1], action.shape[1]], dim=1)
        hidden = th.tanh(state @ of_state.T + action @ of_action.T + self.hidden_layer.bias)
        return hidden @ self.output_layer.weight[0] + self.output_layer.bias


def merge_statistics(mean: th.Tensor, var: th.Tensor, count: int, batch: th.Tensor) -> tuple[th.Tensor, th.Tensor, int]:
    """Mean `(features,)`, population variance and number of rows after a batch `(m, features)`."""
    norm = RunningNorm(batch.shape[1])
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
    norm.count.fill_(count)
    norm.update_stats(batch)
    return norm.running_mean.to(mean), norm.running_var.to(var), int(norm.count)


def shaped_rewards(rewards: np.ndarray, potential: np.ndarray, transitions: np.ndarray, discount: float) -> np.ndarray:
    """R(s, a) + γ E[Φ(s′)] − Φ(s), `(S, A)`, from `(S, A)`, `(S,)` and `(S, A, S)`."""
    growth = discount * potential[None, None, :] - potential[:, None, None]
    return rewards + (transitions * growth).sum(axis=2)


def q_values(transitions: np.ndarray, rewards: np.ndarray, discount: float, sweeps: int) -> np.ndarray:
    """Q `(S, A)` after so many sweeps of value iteration from 0; P is `(S, A, S)`, R `(S, A)`."""
    q = np.zeros(rewards.shape)
    for _ in range(sweeps):
        q = rewards + discount * np.einsum("sat,t->sa", transitions, np.max(q, axis=1))
    return q
