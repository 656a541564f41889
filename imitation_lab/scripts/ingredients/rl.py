"""The reinforcement learning algorithm."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.policies.serialize import load_stable_baselines_model
from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts._schema import Count, Keys
from imitation_lab.scripts.ingredients.policy import Policy

__all__ = ["RL", "rl_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RL(Keys):
    """The reinforcement learning algorithm.

    Attributes:
        rl_cls: PPO, A2C, SAC, TD3, DDPG or DQN.
        batch_size: environment steps between updates, over all copies (PPO, A2C: n_steps × num_vec); for the others,
            transitions in an update.
        rl_kwargs: more arguments of the algorithm; {"linear": x} is a schedule from x to 0.
    """

    rl_cls: str | type = "PPO"
    batch_size: Count = 2048
    rl_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, venv: VecEnv, policy: Policy, seed: int, path: str | None = None) -> BaseAlgorithm:
        """The algorithm before its first step.

        Args:
            venv: the environments.
            policy: of the algorithm.
            seed: of all that it draws.
            path: a model's zip, to begin with what it has learned, under the settings given here.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it does not fit, `batch_size` is no multiple of the number of environments, or an argument
                does not exist.
        """
        cls, arguments = self.cls(), self._arguments(venv, policy, seed)
        if path is None:
            return _names.call("rl.rl_kwargs", cls, policy.cls(), venv, **arguments)
        made = load_stable_baselines_model(cls, path, venv, policy_class=policy.cls(), **arguments)
        made.num_timesteps = 0
        return made

    def cls(self) -> type[BaseAlgorithm]:
        """The algorithm's class."""
        return _names.find("algorithm", self.rl_cls)

    def _arguments(self, venv: VecEnv, policy: Policy, seed: int) -> dict[str, Any]:
        found = {"policy_kwargs": policy.kwargs(), "seed": seed, **_names.with_classes(self.rl_kwargs)}
        if not issubclass(self.cls(), OnPolicyAlgorithm):
            return {"batch_size": self.batch_size, **found}
        steps, rest = divmod(self.batch_size, venv.num_envs)
        if "n_steps" not in found:
            if rest or not steps:
                raise ValueError(
                    f"rl.batch_size={self.batch_size} is no multiple of environment.num_vec={venv.num_envs}."
                )
            found["n_steps"] = steps
        if issubclass(self.cls(), PPO):  # a minibatch is at most the whole rollout
            found["batch_size"] = min(found.get("batch_size", 64), found["n_steps"] * venv.num_envs)
        return found


rl_ingredient = _engine.ingredient("rl", RL)
