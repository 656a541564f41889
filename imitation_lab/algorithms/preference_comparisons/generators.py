"""Where trajectories to compare come from: a dataset, or an agent that learns on the reward."""

from __future__ import annotations

import abc
import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms._shared import learner
from imitation_lab.algorithms._shared.logged import Logged
from imitation_lab.algorithms.preference_comparisons.dataset import trajectory_tensors
from imitation_lab.data import rollout, types
from imitation_lab.data.spaces import check_supported
from imitation_lab.data.stored import StoredTrajectories
from imitation_lab.data.wrappers import BufferingWrapper
from imitation_lab.policies.exploration_wrapper import ExplorationWrapper
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper, WrappedRewardCallback
from imitation_lab.util import checks, util
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.errors import ShortageError

__all__ = ["TrajectoryGenerator", "TrajectoryDataset", "AgentTrainer"]


class TrajectoryGenerator(Logged, abc.ABC):
    """Produces trajectories, with the environment's rewards, and may learn.

    Args:
        custom_logger: where metrics go; None makes a new one.
    """

    @abc.abstractmethod
    def sample(self, steps: int) -> Sequence[types.TrajectoryWithRew]:
        """Trajectories of at least `steps` transitions in all."""

    def train(self, steps: int, **kwargs: Any) -> None:
        """Learns for `steps` environment steps, if this generator learns at all."""


