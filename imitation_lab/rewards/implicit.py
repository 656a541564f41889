"""The reward that a policy implies: log π(a|s)."""

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.util.networks import evaluating

__all__ = ["policy_log_prob_reward"]


def policy_log_prob_reward(policy: ActorCriticPolicy) -> RewardFn:
    """Return the reward function r(s, a) = log π(a|s) in nats, for which a maximum-entropy learner has policy π.

    With soft values, Q(s, a) = log π(a|s) + V(s) (Ziebart, 2010, eq. 4.11 and after): the log probability is
    the advantage, so it ranks actions within a state and says nothing about how good a state is.

    Args:
        policy: an actor-critic policy, such as ``BC(...).policy`` or ``PPO(...).policy``.

    Returns:
        A function of ``state (batch, *obs_shape)``, ``action (batch, *action_shape)``, ``next_state`` and
        ``done`` (both unused) that returns rewards ``(batch,)``. It runs in evaluation mode, without
        gradients, and follows the policy as it trains on.

    Raises:
        TypeError: a policy without an action distribution, such as SAC's or DQN's.
    """
    if not isinstance(policy, ActorCriticPolicy):
        raise TypeError(
            f"log π(a|s) needs an ActorCriticPolicy, which has get_distribution; got {type(policy).__name__}. "
            "From an algorithm pass its .policy."
        )

    def reward(state: Any, action: np.ndarray, next_state: Any, done: np.ndarray) -> np.ndarray:
        del next_state, done
        with th.no_grad(), evaluating(policy):
            observations, _ = policy.obs_to_tensor(state)
            actions = th.as_tensor(action, device=policy.device)
            return policy.get_distribution(observations).log_prob(actions).cpu().numpy()

    return reward
