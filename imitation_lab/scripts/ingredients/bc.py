"""Behavioral cloning, alone and inside DAgger."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms.bc.bc import BC
from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts._schema import Count, Keys
from imitation_lab.scripts.ingredients.policy import Policy

__all__ = ["BCSettings", "bc_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BCSettings(Keys):
    """Behavioral cloning.

    Attributes:
        batch_size: transitions per update.
        l2_weight: weight of the L2 penalty.
        optimizer_cls: the optimizer.
        optimizer_kwargs: its arguments.
        train_kwargs: for `BC.train`; n_epochs, or n_batches, or, if both are None, 10 epochs.
    """

    batch_size: Count = 32
    l2_weight: float = 3e-5
    optimizer_cls: str | type = "Adam"
    optimizer_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"lr": 4e-4})
    train_kwargs: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"n_epochs": None, "n_batches": None, "log_interval": 500}
    )

    def make(self, venv: VecEnv, policy: Policy, rng: np.random.Generator, **kwargs: Any) -> BC:
        """The trainer."""
        return BC(
            observation_space=venv.observation_space,
            action_space=venv.action_space,
            rng=rng,
            policy=policy.make(venv, rng),  # type: ignore[arg-type] # it checks
            batch_size=self.batch_size,
            l2_weight=self.l2_weight,
            optimizer_cls=_names.find("optimizer", self.optimizer_cls),
            optimizer_kwargs=_names.with_classes(self.optimizer_kwargs),
            **kwargs,
        )

    def arguments(self) -> dict[str, Any]:
        """The arguments of `BC.train`."""
        found = {"progress_bar": False, **self.train_kwargs}
        if found.get("n_epochs") is None and found.get("n_batches") is None:
            found["n_epochs"] = 10
        return found


bc_ingredient = _engine.ingredient("bc", BCSettings)
