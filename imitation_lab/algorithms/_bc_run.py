"""One run of behavioral cloning: updates, epochs, validation, early stop."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from imitation_lab.algorithms import _loaders
from imitation_lab.algorithms._bc_logging import RolloutStatsComputer, metrics_mean
from imitation_lab.util import networks, tree

if TYPE_CHECKING:
    from imitation_lab.algorithms.bc import BC

History = list[dict[str, float]]
_VALIDATION_ROWS = 8192


class TrainingRun:
    """The state of one call of `BC.train`.

    Args:
        trainer: whose policy is trained.
        loss: the training loss without metrics, a scalar tensor.
        train_data: what is trained on.
        val_data: what to validate on, or None.
        patience: see `BC.train`'s `early_stop_patience`.
        on_epoch_end: see `BC.train`.

    Attributes:
        history: what `BC.train` returns.
        stopped: whether training is to end.
    """

    def __init__(
        self,
        trainer: BC,
        loss: Callable[[ActorCriticPolicy, Any, th.Tensor], th.Tensor],
        train_data: _loaders.TransitionTensors | _loaders.GroupedStream,
        val_data: _loaders.TransitionTensors | None,
        patience: int | None,
        on_epoch_end: Callable[[], Any] | None,
    ) -> None:
        self.trainer = trainer
        self.history: History = []
        self.stopped = False
        self._train_data = train_data
        self._val_data = val_data
        self._patience = patience
        self._on_epoch_end = on_epoch_end
        self._epoch = 0
        self._counts = (0, 0, 0)
        self._unlogged = False
        self._losses: list[th.Tensor] = []  # of this epoch, on the device
        self._best: tuple[float, int, dict[str, th.Tensor]] | None = None
        self._loss = loss

    def update(
        self,
        batch: Mapping[str, Any],
        counts: tuple[int, int, int],
        *,
        log: bool,
        rollout_stats: RolloutStatsComputer,
    ) -> th.Tensor:
        """One optimizer step; returns the detached loss."""
        trainer = self.trainer
        self._counts = counts
        pieces = [batch] if counts[1] <= trainer.minibatch_size else tree.split(batch, trainer.minibatch_size)
        metrics = []
        total: th.Tensor | None = None
        trainer.optimizer.zero_grad()
        for i, piece in enumerate(pieces):
            if log:
                metrics.append(trainer.loss_calculator(trainer.policy, piece["obs"], piece["acts"]))
                loss = metrics[-1].loss
            else:
                loss = self._loss(trainer.policy, piece["obs"], piece["acts"])
            if len(pieces) > 1:
                loss = loss / len(pieces)  # pieces are of one size
            if trainer.regularizer is None:
                loss.backward()
            elif len(pieces) == 1:
                trainer.regularizer.regularize_and_backward(loss)
            else:
                trainer.regularizer.regularize_and_backward(loss, last=i == len(pieces) - 1)
            loss = loss.detach()
            total = loss if total is None else total + loss
        assert total is not None
        trainer.optimizer.step()
        if self._val_data is not None:
            self._losses.append(total)
        if log:
            values = metrics_mean(metrics)
            stats = rollout_stats(trainer.policy, trainer.rng)
            trainer._bc_logger.log_epoch(self._epoch)
            trainer._bc_logger.log_batch(*counts, values, stats)
            self._unlogged = False
            self.history.append({**self._position(), **values, **{f"rollout/{k}": v for k, v in stats.items()}})
        return total

    def end_epoch(self, epoch: int) -> None:
        """Validates, lets the regularizer and the user know, and decides whether to go on."""
        self._validate()
        self._epoch = epoch + 1
        if self._on_epoch_end is not None and self._on_epoch_end() is False:
            self.stopped = True

    def finish(self) -> None:
        """Validates what was learned in an epoch begun, and logs the last validation."""
        if self._losses:
            self._validate()
        if self._unlogged:
            self.trainer._bc_logger.flush(self._counts[0])

    def _position(self) -> dict[str, float]:
        return {"batch": self._counts[0], "epoch": self._epoch, "samples_so_far": self._counts[2]}

    def _validate(self) -> None:
        if self._val_data is None:
            return
        trainer = self.trainer
        metrics, sizes = [], []
        with th.no_grad(), networks.evaluating(trainer.policy):
            for part in _parts(self._val_data):
                metrics.append(trainer.loss_calculator(trainer.policy, part["obs"], part["acts"]))
                sizes.append(float(len(part)))
        values = metrics_mean(metrics, sizes)
        row = {f"val_{name}": values[name] for name in ("loss", "neglogp", "prob_true_act")}
        row["train_loss"] = th.stack(self._losses).mean().item()
        self._losses.clear()
        trainer._bc_logger.log_metrics(row)
        self._unlogged = True
        self.history.append({**self._position(), **row})
        if trainer.regularizer is not None:
            assert isinstance(self._train_data, _loaders.TransitionTensors)
            trainer.regularizer.update_params(self._error(self._train_data), self._error(self._val_data))
        if self._patience is not None:
            self._remember(row["val_loss"])

    @th.no_grad()
    def _error(self, data: _loaders.TransitionTensors) -> float:
        """What a λ updater compares between splits; a ratio needs losses that are never negative.

        The mean −log-likelihood where actions are discrete; the mean squared error of the most likely action in a
        `Box`, where a density above 1 makes −log-likelihood negative.
        """
        trainer, policy = self.trainer, self.trainer.policy
        total = 0.0
        with networks.evaluating(policy):
            for part in _parts(data):
                if isinstance(trainer.action_space, spaces.Box):
                    predicted = policy._predict(part["obs"], deterministic=True)
                    error = (predicted.flatten(1) - part["acts"].flatten(1)).square().mean()
                else:
                    error = trainer.loss_calculator(policy, part["obs"], part["acts"]).neglogp
                total += error.item() * len(part)
        return total / len(data)

    def _remember(self, val_loss: float) -> None:
        if self._best is None or val_loss < self._best[0]:
            self._best = (val_loss, 0, copy.deepcopy(self.trainer.policy.state_dict()))
            return
        loss, n_worse, state = self._best
        self._best = (loss, n_worse + 1, state)
        self.stopped = self.stopped or n_worse + 1 >= self._patience  # type: ignore[operator]

    def restore_best(self) -> None:
        """Puts the best weights back, where they were kept."""
        if self._best is not None:
            self.trainer.policy.load_state_dict(self._best[2])


def _parts(data: _loaders.TransitionTensors) -> Iterator[_loaders.TransitionTensors]:
    for start in range(0, len(data), _VALIDATION_ROWS):
        yield data.rows(slice(start, start + _VALIDATION_ROWS))
