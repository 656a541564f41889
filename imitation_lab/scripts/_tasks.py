"""The tasks that algorithms are compared on."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from imitation_lab import experts
from imitation_lab.algorithms import plugins
from imitation_lab.data import rollout, types
from imitation_lab.envs import grid_worlds, tabular
from imitation_lab.scripts.algorithms import OWN


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Something to imitate.

    Attributes:
        name: what it is called.
        make_env: makes one environment, of a fixed horizon.
        expert: an SB3 policy, or a function from observations `(n, *obs_shape)` to actions.
        settings: by algorithm: its settings, see `algorithms.plugins.Algorithm`.
        not_for: algorithms that cannot be used, and why.
    """

    name: str
    make_env: Callable[[], Any]
    expert: Any
    settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    not_for: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def make_venv(self, seed: int, n_envs: int = 8) -> VecEnv:
        """The environments, seeded."""
        venv = DummyVecEnv([self.make_env] * n_envs)
        venv.seed(seed)
        return venv

    def demonstrations(self, n: int, seed: int) -> list[types.TrajectoryWithRew]:
        """`n` episodes of the expert, acting deterministically; fewer are the first of more."""
        rng, until = np.random.default_rng(seed), rollout.make_min_episodes(1)
        acting = {"deterministic_policy": hasattr(self.expert, "predict")}
        found: list[types.TrajectoryWithRew] = []
        with contextlib.closing(self.make_venv(seed, 1)) as venv:
            for _ in range(n):  # one by one: together they would come in random order
                found += rollout.generate_trajectories(self.expert, venv, until, rng, **acting)
        return found


def greedy_policy(env: tabular.TabularEnv, discount: float = 0.95) -> np.ndarray:
    """The optimal actions `(S,)` of a tabular environment without a horizon, by value iteration."""
    transitions, rewards = env.transition_matrix, env.reward_matrix
    value = np.zeros(env.state_dim)
    for _ in range(500):
        q = rewards[:, None] + discount * transitions @ value
        value = q.max(axis=1)
    return q.argmax(axis=1)


@functools.cache
def grid_world() -> Task:
    """Four rooms with slippery floors: walk to the goal from anywhere, and stay. The expert is optimal.

    Observations are states. Episodes begin in any cell but the goal: from one corner alone, a learner without
    demonstrations never meets the goal.
    """
    layout = [row.replace(".", "S") for row in grid_worlds.GridWorld().layout]
    make_env = functools.partial(grid_worlds.GridWorld, layout)
    best = greedy_policy(make_env())
    return Task("GridWorld", make_env, lambda obs: best[np.asarray(obs)], _settings("grid_world"))


@functools.cache
def cartpole() -> Task:
    """CartPole with a fixed horizon of 500 steps, and the bundled expert."""
    return Task(
        "CartPole",
        lambda: gym.make("imitation_lab/CartPole-v0"),
        experts.load_expert("CartPole"),
        _settings("cartpole"),
        {"MCE IRL": "its states cannot be listed, and tabular methods need all of them. Use AIRL."},
    )


@functools.cache
def pendulum() -> Task:
    """Pendulum, whose actions are continuous, and the bundled expert."""
    settings = _settings("pendulum")
    others = {name: "no settings are known yet for a comparison there." for name in OWN if name not in settings}
    return Task("Pendulum", lambda: gym.make("Pendulum-v1"), experts.load_expert("Pendulum"), settings, others)


def _settings(task: str) -> dict[str, Mapping[str, Any]]:
    """What is known for a task, by algorithm."""
    return {name: found.presets[task] for name, found in ALGORITHMS.items() if task in found.presets}


ALGORITHMS = {**OWN, **plugins.found()}
"""Algorithms by name: ours, and those of other packages."""

TASKS: dict[str, Callable[[], Task]] = {"GridWorld": grid_world, "CartPole": cartpole, "Pendulum": pendulum}
"""Tasks by name."""
