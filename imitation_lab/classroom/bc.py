"""References for the assignment `bc`."""

import numpy as np
import torch as th
from torch.distributions import Categorical

__all__ = ["bc_loss", "train_epoch", "drift", "expected_mistakes"]


def bc_loss(logits: th.Tensor, actions: th.Tensor, ent_weight: float) -> th.Tensor:
    """Mean of −log π(a|s) − `ent_weight` · H(π(·|s)), a scalar; logits `(batch, actions)`, actions `(batch,)`."""
    policy = Categorical(logits=logits)
    return -(policy.log_prob(actions) + ent_weight * policy.entropy()).mean()


def train_epoch(
    policy: th.nn.Module,
    optimizer: th.optim.Optimizer,
    observations: th.Tensor,
    actions: th.Tensor,
    batch_size: int,
    generator: th.Generator,
) -> list[float]:
    """One pass in random order over `(n, features)` and `(n,)`; returns the batches' losses."""
    order = th.randperm(len(actions), generator=generator)
    losses = []
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        optimizer.zero_grad()
        loss = bc_loss(policy(observations[rows]), actions[rows], 0.001)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


def drift(expert: np.ndarray, learner: np.ndarray) -> np.ndarray:
    """Mean distance by time, `(T′,)`, of states `(episodes, T′, features)` from the expert's mean.

    In standard deviations of the expert's states, which are `(episodes, T, features)`.
    """
    states = expert.reshape(-1, expert.shape[2])
    distances = np.sqrt((((learner - states.mean(0)) / states.std(0)) ** 2).sum(2))
    return distances.mean(0)


def expected_mistakes(error: float, recovery: float, horizon: int) -> np.ndarray:
    """Expected mistakes within 1, …, `horizon` steps; see the assignment for the two probabilities."""
    rate = error + recovery
    if rate == 0:
        return np.zeros(horizon)
    return np.cumsum(error / rate * (1 - (1 - rate) ** np.arange(1, horizon + 1)))
