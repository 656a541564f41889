"""How a policy is judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from imitation_lab.data import rollout
from imitation_lab.scripts import _engine
from imitation_lab.scripts._schema import Count, Keys
from imitation_lab.scripts.ingredients.environment import Environment

__all__ = ["PolicyEvaluation", "statistics", "policy_evaluation_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyEvaluation(Keys):
    """How a policy is judged.

    Attributes:
        n_episodes_eval: episodes that the trained policy plays.
        deterministic: whether it plays its most likely actions, not as in training drawn ones.
    """

    n_episodes_eval: Count = 50
    deterministic: bool = False

    def compare(
        self, policy: Any, expert: Any, environment: Environment, rng: np.random.Generator
    ) -> dict[str, dict[str, float]]:
        """Statistics under `imit_stats` and `expert_stats`; the expert is a policy, or trajectories of one."""
        learned = self.evaluate(policy, environment, rng)
        known = isinstance(expert, Sequence)
        return {
            "imit_stats": learned,
            "expert_stats": statistics(expert) if known else self.evaluate(expert, environment, rng),
        }

    def evaluate(self, policy: Any, environment: Environment, rng: np.random.Generator) -> dict[str, float]:
        """Statistics of episodes in fresh environments; see `data.rollout.rollout_stats`."""
        with environment.venv(rng) as venv:
            until = rollout.make_min_episodes(self.n_episodes_eval)
            return statistics(
                rollout.generate_trajectories(policy, venv, until, rng, deterministic_policy=self.deterministic)
            )


def statistics(trajectories: Any) -> dict[str, float]:
    """`rollout_stats` in Python's own numbers; empty for trajectories without rewards."""
    if not all(hasattr(trajectory, "rews") for trajectory in trajectories):
        return {}
    return {k: v.item() if hasattr(v, "item") else v for k, v in rollout.rollout_stats(trajectories).items()}


policy_evaluation_ingredient = _engine.ingredient("policy_evaluation", PolicyEvaluation)
