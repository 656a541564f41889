"""The reward network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms.base import seeded_torch
from imitation_lab.rewards import reward_nets
from imitation_lab.rewards.reward_nets import BasicPotentialMLP, NormalizedRewardNet, RewardNet, ShapedRewardNet
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.rewards.serialize import load_reward
from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts._schema import AtLeast, known

__all__ = ["Reward", "learned_reward", "reward_ingredient"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reward:
    """The reward network.

    Attributes:
        net_cls: its class: BasicRewardNet, BoundedRewardNet, BasicShapedRewardNet or CnnRewardNet; None is the first,
            or, for AIRL without reward.shaping, the third.
        net_kwargs: arguments of the class; normalize_input_layer is RunningNorm unless set.
        shaping: adds the difference of a learned potential, as AIRL does: {"discount_factor": 0.99, "hid_sizes": [32,
            32]}; None adds none.
        normalize_output_layer: RunningNorm, EMANorm, or None for rewards as they are.
        add_std_alpha: adds so many standard deviations of an ensemble to its mean; None adds nothing.
        ensemble_size: number of networks; None is one.
        ensemble_member_config: `net_cls`, `net_kwargs` and `normalize_output_layer` of the members, over those above.
    """

    net_cls: str | type | None = None
    net_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"normalize_input_layer": "RunningNorm"})
    shaping: Mapping[str, Any] | None = None
    normalize_output_layer: str | type | None = "RunningNorm"
    add_std_alpha: float | None = None
    ensemble_size: Annotated[int, AtLeast(2)] | None = None
    ensemble_member_config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def make(self, venv: VecEnv, rng: np.random.Generator, default: str = "BasicRewardNet") -> RewardNet:
        """The network, with its wrappers, drawn from `rng`.

        Args:
            venv: gives the spaces.
            rng: draws the weights.
            default: class, where none is configured.

        Raises:
            ValueError: if the keys contradict each other, or an argument or class does not exist.
        """
        with seeded_torch(rng):
            if self.ensemble_size is None:
                if self.add_std_alpha is not None:
                    raise ValueError("reward.add_std_alpha needs an ensemble: set reward.ensemble_size, such as 3.")
                return self._normalized(self._net(venv, default))
            keys = ("net_cls", "net_kwargs", "normalize_output_layer")
            changes = known("reward.ensemble_member_config", self.ensemble_member_config, *keys)
            member = dataclasses.replace(self, **changes)
            members = [member._normalized(member._net(venv, default)) for _ in range(self.ensemble_size)]
            ensemble = reward_nets.RewardEnsemble(venv.observation_space, venv.action_space, members)
            if self.add_std_alpha is None:
                return ensemble
            return reward_nets.AddSTDRewardWrapper(ensemble, default_alpha=self.add_std_alpha)

    def _net(self, venv: VecEnv, default: str) -> RewardNet:
        cls = _names.find("reward network", self.net_cls or (default if self.shaping is None else "BasicRewardNet"))
        kwargs = _names.with_classes(self.net_kwargs)
        net: RewardNet = _names.call("reward.net_kwargs", cls, venv.observation_space, venv.action_space, **kwargs)
        if self.shaping is None:
            return net
        shaping = {"hid_sizes": [32, 32], **known("reward.shaping", self.shaping, "discount_factor", "hid_sizes")}
        if "discount_factor" not in shaping:
            raise ValueError("reward.shaping needs the policy's discount: reward.shaping.discount_factor=0.99, say.")
        layer = {"normalize_input_layer": kwargs.get("normalize_input_layer")}
        return ShapedRewardNet(
            net, BasicPotentialMLP(venv.observation_space, shaping["hid_sizes"], **layer), shaping["discount_factor"]
        )

    def _normalized(self, net: RewardNet) -> RewardNet:
        if self.normalize_output_layer is None:
            return net
        return NormalizedRewardNet(net, _names.find("norm", self.normalize_output_layer))


def learned_reward(venv: VecEnv, reward_type: str, reward_path: str | None, **kwargs: Any) -> RewardVecEnvWrapper:
    """The environments under a reward that a file holds.

    Args:
        venv: the environments.
        reward_type: a key of `reward_registry`.
        reward_path: the file; "zero" has none.
        **kwargs: for its loader.

    Raises:
        ValueError: if the file is not named.
    """
    if reward_path is None and reward_type != "zero":
        raise ValueError(f"reward_type={reward_type!r} needs reward_path=FILE.")
    return RewardVecEnvWrapper(venv, load_reward(reward_type, reward_path or "", venv, **kwargs))


reward_ingredient = _engine.ingredient("reward", Reward)
