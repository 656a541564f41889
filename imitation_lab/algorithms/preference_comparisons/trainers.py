"""Fitting a reward network, or an ensemble of them, to preferences."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch as th
from tqdm.auto import tqdm

from imitation_lab.algorithms._shared.learner import optimizer_of
from imitation_lab.algorithms._shared.logged import Logged
from imitation_lab.algorithms.preference_comparisons._batch import FragmentBatch
from imitation_lab.algorithms.preference_comparisons.dataset import PreferenceDataset
from imitation_lab.algorithms.preference_comparisons.loss import (
    CrossEntropyRewardLoss,
    LossAndMetrics,
    RewardLoss,
    accuracy,
    cross_entropy,
)
from imitation_lab.algorithms.preference_comparisons.model import PreferenceModel, Together
from imitation_lab.regularization.regularizers import Regularizer, RegularizerFactory
from imitation_lab.util import checks, networks
from imitation_lab.util import logger as lab_logger

__all__ = ["RewardTrainer", "BasicRewardTrainer", "EnsembleTrainer", "make_reward_trainer"]


class RewardTrainer(Logged, abc.ABC):
    """Fits the reward network of a preference model.

    Args:
        preference_model: what is trained.
        custom_logger: where metrics go; None makes a new one.
    """

    def __init__(self, preference_model: PreferenceModel, custom_logger: lab_logger.AnyLogger | None = None) -> None:
        super().__init__(custom_logger)
        self._preference_model = preference_model

    @property
    def preference_model(self) -> PreferenceModel:
        """What is trained."""
        return self._preference_model

    def train(self, dataset: PreferenceDataset, epoch_multiplier: float = 1.0) -> dict[str, float]:
        """Trains on a dataset, in training mode.

        Args:
            dataset: the labelled pairs.
            epoch_multiplier: scales the number of epochs in this call.

        Returns:
            The last epoch's means, such as `train/loss`; empty for trainers that report none.

        Raises:
            ValueError: if the dataset is empty.
        """
        if len(dataset) == 0:
            raise ValueError("The PreferenceDataset is empty: push at least one labelled pair before training.")
        with networks.training(self._preference_model):
            return self._train(dataset, epoch_multiplier) or {}

    @abc.abstractmethod
    def _train(self, dataset: PreferenceDataset, epoch_multiplier: float) -> dict[str, float] | None:
        """Trains; the model is in training mode."""


class _Learner(NamedTuple):
    """One network that is fitted: its model, optimizer and regularizer."""

    model: PreferenceModel
    optimizer: th.optim.Optimizer
    regularizer: Regularizer | None


Metrics = dict[str, th.Tensor]


class BasicRewardTrainer(RewardTrainer):
    """Minimizes a loss on preferences by AdamW, without weight decay unless a regularizer adds it.

    A batch's gradient is that of its mean loss, however it is cut into minibatches.

    Logs `reward/epoch-N/{train,val}/<metric>`, means over the epoch, and `reward/final/{train,val}/<metric>`, the
    last epoch's; metrics are the loss and those it names.

    Args:
        preference_model: what is trained.
        loss: such as `CrossEntropyRewardLoss()`.
        rng: draws batches and the validation split.
        batch_size: pairs per optimizer step.
        minibatch_size: pairs per forward pass, a divisor of `batch_size`; None is all at once.
        epochs: passes over the dataset per call of `train`.
        lr: learning rate.
        custom_logger: where metrics go; None makes a new one.
        regularizer_factory: makes a regularizer, such as `LpRegularizer.create(...)`. Where it has a `val_split`, that
            share of the pairs is held out in each call, and λ follows the losses after each epoch.
        progress_bar: whether to show the epochs of work that takes more than two seconds.

    Raises:
        ValueError: if a number is not positive, or `minibatch_size` does not divide `batch_size`.
    """

    _state = ("rng", "_optimizers", "_regularizers")

    def __init__(
        self,
        preference_model: PreferenceModel,
        loss: RewardLoss,
        rng: np.random.Generator,
        batch_size: int = 32,
        minibatch_size: int | None = None,
        epochs: int = 1,
        lr: float = 1e-3,
        custom_logger: lab_logger.AnyLogger | None = None,
        regularizer_factory: RegularizerFactory | None = None,
        progress_bar: bool = True,
    ) -> None:
        super().__init__(preference_model, custom_logger)
        checks.generator(rng)
        checks.at_least(1, batch_size=batch_size, epochs=epochs)
        checks.at_least(1, or_none=True, minibatch_size=minibatch_size)
        checks.positive(lr=lr)
        minibatch_size = batch_size if minibatch_size is None else minibatch_size
        if batch_size % minibatch_size:
            raise ValueError(
                f"batch_size must be a multiple of minibatch_size, got {batch_size} and {minibatch_size}: a batch is "
                "cut into minibatches of one size."
            )
        self.loss = loss
        self.rng = rng
        self.batch_size = batch_size
        self.minibatch_size = minibatch_size
        self.epochs = epochs
        self.lr = lr
        self.regularizer_factory = regularizer_factory
        self.progress_bar = progress_bar
        self._learners = [self._learner(model) for model in self._models()]

    @property
    def optim(self) -> th.optim.Optimizer:
        """The optimizer; an ensemble's first member's."""
        return self._learners[0].optimizer

    @property
    def regularizer(self) -> Regularizer | None:
        """The regularizer; an ensemble's first member's."""
        return self._learners[0].regularizer

    @property
    def requires_regularizer_update(self) -> bool:
        """Whether λ adapts, for which pairs are held out."""
        return self.regularizer is not None and self.regularizer.val_split is not None

    def _models(self) -> Sequence[PreferenceModel]:
        if self._preference_model.ensemble_model is not None:
            raise TypeError(
                "BasicRewardTrainer trains one network, but the PreferenceModel has a RewardEnsemble: use "
                "EnsembleTrainer."
            )
        return [self._preference_model]

    def _learner(self, model: PreferenceModel) -> _Learner:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not parameters:
            raise ValueError(f"{type(model.model).__name__} has no parameters to train.")
        optimizer = optimizer_of(th.optim.AdamW, parameters, {"lr": self.lr, "weight_decay": 0.0})
        factory = self.regularizer_factory
        return _Learner(model, optimizer, None if factory is None else factory(optimizer=optimizer, logger=self.logger))

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        for regularizer in filter(None, self._regularizers):
            regularizer.logger = logger

    @property
    def _optimizers(self) -> list[th.optim.Optimizer]:
        return [learner.optimizer for learner in self._learners]

    @property
    def _regularizers(self) -> list[Regularizer | None]:
        return [learner.regularizer for learner in self._learners]

    def _train(self, dataset: PreferenceDataset, epoch_multiplier: float) -> dict[str, float]:
        epochs = round(self.epochs * epoch_multiplier)
        if epochs < 1:
            raise ValueError(
                f"epochs={self.epochs} times epoch_multiplier={epoch_multiplier} rounds to no epoch at all: raise one "
                "of them."
            )
        model = self._preference_model.model
        pairs, preferences = dataset.tensors(model.device, model.dtype)
        train, val = self._split(len(dataset))
        samples = self._samples(train)
        data = (pairs, preferences)
        fit = self._fit(pairs)
        bar = tqdm(range(epochs), desc="reward", unit="epoch", disable=not self.progress_bar, delay=2)
        for epoch in bar:
            order = self.rng.permuted(samples, axis=1)
            means = {f"train/{key}": value for key, value in fit(data, order).items()}
            if val is not None:
                means.update({f"val/{key}": value for key, value in self._validate(data, val).items()})
                self._update_regularizers(means["train/loss"], means["val/loss"])
            for key, value in means.items():
                self.logger.record(f"reward/epoch-{epoch}/{key}", value.mean(), exclude="stdout")  # hundreds of lines
        final = {key: value.tolist() for key, value in means.items()}
        summary = {key: float(np.mean(values)) for key, values in final.items()}
        for key, mean in summary.items():
            self.logger.record(f"reward/final/{key}", mean)
        if len(self._learners) > 1:
            for key, values in final.items():
                for i, value in enumerate(values):
                    self.logger.record(f"reward/final/member-{i}/{key}", value)
        return summary

    def _split(self, n: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Numbers of the pairs to train on, and of those held out."""
        if not self.requires_regularizer_update:
            return np.arange(n), None
        assert self.regularizer is not None
        assert self.regularizer.val_split is not None
        held_out = int(n * self.regularizer.val_split)
        if held_out < 1 or held_out >= n:
            raise ValueError(
                f"{n} pairs cannot be split into training and validation data with val_split="
                f"{self.regularizer.val_split}: one part would be empty. Gather more comparisons first, or raise it."
            )
        order = self.rng.permutation(n)
        return order[held_out:], order[:held_out]

    def _samples(self, train: np.ndarray) -> np.ndarray:
        """For each learner the pairs it sees, `(learners, pairs)`."""
        return train[None]

    def _fit(self, pairs: FragmentBatch) -> Callable[[tuple[FragmentBatch, th.Tensor], np.ndarray], Metrics]:
        """How an epoch is done: from the data and the order of each learner, `(learners, pairs)`, to means."""
        return self._fit_each

    def _fit_each(self, data: tuple[FragmentBatch, th.Tensor], order: np.ndarray) -> Metrics:
        """One learner after the other."""
        means = [self._epoch(learner, data, own) for learner, own in zip(self._learners, order, strict=True)]
        return {key: th.stack([mean[key] for mean in means]) for key in means[0]}

    def _epoch(self, learner: _Learner, data: tuple[FragmentBatch, th.Tensor], order: np.ndarray) -> Metrics:
        total: _Means = _Means()
        for batch in _cut(order, self.batch_size):
            learner.optimizer.zero_grad()
            minibatches = list(_cut(batch, self.minibatch_size))
            for i, rows in enumerate(minibatches):
                loss, metrics = self._loss(learner.model, data, rows)
                total.add(len(rows), {"loss": loss, **metrics})
                part = loss * (len(rows) / len(batch))
                if learner.regularizer is None:
                    part.backward()
                else:
                    learner.regularizer.regularize_and_backward(part, last=i == len(minibatches) - 1)
            learner.optimizer.step()
        return total.means()

    def _loss(self, model: PreferenceModel, data: tuple[FragmentBatch, th.Tensor], rows: np.ndarray) -> LossAndMetrics:
        pairs, preferences = data
        index = th.from_numpy(rows).to(preferences.device)
        return self.loss(pairs.take(rows), preferences.index_select(0, index), model)

    def _validate(self, data: tuple[FragmentBatch, th.Tensor], rows: np.ndarray) -> Metrics:
        found = []
        with networks.evaluating(self._preference_model), th.no_grad():
            for learner in self._learners:
                total = _Means()
                for part in _cut(rows, self.minibatch_size):
                    loss, metrics = self._loss(learner.model, data, part)
                    total.add(len(part), {"loss": loss, **metrics})
                found.append(total.means())
        return {key: th.stack([own[key] for own in found]) for key in found[0]}

    def _update_regularizers(self, train_loss: th.Tensor, val_loss: th.Tensor) -> None:
        losses = zip(train_loss.tolist(), val_loss.tolist(), strict=True)
        for learner, (train, val) in zip(self._learners, losses, strict=True):
            assert learner.regularizer is not None
            learner.regularizer.update_params(train, val)


