"""Preference comparisons: a reward from which of two clips is better, and a policy from that reward.

Christiano et al. 2017, "Deep Reinforcement Learning from Human Preferences". Again and again: sample trajectories, cut
pairs of fragments, ask which is better, fit the reward, train the agent on it.

    P(1 ≻ 2) = σ(Σₜ γᵗ r(s₁ₜ, a₁ₜ) − Σₜ γᵗ r(s₂ₜ, a₂ₜ)),   loss = −Σ [y ln P + (1 − y) ln(1 − P)]

with r the `reward_model`, γ the `discount_factor` of `PreferenceModel`, y the preference.

How this differs from the paper:

1. The three parts take turns; in the paper they run at the same time. `step()` with a `HumanGatherer` comes close.
2. The first comparisons are made of an untrained agent, a share `initial_comparison_frac` of all.
3. Teacher noise (10% in the paper) is `noise_prob`, 0 by default.
4. The reward is normalized where the reward network is wrapped so, not by this algorithm.
"""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from imitation_lab.algorithms import base, checkpoint, saved
from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.run import Run
from imitation_lab.algorithms.preference_comparisons.dataset import PreferenceDataset
from imitation_lab.algorithms.preference_comparisons.fragmenters import Fragmenter, RandomFragmenter
from imitation_lab.algorithms.preference_comparisons.gatherers import (
    AsynchronousGatherer,
    PreferenceGatherer,
    SyntheticGatherer,
)
from imitation_lab.algorithms.preference_comparisons.generators import AgentTrainer, TrajectoryGenerator
from imitation_lab.algorithms.preference_comparisons.loss import CrossEntropyRewardLoss
from imitation_lab.algorithms.preference_comparisons.model import PreferenceModel
from imitation_lab.algorithms.preference_comparisons.trainers import RewardTrainer, make_reward_trainer
from imitation_lab.data import types
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util import checks, util
from imitation_lab.util import logger as lab_logger

__all__ = ["QUERY_SCHEDULES", "PreferenceComparisons", "StepStatus"]

QuerySchedule = Callable[[float], float]

QUERY_SCHEDULES: dict[str, QuerySchedule] = {
    "constant": lambda t: 1.0,
    "hyperbolic": lambda t: 1.0 / (1.0 + t),
    "inverse_quadratic": lambda t: 1.0 / (1.0 + t**2),
}
"""How the comparisons are spread over training: from progress t in [0, 1] to a weight."""


class StepStatus(NamedTuple):
    """What a `PreferenceComparisons.step` did.

    Attributes:
        iteration: how many steps had been done before.
        submitted: pairs newly given to the teacher.
        answered: labels that arrived.
        pending: pairs that wait for the teacher.
        n_labels: pairs in the dataset.
        agent_steps: environment steps that the agent was asked to learn for.
        reward_loss: mean training loss of the last epoch; NaN where the reward was not trained.
        reward_accuracy: share of the pairs that the reward orders as labelled, likewise.
    """

    iteration: int
    submitted: int
    answered: int
    pending: int
    n_labels: int
    agent_steps: int
    reward_loss: float
    reward_accuracy: float

    def __str__(self) -> str:
        trained = "" if math.isnan(self.reward_loss) else f", loss {self.reward_loss:.3f}"
        trained += "" if math.isnan(self.reward_accuracy) else f", accuracy {self.reward_accuracy:.2f}"
        return (
            f"step {self.iteration}: {self.submitted} submitted, {self.answered} answered, {self.pending} pending, "
            f"{self.n_labels} labels{trained}, {self.agent_steps} agent steps"
        )


