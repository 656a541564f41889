"""Behavioral cloning: learn to act by classifying, or regressing on, the expert's actions.

D. A. Pomerleau, "Efficient training of artificial neural networks for autonomous navigation", Neural Computation 3(1),
1991; M. Bain and C. Sammut, "A framework for behavioural cloning", Machine Intelligence 15, 1999.

The policy π with parameters w minimises over the expert's pairs of observation s and action a

    loss = mean(−log π(a|s)) − ent_weight · mean(H(π(·|s))) + l2_weight · ½ Σ w²
           neglogp             −ent_loss                      l2_loss

Departures from the papers:

1. Any distribution of SB3's policies: Gaussian for `Box`, categorical, several of these, or Bernoulli. Pomerleau's
   network gave a fixed blob of activations, Bain and Sammut's learner a decision tree.
2. The entropy bonus and the L2 penalty. The penalty counts the value network's weights too, which nothing else moves.
3. For policies that squash their actions (gSDE), demonstrations are scaled to [−1, 1] first, as SB3 does in PPO.
4. Neither paper's remedy for drifting off the expert's states is here: see DAgger for one.
"""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from stable_baselines3.common.utils import ConstantSchedule, get_device
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import base, checkpoint, saved
from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.demonstrations import GroupedStream, TensorSpec, TransitionTensors
from imitation_lab.algorithms._shared.likelihood import log_prob_and_entropy, policy_actions
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.bc.reporting import (
    BatchIteratorWithEpochEndCallback,
    BCLogger,
    BCTrainingMetrics,
    Metrics,
    RolloutStatsComputer,
    enumerate_batches,
    loss_of,
    metrics_mean,
)
from imitation_lab.algorithms.bc.validation import Validation
from imitation_lab.data import types
from imitation_lab.data.spaces import channels_first, check_supported
from imitation_lab.policies.base import FeedForward32Policy
from imitation_lab.policies.serialize import load_policy_file, save_policy
from imitation_lab.regularization.regularizers import Regularizer, RegularizerFactory
from imitation_lab.util import checks, codec, networks, tree, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

__all__ = [
    "BC",
    "BCLogger",
    "BCTrainingMetrics",
    "BatchIteratorWithEpochEndCallback",
    "BehaviorCloningLossCalculator",
    "RolloutStatsComputer",
    "enumerate_batches",
    "reconstruct_policy",
]

LossCalculator = Callable[[Any, Any, th.Tensor], Metrics]
History = list[dict[str, float]]
POLICY_FILE = "policy.safetensors"


@codec.register_class
@dataclasses.dataclass(frozen=True)
class BehaviorCloningLossCalculator:
    """The loss of behavioral cloning, a pure function of policy and batch.

    Attributes:
        ent_weight: weight of the entropy bonus.
        l2_weight: weight of the L2 penalty.
    """

    ent_weight: float
    l2_weight: float

    def __call__(self, policy: ActorCriticPolicy, obs: Any, acts: types.AnyTensor) -> BCTrainingMetrics:
        """The loss, with its graph, and what it consists of.

        Args:
            policy: the policy to train.
            obs: `(batch, *obs_shape)`, tensor or array, a dict of them, or a `DictObs`.
            acts: `(batch, *act_shape)`, as the policy's `evaluate_actions` takes them.
        """
        obs = types.map_maybe_dict(
            lambda x: util.safe_to_tensor(x, device=policy.device), types.maybe_unwrap_dictobs(obs)
        )
        acts = util.safe_to_tensor(acts, device=policy.device)
        loss, log_prob, entropy, l2_norm = self._terms(policy, obs, acts)
        with th.no_grad():
            l2_norm = _l2_norm(policy) if l2_norm is None else l2_norm.detach()
            entropy = None if entropy is None else entropy.detach()
            ent_loss = loss.new_zeros(()) if entropy is None else -self.ent_weight * entropy
            return BCTrainingMetrics(
                neglogp=-log_prob.mean(),
                entropy=entropy,
                ent_loss=ent_loss,
                prob_true_act=log_prob.exp().mean(),
                l2_norm=l2_norm,
                l2_loss=self.l2_weight * l2_norm,
                loss=loss,
            )

    def loss(self, policy: ActorCriticPolicy, obs: Any, acts: th.Tensor) -> th.Tensor:
        """`self(...).loss` for tensors, without the metrics' cost."""
        return self._terms(policy, obs, acts)[0]

    def _terms(
        self, policy: ActorCriticPolicy, obs: Any, acts: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor | None, th.Tensor | None]:
        log_prob, entropy = log_prob_and_entropy(policy, obs, acts)
        loss = -log_prob.mean()
        l2_norm = None
        if self.ent_weight and entropy is not None:
            loss = loss - self.ent_weight * entropy
        if self.l2_weight:
            l2_norm = _l2_norm(policy)
            loss = loss + self.l2_weight * l2_norm
        return loss, log_prob, entropy, l2_norm


