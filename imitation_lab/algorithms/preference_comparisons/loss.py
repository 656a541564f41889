"""The loss of a reward under given preferences."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch as th
from torch import nn
from torch.nn import functional as F

from imitation_lab.algorithms.preference_comparisons._batch import Pairs
from imitation_lab.algorithms.preference_comparisons.model import PreferenceModel

__all__ = ["LossAndMetrics", "RewardLoss", "CrossEntropyRewardLoss", "cross_entropy", "accuracy"]


class LossAndMetrics(NamedTuple):
    """A loss to differentiate, and detached scalars to log."""

    loss: th.Tensor
    metrics: Mapping[str, th.Tensor]


def cross_entropy(differences: th.Tensor, preferences: th.Tensor, noise_prob: float = 0.0) -> th.Tensor:
    """−y ln P − (1 − y) ln(1 − P) of each pair, with P = ε/2 + (1 − ε) σ(d), in a form that cannot saturate.

    At ε = 0 its gradient with respect to d is σ(d) − y.

    Args:
        differences: d, differences of returns, `(..., pairs)`.
        preferences: y, 1 where the first is preferred; the same shape, or `(pairs,)`.
        noise_prob: ε.

    Returns:
        `(..., pairs)`.
    """
    if noise_prob == 0:
        return F.softplus(differences) - preferences * differences
    floor = differences.new_full((), math.log(noise_prob / 2))
    scale = math.log1p(-noise_prob) if noise_prob < 1 else -math.inf
    log_first = th.logaddexp(floor, F.logsigmoid(differences) + scale)
    log_second = th.logaddexp(floor, F.logsigmoid(-differences) + scale)
    return -(preferences * log_first + (1 - preferences) * log_second)


def accuracy(probabilities: th.Tensor, preferences: th.Tensor) -> th.Tensor:
    """Share of the pairs ordered as they were labelled, over the last axis; ties on either side count half."""
    # sign is 0 for a tie
    agreement = th.sign(probabilities - 0.5) * th.sign(preferences - 0.5)
    return 0.5 + 0.5 * agreement.mean(-1)


class RewardLoss(nn.Module, abc.ABC):
    """A loss on preferences. Subclasses define `forward`, which may call `preference_model` on the pairs."""

    @abc.abstractmethod
    def forward(
        self, fragment_pairs: Pairs, preferences: np.ndarray | th.Tensor, preference_model: PreferenceModel
    ) -> LossAndMetrics:
        """The loss of a batch.

        Args:
            fragment_pairs: a sequence of pairs. While training it is a batch that is tensors already, which
                `preference_model` knows how to take.
            preferences: `(pairs,)`.
            preference_model: of one reward network, not an ensemble.

        Returns:
            The mean loss, a scalar with a graph, and detached metrics.
        """


class CrossEntropyRewardLoss(RewardLoss):
    """Mean cross-entropy between preferences and their predicted probability (Christiano et al. 2017, eq. 2).

    Metrics: `accuracy`, the share of pairs ordered as labelled, and `gt_reward_loss`, the loss that the true rewards
    would have, where fragments carry them.
    """

    def forward(
        self, fragment_pairs: Pairs, preferences: np.ndarray | th.Tensor, preference_model: PreferenceModel
    ) -> LossAndMetrics:
        """See `RewardLoss.forward`.

        Raises:
            ValueError: if numbers of pairs and preferences differ.
        """
        kind = type(preference_model)
        if kind.forward is not PreferenceModel.forward or kind.probability is not PreferenceModel.probability:
            return self._of_probabilities(fragment_pairs, preferences, preference_model)
        batch = preference_model.batch(fragment_pairs)
        differences = preference_model.clip(preference_model.differences(batch))
        targets = self._targets(preferences, differences)
        loss = cross_entropy(differences, targets, preference_model.noise_prob)
        metrics = {"accuracy": accuracy(th.sigmoid(differences.detach()), targets)}
        true_loss = self.true_loss(preference_model, batch, targets)
        if true_loss is not None:
            metrics["gt_reward_loss"] = true_loss
        return LossAndMetrics(loss.mean(-1).sum(), metrics)

    def true_loss(self, model: PreferenceModel, batch: Pairs, targets: th.Tensor) -> th.Tensor | None:
        """The loss of the true rewards, a scalar; None where there are none."""
        tensors = model.batch(batch)
        if tensors.rews is None:
            return None
        with th.no_grad():
            differences = model.clip(tensors.differences(tensors.rews, model.discount_factor))
            return cross_entropy(differences, targets, model.noise_prob).mean()

    def _of_probabilities(
        self, fragment_pairs: Pairs, preferences: np.ndarray | th.Tensor, preference_model: PreferenceModel
    ) -> LossAndMetrics:
        """For models of the user's own, of which only the probabilities are known."""
        probabilities, true_probabilities = preference_model(fragment_pairs)
        targets = self._targets(preferences, probabilities)
        loss = F.binary_cross_entropy(probabilities, targets)
        metrics = {"accuracy": accuracy(probabilities.detach(), targets)}
        if true_probabilities is not None:
            metrics["gt_reward_loss"] = F.binary_cross_entropy(true_probabilities.detach(), targets)
        return LossAndMetrics(loss, metrics)

    @staticmethod
    def _targets(preferences: np.ndarray | th.Tensor, like: th.Tensor) -> th.Tensor:
        targets = th.as_tensor(preferences).to(like)
        if targets.shape != like.shape[-1:]:
            raise ValueError(
                f"Got preferences of shape {tuple(targets.shape)} for {like.shape[-1]} pairs of fragments, expected "
                f"({like.shape[-1]},)."
            )
        return targets
