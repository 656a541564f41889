"""What behavioral cloning learns of itself while it trains: held-out losses, a regularizer's λ, when to stop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from imitation_lab.algorithms._shared.demonstrations import TransitionTensors
from imitation_lab.algorithms.bc.reporting import Metrics, metrics_mean
from imitation_lab.regularization.regularizers import Regularizer
from imitation_lab.util import networks

__all__ = ["Validation"]

_ROWS = 8192  # that go through the network at once
_SHOWN = ("loss", "neglogp", "prob_true_act")


class Validation:
    """Compares the loss on held-out transitions with that of training, epoch by epoch.

    Args:
        policy: what is trained.
        loss: `(policy, obs, acts)` to metrics.
        train_data: what is trained on.
        val_data: what is held out.
        regularizer: whose λ follows the two losses, or None.
        patience: see `BC.train`'s `early_stop_patience`.

    Attributes:
        losses: training losses of the epoch, detached scalars, to which the trainer adds.
        ended: whether patience is at its end.
    """

    def __init__(
        self,
        policy: BasePolicy,
        loss: Callable[[Any, Any, th.Tensor], Metrics],
        train_data: TransitionTensors,
        val_data: TransitionTensors,
        regularizer: Regularizer | None,
        patience: int | None,
    ) -> None:
        self._policy, self._loss, self._data = policy, loss, (train_data, val_data)
        self._regularizer, self._patience = regularizer, patience
        self.losses: list[th.Tensor] = []
        self.ended = False
        self._best: tuple[float, dict[str, th.Tensor]] | None = None
        self._n_worse = 0

    def __call__(self) -> dict[str, float]:
        """The means of the epoch: `train_loss`, and under `val_` the held-out loss and likelihoods, if it has any."""
        values = self._means(self._data[1])
        row = {f"val_{name}": values[name] for name in _SHOWN if name in values}
        row["train_loss"] = th.stack(self.losses).mean().item()
        self.losses.clear()
        if self._regularizer is not None:
            self._regularizer.update_params(*map(self._error, self._data))
        if self._patience is not None:
            self._remember(row["val_loss"])
        return row

    @th.no_grad()
    def _means(self, data: TransitionTensors) -> dict[str, float]:
        parts = list(_parts(data))
        with networks.evaluating(self._policy):
            metrics = [self._loss(self._policy, part["obs"], part["acts"]) for part in parts]
        return metrics_mean(metrics, [float(len(part)) for part in parts])

    @th.no_grad()
    def _error(self, data: TransitionTensors) -> float:
        """What a λ updater compares between splits; a ratio needs losses that are never negative.

        The mean −log-likelihood where actions are discrete; the mean squared error of the most likely action in a
        `Box`, where a density above 1 makes −log-likelihood negative. A loss without likelihood is taken as it is.
        """
        if not isinstance(self._policy.action_space, spaces.Box):
            values = self._means(data)
            return values.get("neglogp", values["loss"])
        total = 0.0
        with networks.evaluating(self._policy):
            for part in _parts(data):
                predicted = self._policy._predict(part["obs"], deterministic=True)
                error = (predicted.flatten(1) - part["acts"].flatten(1)).square().mean()
                total += error.item() * len(part)
        return total / len(data)

    def _remember(self, val_loss: float) -> None:
        if self._best is None or val_loss < self._best[0]:
            self._best, self._n_worse = (val_loss, copy.deepcopy(self._policy.state_dict())), 0
        else:
            self._n_worse += 1
            self.ended = self._n_worse >= self._patience  # type: ignore[operator]

    def restore_best(self) -> None:
        """Puts the best weights back, where they were kept."""
        if self._best is not None:
            self._policy.load_state_dict(self._best[1])


def _parts(data: TransitionTensors) -> Iterator[TransitionTensors]:
    for start in range(0, len(data), _ROWS):
        yield data.rows(slice(start, start + _ROWS))
