"""References for the assignment `airl-mce`; S states, A actions, T steps."""

import numpy as np
import torch as th

from imitation_lab.algorithms.mce_irl import mce_irl
from imitation_lab.envs.tabular import TabularEnv

__all__ = ["soft_backup", "soft_value_iteration", "occupancy", "airl_logits"]


def soft_backup(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V `(S,)` and π `(S, A)` of Q `(S, A)`."""
    values = np.logaddexp.reduce(q, axis=1)
    return values, np.exp(q - values[:, None])


def soft_value_iteration(transitions: np.ndarray, rewards: np.ndarray, horizon: int, discount: float) -> np.ndarray:
    """π `(T, S, A)` from P `(S, A, S)` and R `(S,)`."""
    return mce_irl.mce_partition_fh(_env(transitions, rewards, horizon), discount=discount)[2]


def occupancy(transitions: np.ndarray, initial: np.ndarray, policies: np.ndarray) -> np.ndarray:
    """Probability of each state at each time, `(T + 1, S)`, from P, p₀ `(S,)` and π `(T, S, A)`."""
    env = _env(transitions, np.zeros(len(initial)), len(policies), initial)
    return mce_irl.mce_occupancy_measures(env, pi=policies)[0]


def airl_logits(
    rewards: th.Tensor,
    potentials: th.Tensor,
    next_potentials: th.Tensor,
    dones: th.Tensor,
    log_probs: th.Tensor,
    discount: float,
) -> th.Tensor:
    """Logits `(batch,)` of AIRL's discriminator, high for the expert; all tensors are `(batch,)`."""
    goes_on = th.where(dones.bool(), th.zeros_like(rewards), discount * next_potentials)
    return rewards - log_probs + goes_on - potentials


def _env(transitions: np.ndarray, rewards: np.ndarray, horizon: int, initial: np.ndarray | None = None) -> TabularEnv:
    return TabularEnv(
        transition_matrix=transitions,
        reward_matrix=rewards,
        horizon=horizon,
        initial_state_dist=np.full(len(rewards), 1 / len(rewards)) if initial is None else initial,
    )