class TrajectoryDataset(TrajectoryGenerator):
    """Gives trajectories that exist already, in random order.

    Args:
        trajectories: with rewards, if a synthetic teacher is to compare them.
        rng: draws the order.
        custom_logger: where metrics go; None makes a new one.

    Raises:
        ValueError: if there are none.
    """

    _state = ("rng",)

    def __init__(
        self,
        trajectories: Sequence[types.TrajectoryWithRew],
        rng: np.random.Generator,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        super().__init__(custom_logger)
        if len(trajectories) == 0:
            raise ValueError("TrajectoryDataset got no trajectories, expected at least one.")
        checks.generator(rng)
        self._trajectories = trajectories
        self.rng = rng

    def sample(self, steps: int) -> Sequence[types.TrajectoryWithRew]:
        """Randomly chosen trajectories of at least `steps` transitions in all, each at most once.

        Raises:
            ValueError: if the dataset has fewer.
        """
        order = self.rng.permutation(len(self._trajectories))
        return _enough([self._trajectories[i] for i in order], steps)


class AgentTrainer(TrajectoryGenerator):
    """An SB3 algorithm that learns on a reward function; its trajectories carry the environment's own rewards.

    What the agent went through while it learned is sampled first; only what is missing is rolled out anew, and
    rollouts move neither normalization statistics nor the mean wrapped return that is logged. Sampling begins new
    episodes.

    An off-policy algorithm stores transitions, and its rewards are computed when a batch is drawn: its replay buffer is
    wrapped in `ReplayBufferRewardWrapper`, and no reward is ever stale.

    Args:
        algorithm: the agent. Its environment is replaced by `venv` under the reward function. For reproducible
            training construct it with `seed=`.
        reward_fn: a reward network, of which `predict_processed` is used, or any `RewardFn`.
        venv: the environments.
        rng: draws which trajectories are given, and the explorer's choices.
        exploration_frac: share of the sampled transitions in which an `ExplorationWrapper` acts.
        switch_prob: the explorer's probability of a new decision after each step.
        random_prob: the explorer's probability of acting at random, at each decision.
        custom_logger: where metrics go, the algorithm's too; None makes a new one.

    Raises:
        TypeError: if `reward_fn` cannot be called or `rng` is no generator.
        ValueError: if a share or probability is not in [0, 1], the spaces of algorithm and environment differ, or
            `venv` is normalized.
    """

    _state = ("algorithm", "rng", "_fragments", "_returns")

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        reward_fn: RewardFn | RewardNet,
        venv: VecEnv,
        rng: np.random.Generator,
        exploration_frac: float = 0.0,
        switch_prob: float = 0.5,
        random_prob: float = 0.5,
        custom_logger: lab_logger.AnyLogger | None = None,
    ) -> None:
        checks.between(0, 1, exploration_frac=exploration_frac, switch_prob=switch_prob, random_prob=random_prob)
        checks.generator(rng)
        net = reward_fn if isinstance(reward_fn, RewardNet) else getattr(reward_fn, "__self__", None)
        if not (isinstance(net, RewardNet) and (reward_fn is net or reward_fn == net.predict_processed)):
            net = None
        elif (net.observation_space, net.action_space) != (venv.observation_space, venv.action_space):
            raise ValueError(
                f"The reward network is for {net.observation_space} and {net.action_space}, but venv has "
                f"{venv.observation_space} and {venv.action_space}."
            )
        check_supported(venv.observation_space, venv.action_space)
        learner.check_learner("algorithm", algorithm, venv, relabelled=True)
        self.rng = rng
        self.algorithm = algorithm
        super().__init__(custom_logger)
        self.reward_fn: Any = reward_fn if net is None else net.predict_processed
        self._net = net
        self.exploration_frac = exploration_frac
        self.switch_prob, self.random_prob = switch_prob, random_prob
        self.buffering_wrapper = BufferingWrapper(venv, error_on_premature_reset=False)
        if not callable(self.reward_fn):
            raise TypeError(f"reward_fn must be a RewardNet or callable, got {reward_fn!r}.")
        self.venv = self.reward_venv_wrapper = RewardVecEnvWrapper(self.buffering_wrapper, self.reward_fn)
        self._collected: list[types.TrajectoryWithRew] = []
        learner.take(algorithm, self.venv, self.logger, self._stored_reward)

    def _share(self, logger: lab_logger.HierarchicalLogger) -> None:
        self.algorithm.set_logger(logger)

    @property
    def _fragments(self) -> dict[str, np.ndarray]:
        return trajectory_tensors(self._collected) if self._collected else {}

    @_fragments.setter
    def _fragments(self, saved: dict[str, np.ndarray]) -> None:
        self._collect()
        self._collected = list(StoredTrajectories("fragments", saved)) if saved else []

    @property
    def _returns(self) -> np.ndarray:
        return np.array(self.reward_venv_wrapper.episode_rewards, dtype=np.float64)

    @_returns.setter
    def _returns(self, saved: np.ndarray) -> None:
        self.reward_venv_wrapper.episode_rewards.clear()
        self.reward_venv_wrapper.episode_rewards.extend(saved.tolist())

    @property
    def log_callback(self) -> WrappedRewardCallback:
        """A new callback that logs the mean return under the reward, `rollout/ep_rew_wrapped_mean`."""
        return self.reward_venv_wrapper.make_log_callback()

    def train(self, steps: int, **kwargs: Any) -> None:
        """Lets the agent learn for `steps` more environment steps, rounded up to whole rollouts of it.

        Args:
            steps: environment steps, over all environments.
            **kwargs: passed to the algorithm's `learn`; a `callback` is called beside the library's.

        Raises:
            ValueError: if `steps` is less than a rollout.
        """
        steps = learner.whole_steps(self.algorithm, "steps", steps)
        learner.take(self.algorithm, self.venv, self.logger, self._stored_reward)
        self._collect()
        self._collected.clear()  # what an older policy went through is not kept
        learner.learn(self.algorithm, steps, self.log_callback, **{"reset_num_timesteps": False, **kwargs})

    def shared_out(self, name: str, steps: Sequence[int]) -> list[int]:
        """Steps for several calls of `train` as whole rollouts, which add up to those asked for, rounded up once.

        Args:
            name: of the budget, for the error's text.
            steps: those of each call.

        Raises:
            ValueError: if all together are less than a rollout, and more than none.
        """
        if not sum(steps):
            return list(steps)
        learner.whole_steps(self.algorithm, name, sum(steps))
        whole = learner.rollout_steps(self.algorithm)
        ends = [math.ceil(end / whole) * whole for end in itertools.accumulate(steps)]
        return np.diff(ends, prepend=0).tolist()

    def schedules_over(self, start: int, steps: Sequence[int]) -> contextlib.AbstractContextManager[None]:
        """Lets the agent's schedules run once over several calls of `train`; within one each would run to its end.

        Args:
            start: the agent's timestep at which the first of them begins.
            steps: those of each call, in whole rollouts.
        """
        return learner.schedules_over(self.algorithm, start, start + sum(steps))

    def sample(self, steps: int) -> Sequence[types.TrajectoryWithRew]:
        """Trajectories of at least `steps` transitions, with the environment's rewards, in random order.

        Episodes that were cut off when learning ended are given as fragments, `terminal=False`.
        """
        checks.at_least(1, steps=steps)
        exploring = int(self.exploration_frac * steps)
        own = steps - exploring
        self._collect()
        trajectories, self._collected = self._collected, []
        missing = own - sum(map(len, trajectories))
        if missing > 0:
            trajectories = [*trajectories, *self._rollout(self.algorithm, missing)]
        order = self.rng.permutation(len(trajectories))
        chosen = _enough([trajectories[i] for i in order], own) if own else []
        if exploring:
            chosen = [*chosen, *_enough(self._rollout(self._explorer(), exploring), exploring)]
        return chosen

    def pause(self) -> None:
        """Ends all running episodes and keeps what there is of them, for the next `sample`: a point to save."""
        self._collect()

    def begin_anew(self) -> None:
        """Seeds the environments from `rng`; they are reset before the next step."""
        learner.new_boundary(self.algorithm, self.buffering_wrapper, lambda: util.make_seeds(self.rng))

    def _collect(self) -> None:
        """Takes everything out of the buffering wrapper; the next training begins with a reset."""
        found, _ = self.buffering_wrapper.pop_trajectories()
        self._collected += found
        self.algorithm._last_obs = None

    def _explorer(self) -> ExplorationWrapper:
        return ExplorationWrapper(
            self.algorithm,
            self.buffering_wrapper.venv,
            random_prob=self.random_prob,
            switch_prob=self.switch_prob,
            rng=self.rng,
        )

    def _rollout(self, policy: Any, steps: int) -> list[types.TrajectoryWithRew]:
        """Whole episodes in the environments below the reward, chosen so that long ones are not rarer."""
        until = rollout.make_min_timesteps(steps)
        try:
            return list(rollout.generate_trajectories(policy, self.buffering_wrapper.venv, until, rng=self.rng))
        finally:
            self.algorithm._last_obs = None  # the environments have moved on

    def _stored_reward(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        if self._net is not None:  # each transition moved the statistics when it was new
            return self._net.predict_processed(state, action, next_state, done, update_stats=False)
        return self.reward_fn(state, action, next_state, done)


def _enough(trajectories: Sequence[types.TrajectoryWithRew], steps: int) -> list[types.TrajectoryWithRew]:
    """The first trajectories, as many as it takes."""
    reached = np.cumsum([len(trajectory) for trajectory in trajectories])
    if len(reached) == 0 or reached[-1] < steps:
        available = int(reached[-1]) if len(reached) else 0
        raise ShortageError(
            f"Asked for {steps} transitions, but only {available} are available in {len(trajectories)} trajectories: "
            "compare fewer pairs per iteration, shorten the fragments, lower transition_oversampling, or add "
            "trajectories."
        )
    return list(trajectories[: int(np.searchsorted(reached, steps)) + 1])