class EnsembleTrainer(BasicRewardTrainer):
    """Trains each member of an ensemble on its own bootstrap sample of the pairs, drawn anew in each `train`.

    Members that are alike are trained together, one forward and backward pass for all. With a regularizer, a loss of
    your own, unlike members or fragments of different lengths they come one after another, on the same samples. Where
    pairs are held out, they are the same for all members, and no bootstrap sample holds one of them.

    Logged are means over the members, and `reward/final/member-i/...`. Arguments as in `BasicRewardTrainer`.

    Raises:
        TypeError: if the model has no ensemble.
    """

    def _models(self) -> Sequence[PreferenceModel]:
        if self._preference_model.ensemble_model is None:
            raise TypeError(
                f"PreferenceModel of a RewardEnsemble expected by EnsembleTrainer, got one of a "
                f"{type(self._preference_model.model).__name__}: use BasicRewardTrainer, or build a RewardEnsemble."
            )
        return self._preference_model.member_models()

    def _samples(self, train: np.ndarray) -> np.ndarray:
        return self.rng.choice(train, size=(len(self._learners), len(train)))

    def _fit(self, pairs: FragmentBatch) -> Callable[[tuple[FragmentBatch, th.Tensor], np.ndarray], Metrics]:
        together = None
        if type(self.loss) is CrossEntropyRewardLoss and self.regularizer is None and pairs.common_length is not None:
            together = Together.of([learner.model.model for learner in self._learners])
        if together is None:
            return self._fit_each
        return lambda data, order: self._fit_together(together, data, order)

    def _fit_together(self, together: Together, data: tuple[FragmentBatch, th.Tensor], order: np.ndarray) -> Metrics:
        pairs, preferences = data
        model = self._preference_model
        assert isinstance(self.loss, CrossEntropyRewardLoss)
        members = len(order)
        total = _Means()
        for batch in _cut(order, self.batch_size):
            for learner in self._learners:
                learner.optimizer.zero_grad()
            for rows in _cut(batch, self.minibatch_size):
                size = rows.shape[-1]
                part = pairs.take(rows.ravel())
                index = th.from_numpy(rows).to(preferences.device)
                targets = preferences[index]
                rewards = together.each(part.transitions()).flatten()
                differences = model.clip(part.differences(rewards, model.discount_factor)).view(members, size)
                losses = cross_entropy(differences, targets, model.noise_prob).mean(-1)
                (losses.sum() * (size / batch.shape[-1])).backward()
                metrics = {"loss": losses, "accuracy": accuracy(th.sigmoid(differences.detach()), targets)}
                if part.rews is not None:
                    true = model.clip(part.differences(part.rews, model.discount_factor)).view(members, size)
                    metrics["gt_reward_loss"] = cross_entropy(true, targets, model.noise_prob).mean(-1)
                total.add(size, metrics)
            for learner in self._learners:
                learner.optimizer.step()
        return total.means()


class _Means:
    """Means of metrics over batches of different sizes, kept as tensors."""

    def __init__(self) -> None:
        self._sums: Metrics = {}
        self._count = 0

    def add(self, size: int, metrics: Mapping[str, th.Tensor]) -> None:
        self._count += size
        for key, value in metrics.items():
            part = th.as_tensor(value).detach() * size
            self._sums[key] = self._sums[key] + part if key in self._sums else part

    def means(self) -> Metrics:
        return {key: total / self._count for key, total in self._sums.items()}


def _cut(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Parts of at most `size` along the last axis."""
    for i in range(math.ceil(rows.shape[-1] / size)):
        yield rows[..., i * size : (i + 1) * size]


def make_reward_trainer(
    preference_model: PreferenceModel,
    loss: RewardLoss,
    rng: np.random.Generator,
    reward_trainer_kwargs: Mapping[str, Any] | None = None,
) -> BasicRewardTrainer:
    """The trainer that suits the model: `EnsembleTrainer` for an ensemble, else `BasicRewardTrainer`."""
    cls = BasicRewardTrainer if preference_model.ensemble_model is None else EnsembleTrainer
    return cls(preference_model, loss, rng=rng, **(reward_trainer_kwargs or {}))
