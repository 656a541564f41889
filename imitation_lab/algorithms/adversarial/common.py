"""What GAIL and AIRL share: a discriminator tells the learner from the expert, and the learner is paid to deceive it.

One round of `AdversarialTrainer.train`:

1. The generator, a Stable-Baselines3 algorithm, learns for `gen_train_timesteps` from the reward `reward_train`.
2. The transitions that it met join a ring buffer of `gen_replay_buffer_capacity`.
3. The discriminator takes `n_disc_updates_per_round` steps; each classifies `demo_batch_size` transitions of the expert
   and as many of the ring's.

The discriminator's loss, with D = σ(logit) and label y = 1 for the expert (`losses.discriminator_loss`):

    disc_loss = −mean(y log D + (1 − y) log(1 − D))
"""

import abc
import contextlib
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import base, checkpoint, saved
from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.demonstrations import episode_lengths, sort_out
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.adversarial._checks import (
    check_enough,
    check_has_rows,
    check_reward_net,
    check_sizes,
    sample_rows,
)
from imitation_lab.algorithms.adversarial._generator import LogProbs, make_log_prob, policy_change
from imitation_lab.algorithms.adversarial._metrics import BatchStats, RoundMetrics, column_stds, compute_train_stats
from imitation_lab.algorithms.adversarial._pool import Rows, SamplePool, TransitionEncoder, cut, join
from imitation_lab.algorithms.adversarial._reports import Reports
from imitation_lab.algorithms.adversarial.losses import discriminator_loss
from imitation_lab.algorithms.adversarial.penalties import Penalty, penalties_of
from imitation_lab.data import rollout, types, wrappers
from imitation_lab.data.spaces import check_supported
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.util import logger as lab_logger
from imitation_lab.util import networks, util
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

__all__ = ["AdversarialTrainer", "compute_train_stats"]

Samples = types.Transitions | Mapping[str, Any]
# A row of history covers at least so many timesteps, where rounds are as short as off-policy ones.
_HISTORY_TIMESTEPS = 256
_MAX_PENDING_UPDATES = 256