def _l2_norm(policy: ActorCriticPolicy) -> th.Tensor:
    return 0.5 * sum(w.square().sum() for w in policy.parameters())  # type: ignore[return-value]


def reconstruct_policy(policy_path: types.AnyPath, device: th.device | str = "auto") -> ActorCriticPolicy:
    """Loads a policy saved by `util.save_policy`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or a pickle, which could run code and is never opened.
        TypeError: the file holds a policy of another kind.
    """
    policy = load_policy_file(policy_path, device=device)
    if not isinstance(policy, ActorCriticPolicy):
        raise TypeError(f"{policy_path!r} holds a {type(policy).__name__}, expected an ActorCriticPolicy.")
    return policy


class BC(saved.Saved, base.DemonstrationAlgorithm):
    """Behavioral cloning.

    Args:
        observation_space: of the environment.
        action_space: of the environment.
        rng: draws the initial weights, the order of the batches and the validation split.
        policy: the policy to train, in place, such as `ppo.policy`; None makes a `FeedForward32Policy`.
        demonstrations: transitions, trajectories, or batches of `minibatch_size` transitions.
        batch_size: transitions per update.
        minibatch_size: transitions that go through the network at once, a divisor of `batch_size`; gradients add up
            to the batch's. None means `batch_size`.
        optimizer_cls: the optimizer of all the policy's parameters.
        optimizer_kwargs: its arguments besides the parameters. Adam, AdamW and SGD run fused unless you choose.
        ent_weight: weight of the entropy bonus.
        l2_weight: weight of the L2 penalty.
        device: where to train. "auto" takes a given policy's device, for a new policy a GPU if there is one.
        custom_logger: where metrics go.
        regularizer_factory: from `imitation_lab.regularization`, such as `LpRegularizer.create(...)`. If it needs
            validation data, `train` holds out its `val_split` and calls `update_params` after each epoch.
        loss_calculator: `(policy, obs, acts) -> metrics` in place of the usual loss: `BCTrainingMetrics`, or any
            mapping of scalar tensors with a `loss`. `ent_weight` and `l2_weight` then go unused, and the
            policy needs no likelihood.

    Attributes:
        observation_space: as given.
        action_space: as given.
        rng: as given.
        optimizer: the optimizer.
        loss_calculator: the loss.
        batch_size: as given.
        minibatch_size: as given or `batch_size`.
        regularizer: what the factory made, or None.
        interrupted: whether the last training was.

    Raises:
        TypeError: if `rng` is no Generator, or `policy` has no `evaluate_actions` and no `loss_calculator` is given.
        ValueError: if sizes do not fit, spaces are not supported or differ from the policy's, or the demonstrations
            are empty, fewer than a batch, not finite, or outside of the spaces.
    """

    _learned = ("policy", "optimizer", "regularizer", "rng", "_bc_logger")
    _state = (*_learned, "_demonstrations")

    def __init__(
        self,
        *,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        rng: np.random.Generator,
        policy: ActorCriticPolicy | None = None,
        demonstrations: base.AnyTransitions | None = None,
        batch_size: int = 32,
        minibatch_size: int | None = None,
        optimizer_cls: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: Mapping[str, Any] | None = None,
        ent_weight: float = 1e-3,
        l2_weight: float = 0.0,
        device: str | th.device = "auto",
        custom_logger: lab_logger.AnyLogger | None = None,
        regularizer_factory: RegularizerFactory[Regularizer] | None = None,
        loss_calculator: LossCalculator | None = None,
    ) -> None:
        checks.generator(rng)
        check_supported(observation_space, action_space)
        checks.integers(1, batch_size=batch_size)
        self.batch_size = batch_size
        self.minibatch_size = batch_size if minibatch_size is None else minibatch_size
        if self.minibatch_size < 1 or batch_size % self.minibatch_size:
            raise ValueError(
                f"batch_size must be a multiple of minibatch_size, got {batch_size} and {self.minibatch_size}."
            )
        self.observation_space = observation_space
        self.action_space = action_space
        self.rng = rng
        self.loss_calculator = loss_calculator or BehaviorCloningLossCalculator(ent_weight, l2_weight)
        self._policy = self._make_policy(device) if policy is None else self._given_policy(policy, device)
        kwargs = dict(optimizer_kwargs or {})
        if kwargs.get("weight_decay"):  # 0 turns off that of AdamW, which decays on its own
            raise ValueError("optimizer_kwargs has weight_decay: use l2_weight, or a WeightDecayRegularizer, instead.")
        self.optimizer = learner.optimizer_of(optimizer_cls, self._policy.parameters(), kwargs)
        self.regularizer_factory = regularizer_factory
        self.regularizer: Regularizer | None = None
        self._data: TransitionTensors | GroupedStream | None = None
        self._split: tuple[float, th.Tensor] | None = None  # the fraction held out, and a permutation: first those rows
        super().__init__(demonstrations=demonstrations, custom_logger=custom_logger)
        self._bc_logger = BCLogger(self.logger)
        if regularizer_factory is not None:
            self.regularizer = regularizer_factory(optimizer=self.optimizer, logger=self.logger)

    def _make_policy(self, device: str | th.device) -> ActorCriticPolicy:
        nested = isinstance(self.observation_space, spaces.Dict)
        with base.seeded_torch(self.rng):
            policy = FeedForward32Policy(
                self.observation_space,
                self.action_space,
                lr_schedule=ConstantSchedule(1e-3),  # of the policy's own optimizer, which BC leaves alone
                features_extractor_class=CombinedExtractor if nested else FlattenExtractor,
            )
        return policy.to(get_device(device))

    def _given_policy(self, policy: ActorCriticPolicy, device: str | th.device) -> ActorCriticPolicy:
        if not hasattr(policy, "evaluate_actions") and type(self.loss_calculator) is BehaviorCloningLossCalculator:
            raise TypeError(
                f"policy is a {type(policy).__name__}, expected an actor-critic policy with evaluate_actions(obs, "
                "acts): for SB3 models pass model.policy of PPO or A2C. Any policy will do with a loss_calculator."
            )
        if policy.observation_space not in (self.observation_space, channels_first(self.observation_space)):
            raise ValueError(
                f"policy was made for observations in {policy.observation_space}, but observation_space is "
                f"{self.observation_space}."
            )
        if policy.action_space != self.action_space:
            raise ValueError(
                f"policy was made for actions in {policy.action_space}, but action_space is {self.action_space}."
            )
        return policy if device == "auto" else policy.to(get_device(device))

    @property
    def policy(self) -> ActorCriticPolicy:
        """The policy being trained."""
        return self._policy

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        self._bc_logger._logger = logger
        if self.regularizer is not None:
            self.regularizer.logger = logger

    def set_demonstrations(self, demonstrations: base.AnyTransitions) -> None:
        """Checks the demonstrations against the spaces and moves them to the policy's device.

        Args:
            demonstrations: transitions, trajectories, or batches of `minibatch_size` transitions.

        Raises:
            TypeError: if they are no demonstrations.
            ValueError: if they are empty, fewer than a batch, not finite, of other shapes, or outside of the spaces.
        """
        data = self._tensors(demonstrations)
        if isinstance(data, base.TransitionTensors):
            data.batches(self.batch_size)  # complains about fewer transitions than a batch
            self._data = data
        else:
            n = self.batch_size // self.minibatch_size
            prepare = lambda batch: {**batch, "acts": policy_actions(self.policy, batch["acts"])}
            self._data = GroupedStream(data, n, prepare)
        self._split = None

    def _tensors(self, demonstrations: base.AnyTransitions) -> base.TransitionTensors | base.BatchStream:
        spec = base.TensorSpec(("obs", "acts"), self.policy.device, self.policy.observation_space, self.action_space)
        data = base.demonstration_tensors(demonstrations, spec, self.minibatch_size)
        if isinstance(data, base.TransitionTensors):
            data.fields["acts"] = policy_actions(self.policy, data["acts"])
        return data

    def _arguments(self) -> dict[str, Any]:
        return {**super()._arguments(), "optimizer_cls": type(self.optimizer)}  # its options come back with its state

    def save(self, path: types.AnyPath) -> pathlib.Path:
        """As `Saved.save`; beside the checkpoint is the policy, `policy.safetensors`, for `reconstruct_policy`.

        Demonstrations that come as batches are not saved.

        Raises:
            TypeError: if the policy cannot be expressed as data.
        """
        save_policy(self.policy, self._file(path).with_name(POLICY_FILE))
        return super().save(path)

    @classmethod
    def load(cls, path: types.AnyPath, venv: Any = None, *, bc_trainer: BC | None = None, **given: Any) -> BC:
        """As `Saved.load`; or with `bc_trainer`, built as in the run, as its `restore`."""
        if bc_trainer is None:
            return super().load(path, venv, **given)
        if given.get("custom_logger") is not None:
            bc_trainer.logger = lab_logger.as_logger(given["custom_logger"])
        return bc_trainer.restore(path)

    @property
    def _demonstrations(self) -> dict[str, Any]:
        batches = isinstance(self._data, GroupedStream)
        fields = self._data.fields if isinstance(self._data, TransitionTensors) else {}
        fraction, order = self._split or (None, None)
        return {"batches": batches, "fields": fields, "fraction": fraction, "held_out": order}

    @_demonstrations.setter
    def _demonstrations(self, saved: dict[str, Any]) -> None:
        if saved["batches"] and self._data is None:
            raise ArtifactError("the run's demonstrations came as batches, which are not saved: pass demonstrations=")
        if not saved["fields"]:
            return
        # Actions are as the policy takes them already.
        spec = TensorSpec(("obs", "acts"), self.policy.device, self.policy.observation_space)
        with checkpoint.damage_told("the checkpoint's demonstrations do not fit"):
            self._data, self._split = TransitionTensors(spec.tensors(saved["fields"])), None
            if saved["fraction"] is not None:
                self._split = float(saved["fraction"]), th.as_tensor(saved["held_out"])
                if sorted(self._split[1].tolist()) != list(range(len(self._data))):
                    raise ValueError("their split is no permutation of them")

    def train(
        self,
        *,
        n_epochs: int | None = None,
        n_batches: int | None = None,
        on_epoch_end: Callable[[], Any] | None = None,
        on_batch_end: Callable[[], Any] | None = None,
        log_interval: int = 500,
        log_rollouts_venv: VecEnv | None = None,
        log_rollouts_n_episodes: int = 5,
        progress_bar: bool = True,
        reset_tensorboard: bool = False,
        validation_fraction: float | None = None,
        early_stop_patience: int | None = None,
        lr_schedule: Callable[[float], float] | None = None,
        stop: threading.Event | None = None,
    ) -> History:
        """Trains the policy. Give exactly one of `n_epochs` and `n_batches`.

        An interrupt (Ctrl-C, a notebook's stop button) ends training after a line in the log; policy, optimizer and
        history stay usable, and `train` may be called again. With the same seeds two runs on a CPU are bit-equal.

        Args:
            n_epochs: passes over the demonstrations.
            n_batches: updates.
            on_epoch_end: called after each epoch; training stops if it returns False.
            on_batch_end: called after each update; training stops if it returns False.
            log_interval: updates from one log entry to the next.
            log_rollouts_venv: environments for episodes at each log entry; None rolls out nothing.
            log_rollouts_n_episodes: how many episodes.
            progress_bar: whether to show progress, with the loss and the rate.
            reset_tensorboard: whether logged steps start at 0 again.
            validation_fraction: fraction of the transitions, drawn at random once per set of demonstrations, that is
                held out; the loss on it is logged after each epoch. None: what the regularizer asks for, or none.
            early_stop_patience: stop after so many epochs without a better validation loss. The policy then goes back
                to its best weights, however training ended.
            lr_schedule: maps the progress remaining, from 1 to 0, to the learning rate, as in SB3. Afterwards the
                optimizer has its own rates again.
            stop: training ends after the update during which this event is set, as by a button.

        Returns:
            One dictionary per log entry (batch, epoch, samples_so_far, the fields of `BCTrainingMetrics` of that
            batch, rollout/*) and per validation (batch, epoch, samples_so_far, val_loss, val_neglogp,
            val_prob_true_act and train_loss, the epoch's mean): `pandas.DataFrame(history)` makes a table of it.

        Raises:
            ValueError: before training, if arguments contradict each other or there are no demonstrations.
        """
        if self._data is None:
            raise ValueError("There are no demonstrations: pass them to BC or to set_demonstrations before train.")
        checks.at_least(1, log_interval=log_interval)
        train_data, val_data = self._training_and_validation(validation_fraction)
        if early_stop_patience is not None and (val_data is None or early_stop_patience < 1):
            raise ValueError(
                f"early_stop_patience={early_stop_patience} must be at least 1 and needs a validation_fraction, such "
                "as 0.1."
            )
        loader: Iterable[Mapping[str, Any]]
        if isinstance(train_data, TransitionTensors):
            generator = th.Generator().manual_seed(util.make_seeds(self.rng))
            loader = train_data.batches(self.batch_size, generator=generator)
        else:
            loader = train_data
        validation = None
        if val_data is not None:
            assert isinstance(train_data, TransitionTensors)
            validation = Validation(
                self.policy, self.loss_calculator, train_data, val_data, self.regularizer, early_stop_patience
            )
        history: History = []
        position = {"batch": 0, "epoch": 0, "samples_so_far": 0}
        ended = unlogged = False

        def validate() -> None:
            nonlocal unlogged
            if validation is not None:
                row = validation()
                self._bc_logger.log_metrics(row)
                history.append({**position, **row})
                unlogged = True

        def end_epoch(epoch: int) -> None:
            nonlocal ended
            validate()
            position["epoch"] = epoch + 1
            refused = on_epoch_end is not None and on_epoch_end() is False
            ended = refused or (validation is not None and validation.ended)

        batches = BatchIteratorWithEpochEndCallback(loader, n_epochs, n_batches, end_epoch)
        if n_batches is None and isinstance(loader, base.TensorLoader):
            n_batches = len(loader) * n_epochs  # type: ignore[operator]
        if lr_schedule is not None and n_batches is None:
            raise ValueError("lr_schedule needs the number of updates: pass n_batches for ready-made batches.")
        if reset_tensorboard:
            self._bc_logger.reset_tensorboard_steps()
        rollout_stats = RolloutStatsComputer(log_rollouts_venv, log_rollouts_n_episodes)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        done = 0
        try:
            with (
                Run(self, n_batches, "batch", progress_bar, stop) as run,
                base.seeded_torch(self.rng),
                networks.training(self.policy),
            ):
                for (number, size, samples), batch in enumerate_batches(batches):
                    if ended:
                        break
                    position.update(batch=number, samples_so_far=samples)
                    if lr_schedule is not None:
                        self._set_rates([lr_schedule(1 - number / n_batches)] * len(rates))  # type: ignore[operator]
                    log = number % log_interval == 0
                    loss, metrics = self._update(batch, size, with_metrics=log)
                    done = number + 1
                    if validation is not None:
                        validation.losses.append(loss)
                    if log:
                        values, stats = metrics_mean(metrics), rollout_stats(self.policy, self.rng)
                        self._bc_logger.log_epoch(position["epoch"])
                        self._bc_logger.log_batch(number, size, samples, values, stats)
                        unlogged = False
                        history.append({**position, **values, **{f"rollout/{k}": v for k, v in stats.items()}})
                    if not run.step(1, on_batch_end and on_batch_end(), loss=loss):
                        break
                if validation is not None and validation.losses:
                    validate()  # an epoch begun
                if unlogged:
                    self._bc_logger.flush(position["batch"])
        finally:
            self._bc_logger.end(done)
            self._set_rates(rates)
            if validation is not None:
                validation.restore_best()
        return history

    def _update(self, batch: Mapping[str, Any], size: int, *, with_metrics: bool) -> tuple[th.Tensor, list[Metrics]]:
        """One optimizer step; the detached loss, and the metrics of each minibatch if wanted."""
        pieces = [batch] if size <= self.minibatch_size else tree.split(batch, self.minibatch_size)
        calculate: Any = self.loss_calculator
        own = type(calculate) is BehaviorCloningLossCalculator
        metrics: list[Metrics] = []
        losses = []
        self.optimizer.zero_grad()
        for i, piece in enumerate(pieces):
            if own and not with_metrics:
                loss = calculate.loss(self.policy, piece["obs"], piece["acts"])
            else:
                metrics.append(calculate(self.policy, piece["obs"], piece["acts"]))
                loss = loss_of(metrics[-1])
            if len(pieces) > 1:
                loss = loss / len(pieces)  # pieces are of one size
            if self.regularizer is None:
                loss.backward()
            elif len(pieces) == 1:
                self.regularizer.regularize_and_backward(loss)
            else:
                self.regularizer.regularize_and_backward(loss, last=i == len(pieces) - 1)
            losses.append(loss.detach())
        self.optimizer.step()
        return losses[0] if len(losses) == 1 else th.stack(losses).sum(), metrics

    def _set_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _training_and_validation(
        self, fraction: float | None
    ) -> tuple[TransitionTensors | GroupedStream, TransitionTensors | None]:
        assert self._data is not None
        asked = None if self.regularizer is None else self.regularizer.val_split
        if fraction is None:
            fraction = asked or 0.0
        elif asked is not None and fraction != asked:
            raise ValueError(f"validation_fraction={fraction} contradicts the regularizer's val_split={asked}.")
        if not 0 <= fraction < 1:
            raise ValueError(f"validation_fraction must be in [0, 1), got {fraction}.")
        if fraction == 0:
            return self._data, None
        if not isinstance(self._data, TransitionTensors):
            raise ValueError(
                "A validation split needs demonstrations given as transitions or trajectories, not as batches."
            )
        # One split per set of demonstrations: another one later would validate on what was trained on.
        if self._split is None or self._split[0] != fraction:
            self._split = fraction, th.as_tensor(self.rng.permutation(len(self._data)))
        train, held_out = self._parts()
        if len(train) < self.batch_size:
            raise ValueError(
                f"validation_fraction={fraction} leaves {len(train)} transitions for training, fewer than one batch of "
                f"{self.batch_size}."
            )
        return train, held_out

    def _parts(self) -> tuple[TransitionTensors, TransitionTensors]:
        """What is trained on, and what is held out."""
        assert isinstance(self._data, TransitionTensors)
        assert self._split is not None
        fraction, order = self._split
        n = max(1, round(fraction * len(self._data)))
        return self._data.rows(order[n:]), self._data.rows(order[:n])
