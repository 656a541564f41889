"""A policy that now and then acts at random, to visit more states than it would alone."""

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data import rollout
from imitation_lab.policies.base import RandomPolicy
from imitation_lab.util import checks

__all__ = ["ExplorationWrapper"]


class ExplorationWrapper:
    """Switches between a policy and random actions; a `policy` for everything in `data.rollout`.

    Before the first action and, with probability `switch_prob`, after each one, it is decided anew who acts: random
    actions with probability `random_prob`, the policy otherwise. So random stretches last about 1 / switch_prob steps
    and make up the share `random_prob` of all. The decision is one for all environments.

    Args:
        policy: an SB3 policy or algorithm, or a callable, as in `data.rollout.generate_trajectories`.
        venv: the environment to act in.
        random_prob: probability of random actions at each decision.
        switch_prob: probability of a new decision after each step.
        rng: source of the decisions and of the random actions.
        deterministic_policy: whether the policy acts deterministically.

    Raises:
        ValueError: a probability is not in [0, 1].
        TypeError: `rng` is not a generator.
    """

    def __init__(
        self,
        policy: Any,
        venv: VecEnv,
        random_prob: float,
        switch_prob: float,
        rng: np.random.Generator,
        deterministic_policy: bool = False,
    ) -> None:
        checks.between(0, 1, random_prob=random_prob, switch_prob=switch_prob)
        checks.generator(rng)
        self.random_prob = random_prob
        self.switch_prob = switch_prob
        self.rng = rng
        self.wrapped_policy = rollout.policy_to_callable(policy, venv, deterministic_policy)
        self.random_policy = RandomPolicy(venv.observation_space, venv.action_space, rng=rng)
        self.acts_randomly = self._decide()

    def __call__(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        input_state: tuple[np.ndarray, ...] | None,
        episode_start: np.ndarray | None,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Chooses actions for a batch of observations.

        Args:
            observation: `(n_envs, *obs_shape)`, or a dict of such.
            input_state: recurrent state of the policy; random actions leave it unchanged.
            episode_start: `(n_envs,)` bool.

        Returns:
            Actions of shape `(n_envs, *action_shape)`, and the new state.
        """
        if self.acts_randomly:
            acts, state = self.random_policy.predict(observation, input_state)
        else:
            acts, state = self.wrapped_policy(observation, input_state, episode_start)  # type: ignore[arg-type]
        if self.rng.random() < self.switch_prob:
            self.acts_randomly = self._decide()
        return acts, state

    def _decide(self) -> bool:
        return bool(self.rng.random() < self.random_prob)