class AdversarialTrainer(Reports, saved.Saved, base.DemonstrationAlgorithm):
    """Base of GAIL and AIRL.

    To begin with a behavioral clone, copy its weights into a generator of the same policy class:
    `gen_algo.policy.load_state_dict(bc_trainer.policy.state_dict())`.

    Args:
        demonstrations: the expert's, in any form `DemonstrationAlgorithm` takes; None to set them later.
        demo_batch_size: transitions of the expert in one update, and as many of the learner.
        venv: environments to learn in, without normalizing or reward wrappers.
        gen_algo: the generator: PPO, A2C, SAC, TD3, DQN or alike, built with as many environments. It is changed.
        reward_net: the discriminator's network, on the generator's device. It is changed.
        demo_minibatch_size: how many of each kind go through the network at once; gradients add up to those of the
            whole batch. Must divide `demo_batch_size`, its default.
        n_disc_updates_per_round: updates of the discriminator in a round.
        log_dir: folder of TensorBoard's files.
        disc_opt_cls: optimizer of the discriminator.
        disc_opt_kwargs: its arguments, such as `lr`.
        gen_train_timesteps: environment steps of the generator in a round, rounded up to whole rollouts of it; by
            default one, which is n_steps × n_envs on-policy, train_freq × n_envs off-policy.
        gen_replay_buffer_capacity: how many of the learner's transitions the discriminator samples from, the latest;
            by default `gen_train_timesteps`, and off-policy at least `demo_batch_size`.
        custom_logger: where metrics go.
        init_tensorboard: whether metrics and histograms of the logits go to TensorBoard.
        init_tensorboard_graph: whether the network's graph does too.
        debug_use_ground_truth: trains the generator on the environment's own reward, which shows whether it can learn
            at all.
        allow_variable_horizon: whether episodes may differ in length.
        rng: draws batches; by default a freshly seeded generator.
        disc_warmup_rounds: rounds at the beginning in which the generator acts, and only the discriminator learns. A
            generator that learns fast from a reward that knows nothing yet may lose its entropy for good.
        penalties: terms added to the discriminator's loss, see `penalties`.
        record_logits: how many logits of each kind every row of `history` keeps, for histograms.

    Attributes:
        venv: as given.
        gen_algo: as given; and so are demo_batch_size, demo_minibatch_size and gen_train_timesteps, or their defaults.
        venv_buffering: `venv` in a `BufferingWrapper`.
        venv_train: what the generator learns in: `venv_buffering` with the learned rewards.
        history: one row of metrics per round (several short rounds share one), see `_metrics`; a row is also what
            `on_round` gets.
        on_round: called with each new row of `history`.

    Raises:
        TypeError: if `gen_algo` or `reward_net` is of no such kind.
        ValueError: if anything does not fit: the text says what and how to mend it.
    """

    _name: ClassVar[str] = "AdversarialTrainer"
    _needs_log_prob: ClassVar[bool] = False
    _state = (
        "_reward_net", "_disc_opt", "gen_algo", "_pool", "_rng", "_generator", "_global_step", "_disc_step", "_rounds",
        "_span", "_horizon", "_expert_ep_len", "_has_batches", "history",
    )  # fmt: skip

    def __init__(
        self,
        *,
        demonstrations: base.AnyTransitions | None,
        demo_batch_size: int,
        venv: VecEnv,
        gen_algo: BaseAlgorithm,
        reward_net: RewardNet,
        demo_minibatch_size: int | None = None,
        n_disc_updates_per_round: int = 2,
        log_dir: AnyPath = "output/",
        disc_opt_cls: type[th.optim.Optimizer] = th.optim.Adam,
        disc_opt_kwargs: Mapping[str, Any] | None = None,
        gen_train_timesteps: int | None = None,
        gen_replay_buffer_capacity: int | None = None,
        custom_logger: lab_logger.AnyLogger | None = None,
        init_tensorboard: bool = False,
        init_tensorboard_graph: bool = False,
        debug_use_ground_truth: bool = False,
        allow_variable_horizon: bool = False,
        rng: np.random.Generator | None = None,
        disc_warmup_rounds: int = 0,
        penalties: Sequence[Penalty] = (),
        record_logits: int = 0,
    ):
        check_sizes(
            demo_batch_size=demo_batch_size,
            demo_minibatch_size=demo_minibatch_size,
            n_disc_updates_per_round=n_disc_updates_per_round,
            gen_train_timesteps=gen_train_timesteps,
            gen_replay_buffer_capacity=gen_replay_buffer_capacity,
            disc_warmup_rounds=disc_warmup_rounds,
        )
        learner.check_venv("venv", venv)
        learner.check_learner("gen_algo", gen_algo, venv, relabelled=not debug_use_ground_truth)
        check_reward_net(reward_net, venv, gen_algo)
        check_supported(venv.observation_space, venv.action_space)
        self._log_prob: LogProbs | None = None
        if self._needs_log_prob:
            self._log_prob = LogProbs(make_log_prob(gen_algo, self._name), gen_algo.policy)
        self.demo_batch_size = demo_batch_size
        self.demo_minibatch_size = demo_minibatch_size or demo_batch_size
        self.n_disc_updates_per_round = n_disc_updates_per_round
        self.venv = venv
        self.gen_algo = gen_algo
        rollout_steps = learner.rollout_steps(gen_algo)
        self.gen_train_timesteps = learner.whole_steps(
            gen_algo, "gen_train_timesteps", max(gen_train_timesteps or 1, rollout_steps)
        )
        self.debug_use_ground_truth = debug_use_ground_truth
        self.disc_warmup_rounds = disc_warmup_rounds
        self.penalties = tuple(penalties)
        self.history: list[dict[str, Any]] = []
        self.on_round: Callable[[dict[str, Any]], object] | None = None
        self._reward_net = reward_net
        self._rng = np.random.default_rng() if rng is None else rng
        policy_space = gen_algo.observation_space if self._needs_log_prob else None
        self._encoder = TransitionEncoder(reward_net, venv.observation_space, venv.action_space, policy_space)
        self._generator = th.Generator().manual_seed(util.make_seeds(self._rng))
        capacity = gen_replay_buffer_capacity or self.gen_train_timesteps
        if gen_replay_buffer_capacity is None and isinstance(gen_algo, OffPolicyAlgorithm):
            capacity = max(capacity, demo_batch_size)  # a round has few steps: a batch would be copies of them
        self._pool = SamplePool(self._encoder.template, capacity, self._generator)
        self._expert_batches: Any = None
        self._has_batches = False
        self._expert_stds: dict[str, th.Tensor] | None = None
        self._expert_ep_len = float("nan")
        super().__init__(
            demonstrations=demonstrations,
            custom_logger=custom_logger,
            allow_variable_horizon=allow_variable_horizon,
        )
        device = reward_net.device
        self._labels = th.cat([th.ones(demo_batch_size), th.zeros(demo_batch_size)]).to(device)
        half = self.demo_minibatch_size
        self._piece_labels = th.cat([th.ones(half), th.zeros(half)]).to(device, reward_net.dtype)
        self._metrics = RoundMetrics(self._labels, record_logits)
        self._disc_opt_kwargs = dict(disc_opt_kwargs or {})
        self._disc_opt = learner.optimizer_of(disc_opt_cls, reward_net.parameters(), self._disc_opt_kwargs)
        self._global_step = 0
        self._disc_step = 0
        self._rounds = 0
        self._span: tuple[int, int] | None = None
        self._resumed = False
        self._writer = self._make_writer(log_dir, init_tensorboard or init_tensorboard_graph)
        self._graph_pending: bool = init_tensorboard_graph
        self.venv_buffering = wrappers.BufferingWrapper(venv)
        self._venv_wrapped = RewardVecEnvWrapper(self.venv_buffering, self._reward_and_record)
        self.venv_train: VecEnv = self.venv_buffering if debug_use_ground_truth else self._venv_wrapped
        self._hold()

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        self.gen_algo.set_logger(logger)

    @property
    def policy(self) -> BasePolicy:
        """The generator's policy."""
        policy = self.gen_algo.policy
        assert policy is not None
        return policy

    @abc.abstractmethod
    def logits_expert_is_high(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: th.Tensor,
        log_policy_act_prob: th.Tensor | None = None,
    ) -> th.Tensor:
        """The discriminator's logits, differentiable: high for the expert.

        Args:
            state: as `RewardNet.preprocess` gives it, `(batch, *obs_shape)`.
            action: likewise.
            next_state: likewise.
            done: shape `(batch,)`.
            log_policy_act_prob: log π(a|s) of the generator, `(batch,)`, where the algorithm needs it.

        Returns:
            Shape `(batch,)`.
        """

    @property
    @abc.abstractmethod
    def reward_train(self) -> RewardNet:
        """The reward that the generator learns from, by `predict_processed`."""

    @property
    @abc.abstractmethod
    def reward_test(self) -> RewardNet:
        """The reward that is the result, to train other policies with."""

    def set_demonstrations(self, demonstrations: base.AnyTransitions) -> None:
        """Sets the expert's demonstrations, which become tensors once.

        Raises:
            ValueError: if they do not fit the spaces, are fewer than a batch, or their episodes differ in length.
            TypeError: if they are of no known kind.
        """
        _, demonstrations = sort_out(demonstrations)
        lengths = episode_lengths(demonstrations)
        self._check_horizons(lengths)
        found = base.demonstration_tensors(demonstrations, self._encoder.spec, self.demo_batch_size)
        self._expert_ep_len = float(np.mean(lengths)) if lengths else float("nan")
        self._has_batches = isinstance(found, base.BatchStream)
        if isinstance(found, base.BatchStream):
            self._expert_batches = util.endless_iter(found)
            rows = self._encoder.encode(next(self._expert_batches))
        else:
            self._expert_batches = None
            check_enough(len(found), self.demo_batch_size)
            rows = self._encoder.encode(found.fields)
        self._pool.set_expert(rows)
        self._expert_stds = column_stds(rows)

    def _arguments(self) -> dict[str, Any]:
        return {
            **super()._arguments(),
            "reward_net": self._reward_net,
            "disc_opt_cls": type(self._disc_opt),
            "disc_opt_kwargs": self._disc_opt_kwargs,
            "gen_replay_buffer_capacity": self._pool.capacity,
            "record_logits": self._metrics.record_logits,
            "rng": self._rng,
        }

    def save(self, path: AnyPath) -> pathlib.Path:
        """As `Saved.save`, at the end of a round: before or after `train`, or in its callback."""
        if self.venv_buffering.n_transitions:
            self._store_generated()
        self._end_rounds()
        return super().save(path)

    def _fits(self) -> None:
        self._resumed = True
        if self._has_batches and self._expert_batches is None:
            raise ArtifactError("the run's demonstrations came as batches, which a checkpoint does not hold: pass them")
        if self._pool.n_expert:
            self._expert_stds = column_stds(self._pool.rows(self._pool.expert))

    def _begin_anew(self) -> None:
        checkpoint.new_boundary(self.gen_algo, self.venv, lambda: util.make_seeds(self._rng))

    def _hold(self) -> None:
        """Makes sure that the generator learns here, whatever had it before or since."""
        learner.take(
            self.gen_algo, self.venv_train, self.logger, None if self.debug_use_ground_truth else self._relabel
        )

    def train_gen(self, total_timesteps: int | None = None, learn_kwargs: Mapping[str, Any] | None = None) -> None:
        """Lets the generator learn, and keeps what it met for the discriminator.

        Args:
            total_timesteps: rounded up to whole rollouts of the generator; by default `gen_train_timesteps`.
            learn_kwargs: for the `learn` of the generator, in which `reset_num_timesteps` is False by default.

        Raises:
            ValueError: if `total_timesteps` is less than a rollout, or finished episodes differ in length, unless
                `allow_variable_horizon`.
        """
        steps = self.gen_train_timesteps if total_timesteps is None else total_timesteps
        learner.whole_steps(self.gen_algo, "total_timesteps", steps)
        self._hold()
        kwargs: dict[str, Any] = {"reset_num_timesteps": False, **(learn_kwargs or {})}
        callback = learner.callback_list(kwargs.pop("callback", None), self._venv_wrapped.make_log_callback())
        with self.logger.accumulate_means("gen"):
            self.gen_algo.learn(total_timesteps=steps, callback=callback, **kwargs)
        self._global_step += 1
        self._metrics.rounds += 1
        self._metrics.generator = policy_change(self.gen_algo)
        self._store_generated()

    def _store_generated(self) -> None:
        if self.venv_buffering.n_transitions == 0:
            return
        trajectories, lengths = self.venv_buffering.pop_trajectories()
        for trajectory in trajectories:
            if trajectory.terminal and trajectory.infos is not None:
                episode = trajectory.infos[-1].get("episode", {})
                self._metrics.episodes.append((episode.get("r", np.nan), episode.get("l", len(trajectory))))
        self._check_horizons(lengths)
        transitions = rollout.flatten_trajectories(trajectories)
        self._pool.add(self._encoder.rows({name: getattr(transitions, name) for name in self._encoder.spec.fields}))  # type: ignore[union-attr]

    def train_disc(
        self, *, expert_samples: Samples | None = None, gen_samples: Samples | None = None
    ) -> Mapping[str, float]:
        """One update of the discriminator.

        Args:
            expert_samples: `demo_batch_size` transitions (obs, acts, next_obs, dones); by default the next batch.
            gen_samples: as many of the learner's; by default drawn from those it met latest.

        Returns:
            The metrics of `compute_train_stats` and `global_step`, computed when they are looked at.

        Raises:
            NotReadyError: a ValueError, if there are no demonstrations, or none of the learner's transitions yet.
            ValueError: if the samples are not `demo_batch_size` in number or do not fit the spaces.
        """
        given = [
            None if samples is None else sample_rows(name, samples, self._encoder, self.demo_batch_size)
            for name, samples in (("expert_samples", expert_samples), ("gen_samples", gen_samples))
        ]
        logits, loss = self._update(*given)
        if self._metrics.updates >= _MAX_PENDING_UPDATES:
            self._end_rounds()
        return BatchStats(logits, self._labels, loss, self._global_step)

    def _update(self, expert: Rows | None = None, learner: Rows | None = None) -> tuple[th.Tensor, th.Tensor]:
        """One optimizer step; returns the detached logits, the expert's first, and the loss."""
        size, piece, pool = self.demo_batch_size, self.demo_minibatch_size, self._pool
        if expert is None:
            check_has_rows(pool.n_expert, "demonstrations", "set_demonstrations()")
            expert_index = self._next_expert_index()
        if learner is None:
            check_has_rows(pool.size, "transitions of the learner", "train_gen()")
            learner_index = pool.learner_index(size)
        scale = piece / size
        all_logits, losses = [], []
        self._disc_opt.zero_grad()
        with networks.training(self._reward_net):
            for i in range(0, size, piece):
                part = slice(i, i + piece)
                index = None
                if expert is None and learner is None:
                    index = th.cat([expert_index[part], learner_index[part]])
                    rows = pool.rows(index)
                else:
                    rows = join(
                        pool.rows(expert_index[part]) if expert is None else cut(expert, part),
                        pool.rows(learner_index[part]) if learner is None else cut(learner, part),
                    )
                logits, loss = self._piece_loss(rows, index)
                (loss if scale == 1 else loss * scale).backward()
                all_logits.append(logits.detach())
                losses.append(loss.detach())
        self._disc_opt.step()
        self._disc_step += 1
        if len(losses) > 1:
            halves = [piece_logits.chunk(2) for piece_logits in all_logits]
            all_logits = [th.cat([half[k] for half in halves]) for k in (0, 1)]
            logits, loss = th.cat(all_logits), th.stack(losses).mean()
        else:
            logits, loss = all_logits[0], losses[0]
        self._metrics.add(logits, loss)
        return logits, loss

    def _piece_loss(self, rows: Rows, index: th.Tensor | None) -> tuple[th.Tensor, th.Tensor]:
        inputs = self._encoder.inputs(rows)
        log_prob = None
        if self._log_prob is not None and index is not None:
            log_prob = self._log_prob.of_pool(self._pool, self._encoder, index, rows)
        elif self._log_prob is not None:
            log_prob = self._log_prob(*self._encoder.policy_inputs(rows))
        logits = self.logits_expert_is_high(*inputs, log_prob)
        loss, _ = discriminator_loss(logits, self._piece_labels, metrics=False)
        if self.penalties:
            loss = loss + penalties_of(self.penalties, self._reward_net, inputs)
        return logits, loss

    def _next_expert_index(self) -> th.Tensor:
        if self._expert_batches is None:
            return self._pool.expert_index(self.demo_batch_size)
        if self._disc_step:  # the first batch is there since set_demonstrations
            self._pool.write_expert(self._encoder.encode(next(self._expert_batches)))
        return th.arange(self.demo_batch_size)

    def train(
        self,
        total_timesteps: int,
        callback: Callable[[int], object] | None = None,
        *,
        progress_bar: bool = True,
        stop: threading.Event | None = None,
    ) -> None:
        """Trains generator and discriminator in turn.

        Schedules of the generator, such as that of its learning rate, run over the whole of `total_timesteps`.
        An interrupt from the keyboard ends training; all that was learned is kept.

        Args:
            total_timesteps: of the generator; what fills no round is left out.
            callback: called with the number of each round, from 0; it ends training by returning False.
            progress_bar: whether to show one.
            stop: training ends after the round during which this event is set.

        Raises:
            ValueError: if `total_timesteps` is less than a round.
            NotReadyError: a ValueError, if there are no demonstrations.
        """
        n_rounds = total_timesteps // self.gen_train_timesteps
        if n_rounds < 1:
            raise ValueError(
                f"total_timesteps={total_timesteps} is less than one round, which takes gen_train_timesteps="
                f"{self.gen_train_timesteps}. Train longer, or build the trainer with a smaller gen_train_timesteps."
            )
        check_has_rows(self._pool.n_expert, "demonstrations", "set_demonstrations()")
        start = self.gen_algo.num_timesteps
        if not (self._resumed and self._span is not None and start < self._span[1]):
            self._span = (start, start + n_rounds * self.gen_train_timesteps)
        self._resumed = False
        per_row = -(-_HISTORY_TIMESTEPS // self.gen_train_timesteps)
        with (
            Run(self, n_rounds, "round", progress_bar, stop) as run,
            learner.schedules_over(self.gen_algo, *self._span),
            learner.tensorboard(self.gen_algo, self._name, anew=self._rounds == 0),
        ):
            for round_number in range(n_rounds):
                acting = self._rounds < self.disc_warmup_rounds
                with learner.only_acting(self.gen_algo) if acting else contextlib.nullcontext():
                    self.train_gen()
                for _ in range(self.n_disc_updates_per_round):
                    self._update()
                self._rounds += 1
                spent = self.gen_algo.num_timesteps - start  # more than rounds tell, where it acts by episodes
                last = round_number + 1 == n_rounds or spent + self.gen_train_timesteps > total_timesteps
                full = self._rounds % per_row == 0
                if last or full:
                    self._end_rounds()
                going_on = run.step(1, callback and callback(round_number), **self._shown())
                if last or full or not going_on:
                    self.logger.dump(self._global_step)
                if last and going_on:
                    self._span = None
                if last or not going_on:
                    break

    def _recover(self) -> None:
        """Leaves the environments in the middle of a step behind."""
        with contextlib.suppress(ValueError):
            self._store_generated()
        self.gen_algo._last_obs = None
        self._disc_opt.zero_grad()

    def _reward_and_record(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        rewards = self.reward_train.predict_processed(state, action, next_state, done)
        self._metrics.rewards.append(rewards.copy())  # SB3 adds the value of cut-off episodes in place
        return rewards

    def _relabel(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        # Statistics have met these transitions already, when they were made.
        return self.reward_train.predict_processed(state, action, next_state, done, update_stats=False)
