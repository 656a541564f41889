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

import dataclasses
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

from imitation_lab.algorithms import _bc_save, _loaders, _spaces, base
from imitation_lab.algorithms._bc_logging import (
    BatchIteratorWithEpochEndCallback,
    BCLogger,
    BCTrainingMetrics,
    Progress,
    RolloutStatsComputer,
    enumerate_batches,
)
from imitation_lab.algorithms._bc_run import History, TrainingRun
from imitation_lab.algorithms._likelihood import log_prob_and_entropy
from imitation_lab.algorithms._shared import learner
from imitation_lab.data import types
from imitation_lab.policies.base import FeedForward32Policy
from imitation_lab.policies.serialize import load_policy_file
from imitation_lab.regularization.regularizers import Regularizer, RegularizerFactory
from imitation_lab.util import logger as lab_logger
from imitation_lab.util import networks, util

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

LossCalculator = Callable[[ActorCriticPolicy, Any, th.Tensor], BCTrainingMetrics]


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


class BC(_bc_save.Checkpoints, base.DemonstrationAlgorithm):
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
        loss_calculator: `(policy, obs, acts) -> BCTrainingMetrics` in place of the usual loss; `ent_weight` and
            `l2_weight` then go unused.

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
        TypeError: if `rng` is no Generator or `policy` has no `evaluate_actions`.
        ValueError: if sizes do not fit, spaces are not supported or differ from the policy's, or the demonstrations
            are empty, fewer than a batch, not finite, or outside of the spaces.
    """

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
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator, such as np.random.default_rng(0); got {rng!r}.")
        _spaces.check_supported(observation_space, action_space)
        _loaders.check_batch_size(batch_size)
        self.batch_size = batch_size
        self.minibatch_size = batch_size if minibatch_size is None else minibatch_size
        if self.minibatch_size < 1 or batch_size % self.minibatch_size:
            raise ValueError(
                f"batch_size must be a multiple of minibatch_size, got {batch_size} and {self.minibatch_size}."
            )
        self.observation_space = observation_space
        self.action_space = action_space
        self.rng = rng
        self._policy = self._make_policy(device) if policy is None else self._given_policy(policy, device)
        kwargs = dict(optimizer_kwargs or {})
        if kwargs.get("weight_decay"):  # 0 turns off that of AdamW, which decays on its own
            raise ValueError("optimizer_kwargs has weight_decay: use l2_weight, or a WeightDecayRegularizer, instead.")
        self.optimizer = learner.optimizer_of(optimizer_cls, self._policy.parameters(), kwargs)
        self.loss_calculator = loss_calculator or BehaviorCloningLossCalculator(ent_weight, l2_weight)
        self.regularizer: Regularizer | None = None
        self.interrupted = False
        self._data: _loaders.TransitionTensors | _loaders.GroupedStream | None = None
        self._split: tuple[float, tuple[_loaders.TransitionTensors, _loaders.TransitionTensors]] | None = None
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
        if not hasattr(policy, "evaluate_actions"):
            raise TypeError(
                f"policy is a {type(policy).__name__}, expected an actor-critic policy with evaluate_actions(obs, "
                "acts): for SB3 models pass model.policy of PPO or A2C."
            )
        if policy.observation_space not in (self.observation_space, _spaces.channels_first(self.observation_space)):
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

    @property
    def logger(self) -> lab_logger.HierarchicalLogger:
        """Where metrics go."""
        return self._logger

    @logger.setter
    def logger(self, logger: lab_logger.HierarchicalLogger) -> None:
        self._logger = logger
        self._bc_logger = BCLogger(logger)
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
            prepare = lambda batch: {**batch, "acts": self._policy_acts(batch["acts"])}
            self._data = _loaders.GroupedStream(data, n, prepare)
        self._split = None

    def _tensors(self, demonstrations: base.AnyTransitions) -> base.TransitionTensors | base.BatchStream:
        spec = base.TensorSpec(("obs", "acts"), self.policy.device, self.policy.observation_space, self.action_space)
        data = base.demonstration_tensors(demonstrations, spec, self.minibatch_size)
        if isinstance(data, base.TransitionTensors):
            data.fields["acts"] = self._policy_acts(data["acts"])
        return data

    def _policy_acts(self, acts: th.Tensor) -> th.Tensor:
        """Actions as the policy's distribution takes them: `(n, action_dim)` for `Box`, within [−1, 1] if squashed."""
        if not isinstance(self.action_space, spaces.Box):
            return acts
        if self.policy.squash_output:
            low, high = (th.as_tensor(b, device=acts.device) for b in (self.action_space.low, self.action_space.high))
            acts = 2 * (acts - low) / (high - low) - 1
        return acts.flatten(1)

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
        if log_interval < 1:
            raise ValueError(f"log_interval must be at least 1, got {log_interval}.")
        train_data, val_data = self._training_and_validation(validation_fraction)
        if early_stop_patience is not None and (val_data is None or early_stop_patience < 1):
            raise ValueError(
                f"early_stop_patience={early_stop_patience} must be at least 1 and needs a validation_fraction, such "
                "as 0.1."
            )
        loader: Iterable[Mapping[str, Any]]
        if isinstance(train_data, _loaders.TransitionTensors):
            generator = th.Generator().manual_seed(util.make_seeds(self.rng))
            loader = train_data.batches(self.batch_size, generator=generator)
        else:
            loader = train_data
        run = TrainingRun(self, self._loss(), train_data, val_data, early_stop_patience, on_epoch_end)
        batches = BatchIteratorWithEpochEndCallback(loader, n_epochs, n_batches, run.end_epoch)
        if n_batches is None and isinstance(loader, base.TensorLoader):
            n_batches = len(loader) * n_epochs  # type: ignore[operator]
        if lr_schedule is not None and n_batches is None:
            raise ValueError("lr_schedule needs the number of updates: pass n_batches for ready-made batches.")
        if reset_tensorboard:
            self._bc_logger.reset_tensorboard_steps()
        rollout_stats = RolloutStatsComputer(log_rollouts_venv, log_rollouts_n_episodes)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        progress = Progress(n_batches, progress_bar)
        self.interrupted = False
        try:
            with base.seeded_torch(self.rng), networks.training(self.policy):
                for counts, batch in enumerate_batches(batches):
                    if run.stopped:
                        break
                    number = counts[0]
                    if lr_schedule is not None:
                        self._set_rates([lr_schedule(1 - number / n_batches)] * len(rates))  # type: ignore[operator]
                    loss = run.update(batch, counts, log=number % log_interval == 0, rollout_stats=rollout_stats)
                    progress.update(loss)
                    if on_batch_end is not None and on_batch_end() is False:
                        break
                    if stop is not None and stop.is_set():
                        break
                run.finish()
        except KeyboardInterrupt:
            self.interrupted = True
            self.logger.log("Interrupted: training stops here; the policy keeps what it has learned.")
        finally:
            progress.close()
            self._set_rates(rates)
            run.restore_best()
        return run.history

    def _loss(self) -> Callable[[ActorCriticPolicy, Any, th.Tensor], th.Tensor]:
        calculator = self.loss_calculator
        if type(calculator) is BehaviorCloningLossCalculator:
            return calculator.loss
        # One of the user's, or a subclass, is asked through its call alone.
        return lambda policy, obs, acts: calculator(policy, obs, acts).loss

    def _set_rates(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _training_and_validation(
        self, fraction: float | None
    ) -> tuple[_loaders.TransitionTensors | _loaders.GroupedStream, _loaders.TransitionTensors | None]:
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
        if not isinstance(self._data, _loaders.TransitionTensors):
            raise ValueError(
                "A validation split needs demonstrations given as transitions or trajectories, not as batches."
            )
        # One split per set of demonstrations: another one later would validate on what was trained on.
        if self._split is None or self._split[0] != fraction:
            self._split = (fraction, self._data.split(fraction, self.rng))
        if len(self._split[1][0]) < self.batch_size:
            raise ValueError(
                f"validation_fraction={fraction} leaves {len(self._split[1][0])} transitions for training, fewer than "
                f"one batch of {self.batch_size}."
            )
        return self._split[1]
