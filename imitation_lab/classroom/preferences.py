"""References for the assignment `preferences`."""

import torch as th

from imitation_lab.algorithms.preference_comparisons import loss

__all__ = ["return_differences", "bradley_terry_loss", "select_pairs", "fit_weights"]


def return_differences(rewards1: th.Tensor, rewards2: th.Tensor, discount: float) -> th.Tensor:
    """Discounted returns of first fragments minus those of second ones: `(pairs, T)` twice to `(pairs,)`."""
    difference = th.zeros_like(rewards1[:, 0])
    for step in range(rewards1.shape[1]):
        difference = difference + discount**step * (rewards1[:, step] - rewards2[:, step])
    return difference


def bradley_terry_loss(differences: th.Tensor, preferences: th.Tensor) -> th.Tensor:
    """Mean cross-entropy of answers `(pairs,)` under return differences `(pairs,)`, a scalar."""
    return loss.cross_entropy(differences, preferences).mean()


def select_pairs(differences: th.Tensor, count: int) -> th.Tensor:
    """The `count` pairs with the largest variance over members, largest first; differences are `(members, pairs)`."""
    deviations = differences - differences.mean(0)
    return deviations.square().sum(0).topk(count).indices


def fit_weights(
    features1: th.Tensor, features2: th.Tensor, preferences: th.Tensor, steps: int, learning_rate: float
) -> th.Tensor:
    """Weights `(features,)` of a linear reward by gradient descent from zero; features are `(pairs, T, features)`."""
    sums = (features1 - features2).sum(1)
    weights = th.zeros(sums.shape[1])
    for _ in range(steps):
        errors = th.sigmoid(sums @ weights) - preferences  # the loss's gradient with respect to the differences
        weights = weights - learning_rate * (errors @ sums) / len(sums)
    return weights
