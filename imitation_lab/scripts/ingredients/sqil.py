"""Soft Q imitation learning."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gymnasium import spaces

from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts._schema import Count, Keys

__all__ = ["SQILSettings", "sqil_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SQILSettings(Keys):
    """Soft Q imitation learning.

    Attributes:
        total_timesteps: environment steps.
        train_kwargs: for `SQIL.train`.
        rl_cls: the off-policy algorithm; None is DQN for discrete actions and SAC for continuous ones.
        rl_kwargs: its arguments.
        policy: of that algorithm: MlpPolicy, CnnPolicy or MultiInputPolicy.
    """

    total_timesteps: Count = 300_000
    train_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rl_cls: str | type | None = None
    rl_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    policy: str = "MlpPolicy"

    def algorithm(self, action_space: Any) -> Any:
        """The algorithm's class."""
        default = "DQN" if isinstance(action_space, spaces.Discrete) else "SAC"
        return _names.find("algorithm", self.rl_cls or default)


sqil_ingredient = _engine.ingredient("sqil", SQILSettings)
