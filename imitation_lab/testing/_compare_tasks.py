"""The tasks that algorithms are compared on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from imitation_lab import experts
from imitation_lab.algorithms import density
from imitation_lab.data import rollout, types
from imitation_lab.envs import grid_worlds, tabular


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """Something to imitate.

    Attributes:
        name: what it is called.
        make_env: makes one environment, of a fixed horizon.
        expert: an SB3 policy, or a function from observations `(n, *obs_shape)` to actions.
        settings: by algorithm, see `_compare_algorithms`.
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
        venv, rng = self.make_venv(seed, 1), np.random.default_rng(seed)
        found: list[types.TrajectoryWithRew] = []
        try:
            for _ in range(n):  # one by one: together they would come in random order
                found += rollout.generate_trajectories(
                    self.expert,
                    venv,
                    rollout.make_min_episodes(1),
                    rng,
                    deterministic_policy=hasattr(self.expert, "predict"),
                )
        finally:
            venv.close()
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
    ppo = {
        "n_steps": 30, "batch_size": 240, "n_epochs": 10, "learning_rate": 3e-3, "gamma": 0.9, "ent_coef": 0.01,
        "policy_kwargs": {"net_arch": [32, 32]},
    }  # fmt: skip
    return Task(
        name="GridWorld",
        make_env=make_env,
        expert=lambda obs: best[np.asarray(obs)],
        settings={
            "BC": {"n_batches": 300},
            "DAgger": {"n_batches": 100, "ent_weight": 0.3},  # unsure where it has no labels, so that it wanders
            # one-hot cells: a scale for each would only push those that were seldom seen further away
            "Density": {
                "steps": 16_000,
                "ppo": ppo,
                "density": {
                    "density_type": density.DensityType.STATE_DENSITY,
                    "kernel_bandwidth": 0.5,
                    "standardise_inputs": False,
                },
            },
            "GAIL": {"steps": 16_000, "ppo": ppo},
            "AIRL": {"steps": 16_000, "ppo": ppo},
            "SQIL": {"steps": 8_000, "dqn": {"gamma": 0.9}},
            "MCE IRL": {"iterations": 300},
            "Preferences": {"steps": 16_000, "comparisons": 600, "rounds": 8, "fragment_length": 10, "ppo": ppo},
        },
    )


@functools.cache
def cartpole() -> Task:
    """CartPole with a fixed horizon of 500 steps, and the bundled expert."""
    import gymnasium as gym

    ppo = {"n_steps": 250, "batch_size": 500, "n_epochs": 10, "learning_rate": 1e-3, "gamma": 0.98, "gae_lambda": 0.8}
    return Task(
        name="CartPole",
        make_env=lambda: gym.make("imitation_lab/CartPole-v0"),
        expert=experts.load_expert("CartPole"),
        settings={
            "BC": {"n_batches": 500},
            "DAgger": {"n_batches": 200},
            "Density": {"steps": 60_000, "ppo": ppo},
            "GAIL": {"steps": 120_000, "ppo": ppo},
            "AIRL": {"steps": 120_000, "ppo": ppo},
            "SQIL": {"steps": 24_000, "dqn": {}},
            "Preferences": {"steps": 60_000, "comparisons": 400, "fragment_length": 50, "ppo": ppo},
        },
        not_for={"MCE IRL": "its states cannot be listed, and tabular methods need all of them. Use AIRL."},
    )
