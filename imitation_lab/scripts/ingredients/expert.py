"""The expert policy."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab import experts
from imitation_lab.policies.serialize import load_policy
from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts.output import POLICY_FILE

__all__ = ["Expert", "expert_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expert:
    """The expert policy.

    Attributes:
        policy_type: "bundled" for the one that comes with the library, or a key of `policy_registry`: ppo, sac, random,
            zero, ppo-huggingface, sac-huggingface.
        loader_kwargs: for its loader, such as path, or env_name and organization; for "bundled", name.
    """

    policy_type: str = "bundled"
    loader_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self, venv: VecEnv, gym_id: str) -> BasePolicy:
        """The policy.

        Args:
            venv: the environments that it shall act in.
            gym_id: their id.

        Raises:
            ValueError: if there is none, or it does not fit the environment.
            FileNotFoundError: if its file does not exist.
        """
        kwargs = dict(self.loader_kwargs)
        if self.policy_type == "bundled":
            policy = _names.call("expert.loader_kwargs", experts.load_expert, **{"name": gym_id, **kwargs})
        else:
            if self.policy_type.endswith("-huggingface") and not {"env_name", "repo_id"} & kwargs.keys():
                kwargs["env_name"] = gym_id
            if self.policy_type in ("ppo", "sac") and "path" not in kwargs:
                raise ValueError(
                    f"expert.policy_type={self.policy_type!r} needs a file: add expert.loader_kwargs.path=FILE."
                )
            if "path" in kwargs:
                native = pathlib.Path(kwargs["path"]) / POLICY_FILE
                kwargs["path"] = native if native.is_file() else kwargs["path"]
            policy = load_policy(self.policy_type, venv, **kwargs)
        for name in ("observation_space", "action_space"):
            own, theirs = getattr(policy, name), getattr(venv, name)
            if own.shape != theirs.shape or type(own) is not type(theirs):
                raise ValueError(
                    f"the expert ({self.policy_type}) has the {name} {own}, which does not fit that of {gym_id}, "
                    f"{theirs}: choose another expert or environment."
                )
        return policy


expert_ingredient = _engine.ingredient("expert", Expert)
