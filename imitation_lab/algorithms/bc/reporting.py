"""What behavioral cloning does around its updates: counting batches and epochs, logging, rollouts."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data import rollout
from imitation_lab.util import logger as lab_logger
from imitation_lab.util import networks
from imitation_lab.util.errors import EmptyError

__all__ = [
    "BCTrainingMetrics", "Metrics", "loss_of", "metrics_mean", "BatchIteratorWithEpochEndCallback",
    "enumerate_batches", "RolloutStatsComputer", "BCLogger",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BCTrainingMetrics:
    """One batch's metrics, scalar tensors, all means over the batch.

    Attributes:
        neglogp: −log π(a|s), in nats.
        entropy: H(π(·|s)), in nats; None if the policy's distribution has no closed form for it.
        ent_loss: −ent_weight · entropy.
        prob_true_act: π(a|s): a probability for discrete actions, a density for continuous ones.
        l2_norm: ½ Σ w² over all parameters w of the policy.
        l2_loss: l2_weight · l2_norm.
        loss: neglogp + ent_loss + l2_loss, the only one with a graph.
    """

    neglogp: th.Tensor
    entropy: th.Tensor | None
    ent_loss: th.Tensor
    prob_true_act: th.Tensor
    l2_norm: th.Tensor
    l2_loss: th.Tensor
    loss: th.Tensor


Metrics = BCTrainingMetrics | Mapping[str, th.Tensor]
"""What a loss gives: a mapping, or an object with such attributes, of scalar tensors. `loss` is the one to minimise."""


def loss_of(metrics: Metrics) -> th.Tensor:
    """The loss, with its graph."""
    return metrics["loss"] if isinstance(metrics, Mapping) else metrics.loss


def metrics_mean(metrics: list[Metrics], weights: list[float] | None = None) -> dict[str, float]:
    """The (weighted) mean of each metric, as floats read from the device at once; those that are None are left out."""
    found = [m if isinstance(m, Mapping) else vars(m) for m in metrics]
    names = [name for name, value in found[0].items() if value is not None]
    rows = th.stack([th.stack([th.as_tensor(m[name]).detach().float().reshape(()) for name in names]) for m in found])
    share = th.as_tensor(weights or [1.0] * len(metrics), device=rows.device)
    return dict(zip(names, ((rows * share[:, None]).sum(0) / share.sum()).tolist(), strict=True))


class BatchIteratorWithEpochEndCallback:
    """Batches over several passes through a loader, with a call after each full pass.

    Args:
        batch_loader: iterated once per epoch.
        n_epochs: number of passes, or
        n_batches: number of batches, over as many passes as it takes.
        on_epoch_end: called with the number of the epoch, from 0, when its last batch has been used and another is
            asked for.

    Raises:
        ValueError: unless exactly one of `n_epochs` and `n_batches` is given, as an integer of at least 1.
    """

    def __init__(
        self,
        batch_loader: Iterable[Mapping[str, Any]],
        n_epochs: int | None,
        n_batches: int | None,
        on_epoch_end: Callable[[int], None] | None,
    ) -> None:
        if (n_epochs is None) == (n_batches is None):
            raise ValueError(
                f"Give exactly one of n_epochs and n_batches, got n_epochs={n_epochs} and n_batches={n_batches}."
            )
        for name, value in (("n_epochs", n_epochs), ("n_batches", n_batches)):
            if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
                raise ValueError(f"{name} must be an integer of at least 1, got {value}.")
        self.batch_loader = batch_loader
        self.n_epochs = n_epochs
        self.n_batches = n_batches
        self.on_epoch_end = on_epoch_end

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        n_done = epoch = 0
        while self.n_epochs is None or epoch < self.n_epochs:
            n_before = n_done
            for batch in self.batch_loader:
                yield batch
                n_done += 1
                if n_done == self.n_batches:
                    return
            if n_done == n_before:
                raise EmptyError(
                    f"Epoch {epoch} gave no batch. An iterator or generator runs only once: pass a list, a DataLoader "
                    "or the transitions themselves for more than one epoch."
                )
            if self.on_epoch_end is not None:
                self.on_epoch_end(epoch)
            epoch += 1


def enumerate_batches(
    batch_it: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[tuple[int, int, int], Mapping[str, Any]]]:
    """Numbers batches: yields `((batch_num, batch_size, num_samples_so_far), batch)`.

    `batch_num` counts from 0; `num_samples_so_far` includes this batch.
    """
    n_samples = 0
    for number, batch in enumerate(batch_it):
        size = len(batch["acts"])
        n_samples += size
        yield (number, size, n_samples), batch


@dataclasses.dataclass(frozen=True)
class RolloutStatsComputer:
    """Statistics of fresh episodes with a policy.

    Attributes:
        venv: the environments; None computes nothing.
        n_episodes: episodes per call, at least.
    """

    venv: VecEnv | None
    n_episodes: int

    def __call__(self, policy: BasePolicy, rng: np.random.Generator) -> Mapping[str, float]:
        """`data.rollout.rollout_stats` of the episodes; empty without environments. The policy's mode is put back."""
        if self.venv is None or self.n_episodes < 1:
            return {}
        with networks.evaluating(policy):
            until = rollout.make_min_episodes(self.n_episodes)
            return rollout.rollout_stats(rollout.generate_trajectories(policy, self.venv, until, rng))


class BCLogger:
    """Writes behavioral cloning's metrics, one dump per call of `log_batch`.

    A dump's step is the number of the batch; a later training goes on counting where the one before ended (`end`).

    Args:
        logger: where to.
    """

    _state = ("_before", "_batch")

    def __init__(self, logger: lab_logger.HierarchicalLogger) -> None:
        self._logger = logger
        self.reset_tensorboard_steps()

    def reset_tensorboard_steps(self) -> None:
        """Lets the logged steps start at 0 again."""
        self._before = 0  # batches of earlier trainings
        self._batch = -1

    def log_epoch(self, epoch_number: int) -> None:
        """Records the number of the current epoch."""
        self._logger.record("bc/epoch", epoch_number)

    def log_batch(
        self,
        batch_num: int,
        batch_size: int,
        num_samples_so_far: int,
        training_metrics: BCTrainingMetrics | Mapping[str, float],
        rollout_stats: Mapping[str, float],
    ) -> None:
        """Records a batch's metrics under `bc/`, rollout statistics under `rollout/`, and dumps them."""
        if isinstance(training_metrics, BCTrainingMetrics):
            training_metrics = metrics_mean([training_metrics])
        counts = {"batch": batch_num, "batch_size": batch_size, "samples_so_far": num_samples_so_far}
        self.log_metrics({**counts, **training_metrics})
        for name, value in rollout_stats.items():
            self._logger.record(f"rollout/{name}", value)
        if batch_num <= self._batch:
            self._before += self._batch + 1
        self.flush(batch_num)

    def flush(self, batch_num: int) -> None:
        """Dumps what has been recorded, as of batch `batch_num`."""
        self._batch = batch_num
        self._logger.dump(self._before + batch_num)

    def end(self, n_batches: int) -> None:
        """A training of `n_batches` has ended: the next one's steps follow on them."""
        self._before, self._batch = self._before + n_batches, -1

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Records metrics under `bc/`, for the next dump."""
        for name, value in metrics.items():
            self._logger.record(f"bc/{name}", value)
