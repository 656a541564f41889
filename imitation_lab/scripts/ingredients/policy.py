"""The policy's network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.ppo import PPO

from imitation_lab.algorithms.base import seeded_torch
from imitation_lab.scripts import _engine, _names

__all__ = ["Policy", "policy_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """The policy's network.

    Attributes:
        policy_cls: its class: FeedForward32Policy, SAC1024Policy, or SB3's MlpPolicy, CnnPolicy, MultiInputPolicy.
        policy_kwargs: arguments of the class; classes in them are given by name, such as RunningNorm.
    """

    policy_cls: str | type = "FeedForward32Policy"
    policy_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def cls(self) -> Any:
        """The class, or the name that SB3 knows."""
        return self.policy_cls if self.policy_cls in _names.SB3_POLICIES else _names.find("policy", self.policy_cls)

    def kwargs(self) -> dict[str, Any]:
        """The arguments, with classes in place of names."""
        return _names.with_classes(self.policy_kwargs)

    def make(self, venv: VecEnv, rng: np.random.Generator) -> BasePolicy:
        """An actor-critic policy for the environment, drawn from `rng`."""
        cls = self.cls()
        if isinstance(cls, str):
            cls = PPO.policy_aliases[cls]
        if not issubclass(cls, ActorCriticPolicy):
            raise ValueError(f"policy.policy_cls={self.policy_cls!r} is no actor-critic policy, such as MlpPolicy.")
        with seeded_torch(rng):
            return _names.call(
                "policy.policy_kwargs",
                cls,
                observation_space=venv.observation_space,
                action_space=venv.action_space,
                lr_schedule=ConstantSchedule(1e-3),  # of an optimizer that is not used
                **self.kwargs(),
            )


policy_ingredient = _engine.ingredient("policy", Policy)