class PreferenceComparisons(saved.Saved, base.BaseImitationAlgorithm):
    """Learns a reward from comparisons, and an agent on that reward.

    Args:
        trajectory_generator: where trajectories come from, such as an `AgentTrainer` on `reward_model`.
        reward_model: the reward to learn.
        num_iterations: how often `train` asks for comparisons after the first ones.
        fragmenter: None is a `RandomFragmenter`.
        preference_gatherer: None is a `SyntheticGatherer`.
        reward_trainer: of `reward_model`; None is an `EnsembleTrainer` for an ensemble, else a `BasicRewardTrainer`.
        comparison_queue_size: labelled pairs kept, the newest; None keeps all.
        fragment_length: steps in a fragment.
        transition_oversampling: how many times the transitions needed are sampled, for the fragmenter to choose from.
        initial_comparison_frac: share of the comparisons that are made before the agent learns.
        initial_epoch_multiplier: multiplies the epochs of the first reward training.
        custom_logger: where metrics go, those of all parts too; None makes a new one.
        allow_variable_horizon: see `BaseImitationAlgorithm`.
        rng: for the parts that are not given; needed if one of fragmenter, gatherer and reward trainer is not.
        query_schedule: how comparisons are spread over the iterations: a name in `QUERY_SCHEDULES`, or a function
            from progress in [0, 1] to a weight.

    Raises:
        ValueError: if a number is out of range, `rng` is needed, `reward_trainer` trains another model, an ensemble is
            wrapped illegally, or there is no such schedule.

    Attributes:
        model: the reward model.
        dataset: the labelled pairs.
        iteration: steps done.
    """

    _state = (
        "model", "reward_trainer", "dataset", "fragmenter", "preference_gatherer", "trajectory_generator", "rng",
        "iteration", "_reward_trained", "_horizon", "_plan",
    )  # fmt: skip

    def __init__(
        self,
        trajectory_generator: TrajectoryGenerator,
        reward_model: RewardNet,
        num_iterations: int,
        fragmenter: Fragmenter | None = None,
        preference_gatherer: PreferenceGatherer | None = None,
        reward_trainer: RewardTrainer | None = None,
        comparison_queue_size: int | None = None,
        fragment_length: int = 100,
        transition_oversampling: float = 1,
        initial_comparison_frac: float = 0.1,
        initial_epoch_multiplier: float = 200.0,
        custom_logger: lab_logger.AnyLogger | None = None,
        allow_variable_horizon: bool = False,
        rng: np.random.Generator | None = None,
        query_schedule: str | QuerySchedule = "hyperbolic",
    ) -> None:
        checks.at_least(
            1,
            num_iterations=num_iterations,
            fragment_length=fragment_length,
            transition_oversampling=transition_oversampling,
        )
        checks.between(0, 1, initial_comparison_frac=initial_comparison_frac)
        checks.positive(initial_epoch_multiplier=initial_epoch_multiplier)
        if rng is None and (fragmenter is None or preference_gatherer is None or reward_trainer is None):
            raise ValueError(
                "rng draws random numbers for the fragmenter, preference_gatherer and reward_trainer that are not "
                "given: pass rng=np.random.default_rng(seed), or all three."
            )
        preference_model = PreferenceModel(reward_model) if reward_trainer is None else reward_trainer.preference_model
        if preference_model.model is not reward_model:
            raise ValueError(
                "reward_trainer trains another network than reward_model: build its PreferenceModel around "
                "reward_model."
            )
        self.query_schedule = _schedule(query_schedule)
        super().__init__(custom_logger=custom_logger, allow_variable_horizon=allow_variable_horizon)
        self.model = reward_model
        self.rng = rng
        self.trajectory_generator = trajectory_generator
        self.num_iterations = num_iterations
        self.fragment_length = fragment_length
        self.transition_oversampling = transition_oversampling
        self.initial_comparison_frac = initial_comparison_frac
        self.initial_epoch_multiplier = initial_epoch_multiplier
        if reward_trainer is None:
            assert rng is not None
            reward_trainer = make_reward_trainer(
                preference_model, CrossEntropyRewardLoss(), rng, {"custom_logger": self.logger}
            )
        self.reward_trainer = reward_trainer
        if fragmenter is None:
            assert rng is not None
            fragmenter = RandomFragmenter(rng, custom_logger=self.logger)
        self.fragmenter = fragmenter
        if preference_gatherer is None:
            preference_gatherer = SyntheticGatherer(rng=rng, custom_logger=self.logger)
        self.preference_gatherer = preference_gatherer
        self.dataset = PreferenceDataset(max_size=comparison_queue_size)
        self.iteration = 0
        self._reward_trained = False
        self._plan: dict[str, int] | None = None
        self._share(self.logger)

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        for part in (self.trajectory_generator, self.reward_trainer, self.fragmenter, self.preference_gatherer):
            part.logger = logger

    def step(self, num_pairs: int, timesteps: int, *, epoch_multiplier: float | None = None) -> StepStatus:
        """One iteration; it never waits for a teacher.

        A synthetic teacher answers `num_pairs` new pairs at once. A human one is given as many as it takes for
        `num_pairs` to be pending, and what has been answered since the last step is taken. With new labels the reward
        is trained; then, if it ever was, the agent.

        Args:
            num_pairs: pairs to compare; 0 asks nothing.
            timesteps: environment steps for the agent to learn; 0 leaves it as it is.
            epoch_multiplier: scales the reward trainer's epochs; None is `initial_epoch_multiplier` the first time the
                reward is trained, and 1 after.

        Returns:
            What was done.

        Raises:
            ValueError: if a number is negative, `timesteps` are less than a rollout of the agent, episodes differ in
                length (see `allow_variable_horizon`), or trajectories are shorter than a fragment.
        """
        checks.at_least(0, num_pairs=num_pairs, timesteps=timesteps)
        self._shared_out("timesteps", [timesteps])
        return self._round({"stage": 0}, num_pairs, timesteps, epoch_multiplier)

    def _round(
        self, done: dict[str, Any], num_pairs: int, timesteps: int, epoch_multiplier: float | None = None
    ) -> StepStatus:
        """Does what has not been `done` of a step: asks (stage 0), fits the reward (1), lets the agent learn (2)."""
        if done["stage"] == 0:
            done["submitted"], done["answered"] = self._ask(num_pairs)
            done["stage"] = 1
        if done["stage"] == 1:
            done["metrics"] = self._fit(epoch_multiplier) if done["answered"] else {}
            done["stage"], done["begin"] = 2, self._agent_steps()
        made = self._agent_steps() - done["begin"]  # in a round that was interrupted
        left = timesteps - made
        if made and left > 0:
            left = max(left, learner.rollout_steps(self.trajectory_generator.algorithm))  # type: ignore[attr-defined]
        learns = self._reward_trained and left > 0
        if learns:
            with self.logger.accumulate_means("agent"):
                self.trajectory_generator.train(steps=left)
        done["stage"] = 0
        gatherer = self.preference_gatherer
        status = StepStatus(
            iteration=self.iteration,
            submitted=done["submitted"],
            answered=done["answered"],
            pending=len(gatherer.pending) if isinstance(gatherer, AsynchronousGatherer) else 0,
            n_labels=len(self.dataset),
            agent_steps=timesteps if learns else 0,
            reward_loss=done["metrics"].get("train/loss", math.nan),
            reward_accuracy=done["metrics"].get("train/accuracy", math.nan),
        )
        self.logger.record("iterations", self.iteration)
        self.logger.record("dataset/n_labels", status.n_labels)
        self.logger.dump(self.iteration)
        self.iteration += 1
        return status

    def _ask(self, num_pairs: int) -> tuple[int, int]:
        """Adds new labels to the dataset; how many pairs were submitted and answered."""
        gatherer = self.preference_gatherer
        if isinstance(gatherer, AsynchronousGatherer):
            num_pairs = max(0, num_pairs - len(gatherer.pending))
            if num_pairs:
                gatherer.submit(self._sample_pairs(num_pairs))
            pairs, preferences = gatherer.poll()
        elif num_pairs:
            pairs = list(self._sample_pairs(num_pairs))
            with self.logger.add_key_prefix("preferences"):
                preferences = gatherer(pairs)  # type: ignore[arg-type] # a synthetic one checks for rewards
        else:
            pairs = []
        if len(pairs):
            self.dataset.push(pairs, preferences)
        return num_pairs, len(pairs)

    def _fit(self, epoch_multiplier: float | None) -> dict[str, float]:
        if epoch_multiplier is None:
            epoch_multiplier = 1.0 if self._reward_trained else self.initial_epoch_multiplier
        metrics = self.reward_trainer.train(self.dataset, epoch_multiplier) or {}
        self._reward_trained = True
        return dict(metrics)

    def _agent_steps(self) -> int:
        generator = self.trajectory_generator
        return generator.algorithm.num_timesteps if isinstance(generator, AgentTrainer) else 0

    def train(
        self,
        total_timesteps: int,
        total_comparisons: int,
        callback: Callable[[int], Any] | None = None,
        *,
        checkpoint_path: types.AnyPath | None = None,
        checkpoint_interval: int = 1,
        progress_bar: bool = True,
        stop: threading.Event | None = None,
    ) -> dict[str, float]:
        """Repeats `step`: first comparisons of the agent as it is, then `num_iterations` times more.

        After each round of comparisons the reward is trained, and then the agent. Rounds share the timesteps equally,
        in whole rollouts of the agent; the last one takes the rest. The agent's schedules, such as that of its learning
        rate, run over all rounds. An interrupt ends training; what was learned is kept, and `resume` goes on there.

        Args:
            total_timesteps: environment steps for the agent to learn in all, rounded up to whole rollouts.
            total_comparisons: pairs to compare in all.
            callback: called after each round with its number, from 0; training ends where it returns False.
            checkpoint_path: a file to save to after every `checkpoint_interval` rounds; see `save`.
            checkpoint_interval: in rounds.
            progress_bar: whether to show the rounds of work that takes more than two seconds.
            stop: training ends after the round during which this event is set.

        Returns:
            `reward_loss` and `reward_accuracy` of the last reward training.

        Raises:
            TypeError: if the gatherer's answers come later: call `step()` instead.
            ValueError: if there are no comparisons to make, a number is negative, or `total_timesteps` are less than a
                rollout of the agent; also as `step`.
        """
        if isinstance(self.preference_gatherer, AsynchronousGatherer):
            raise TypeError(
                f"train() would have to wait for {type(self.preference_gatherer).__name__}: call step(num_pairs, "
                "timesteps) now and again instead; it takes the answers there are and never waits."
            )
        if total_comparisons < 1:
            raise ValueError(
                f"total_comparisons is {total_comparisons}: without a comparison there is nothing to learn a reward "
                "from."
            )
        checks.at_least(0, total_timesteps=total_timesteps)
        checks.at_least(1, checkpoint_interval=checkpoint_interval)
        self._shared_out("total_timesteps", [total_timesteps])
        self._plan = {
            "first": self.iteration,
            "timesteps": total_timesteps,
            "comparisons": total_comparisons,
            "start": self._agent_steps(),
            "stage": 0,
        }
        return self._go_on(callback, checkpoint_path, checkpoint_interval, progress_bar, stop)

    def resume(
        self,
        callback: Callable[[int], Any] | None = None,
        *,
        checkpoint_path: types.AnyPath | None = None,
        checkpoint_interval: int = 1,
        progress_bar: bool = True,
        stop: threading.Event | None = None,
    ) -> dict[str, float]:
        """Finishes a `train` that ended early, here or, after `restore`, in another process.

        After `restore`, with the same `checkpoint_interval`, the result is that of the run without interruption, bit
        for bit. Without, what the interrupted round has done is kept: no comparison and no timestep is made twice.

        Args:
            callback: as in `train`.
            checkpoint_path: as in `train`.
            checkpoint_interval: as in `train`.
            progress_bar: as in `train`.
            stop: as in `train`.

        Raises:
            ValueError: if there is nothing to resume.
        """
        if self._plan is None:
            raise ValueError("There is no interrupted train() to resume: call restore(path) first, or train().")
        return self._go_on(callback, checkpoint_path, checkpoint_interval, progress_bar, stop)

    @classmethod
    def _file(cls, path: types.AnyPath) -> pathlib.Path:
        return pathlib.Path(os.fsdecode(path))

    def _arguments(self) -> dict[str, Any]:
        names = {schedule: name for name, schedule in QUERY_SCHEDULES.items()}
        return {
            **super()._arguments(),
            "reward_model": self.model,
            "comparison_queue_size": self.dataset.max_size,
            "query_schedule": names.get(self.query_schedule, self.query_schedule),
        }

    def _checkpoint(self) -> checkpoint.State:
        for part in (self.trajectory_generator, self.reward_trainer):
            if not hasattr(part, "_state"):
                raise TypeError(f"Cannot save the state of a {type(part).__name__}, which does not name any.")
        if isinstance(self.trajectory_generator, AgentTrainer):
            self.trajectory_generator.pause()
        return super()._checkpoint()

    def _begin_anew(self) -> None:
        if isinstance(self.trajectory_generator, AgentTrainer):
            self.trajectory_generator.begin_anew()

    def _go_on(
        self,
        callback: Callable[[int], Any] | None,
        path: types.AnyPath | None,
        interval: int,
        progress_bar: bool,
        stop: threading.Event | None,
    ) -> dict[str, float]:
        plan = self._plan
        assert plan is not None
        pairs = self._rounds(plan["comparisons"])
        each, rest = divmod(plan["timesteps"], len(pairs))
        steps = self._shared_out("total_timesteps", [each] * (len(pairs) - 1) + [each + rest])
        loss = accuracy = math.nan
        generator = self.trajectory_generator
        with contextlib.ExitStack() as stack:
            run = stack.enter_context(Run(self, len(pairs), "round", progress_bar, stop))
            if not progress_bar:
                stack.enter_context(_without_bar(self.reward_trainer))
            if isinstance(generator, AgentTrainer):
                stack.enter_context(generator.schedules_over(plan["start"], steps))
            for i in range(self.iteration - plan["first"], len(pairs)):
                status = self._round(plan, pairs[i], steps[i])
                if not math.isnan(status.reward_loss):
                    loss, accuracy = status.reward_loss, status.reward_accuracy
                going_on = run.step(1, callback and callback(i), reward_loss=loss)
                if path is not None and (i + 1) % interval == 0:
                    self.save(path)
                if not going_on:
                    break
            if self.iteration - plan["first"] >= len(pairs):
                self._plan = None
        return {"reward_loss": loss, "reward_accuracy": accuracy}

    def _recover(self) -> None:
        if isinstance(self.trajectory_generator, AgentTrainer):
            with contextlib.suppress(ValueError):  # the environments may be in the middle of a step
                self.trajectory_generator.pause()

    def _shared_out(self, name: str, steps: list[int]) -> list[int]:
        generator = self.trajectory_generator
        return generator.shared_out(name, steps) if isinstance(generator, AgentTrainer) else steps

    def _rounds(self, comparisons: int) -> list[int]:
        """How many pairs in each round: the first ones, then as the schedule says."""
        initial = min(comparisons, max(1, int(comparisons * self.initial_comparison_frac)))
        first = [] if self.initial_comparison_frac == 0 else [initial]
        weights = np.array([float(self.query_schedule(t)) for t in np.linspace(0, 1, self.num_iterations)])
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise ValueError(f"query_schedule gave the weights {weights.tolist()}, expected numbers of at least 0.")
        remaining = comparisons - sum(first)
        return [*first, *util.oric(weights / weights.sum() * remaining).tolist()]

    def _sample_pairs(self, num_pairs: int) -> Any:
        steps = math.ceil(self.transition_oversampling * 2 * num_pairs * self.fragment_length)
        trajectories = self.trajectory_generator.sample(steps)
        self._check_fixed_horizon(trajectories)
        return self.fragmenter(trajectories, self.fragment_length, num_pairs)


@contextlib.contextmanager
def _without_bar(reward_trainer: RewardTrainer) -> Iterator[None]:
    shown = getattr(reward_trainer, "progress_bar", False)
    if shown:
        reward_trainer.progress_bar = False  # type: ignore[attr-defined] # those of the library have it
    try:
        yield
    finally:
        if shown:
            reward_trainer.progress_bar = shown  # type: ignore[attr-defined]


def _schedule(schedule: str | QuerySchedule) -> QuerySchedule:
    if callable(schedule):
        return schedule
    if schedule not in QUERY_SCHEDULES:
        raise ValueError(
            f"There is no query_schedule {schedule!r}, expected one of {', '.join(QUERY_SCHEDULES)}, or a function "
            "from [0, 1] to a weight."
        )
    return QUERY_SCHEDULES[schedule]
