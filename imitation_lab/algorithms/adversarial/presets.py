"""Settings that are known to learn, with what they reached.

    preset = presets("CartPole", "gail")
    trainer = preset.build(rng=np.random.default_rng(0), seed=0)
    trainer.train(preset.total_timesteps)

`preset.result` says what to expect, and on which seeds and in what time it was measured.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.algorithms import presets as data
from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.bounded import BoundedRewardNet
from imitation_lab.algorithms.adversarial.common import AdversarialTrainer
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.algorithms.adversarial.penalties import Penalty  # noqa: F401 (presets hold some)
from imitation_lab.algorithms.base import seeded_torch
from imitation_lab.algorithms.presets.names import with_classes
from imitation_lab.experts import load_demonstrations
from imitation_lab.rewards.reward_nets import (
    BasicPotentialMLP,
    BasicRewardNet,
    NormalizedRewardNet,
    RewardNet,
    ShapedRewardNet,
)
from imitation_lab.util import util
from imitation_lab.util.networks import RunningNorm

__all__ = ["Result", "Preset", "available", "presets"]

_ALGORITHMS: dict[str, type[AdversarialTrainer]] = {"gail": GAIL, "airl": AIRL}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a preset reached, on three seeds that were not used to find it; with MuJoCo, on the one that was.

    Attributes:
        seeds: one training run each.
        returns: mean environment return of each run's policy, acting stochastically, over `n_episodes`.
        deterministic_returns: the same with the likeliest actions.
        expert_return: mean of the bundled demonstrations.
        n_episodes: evaluated per run.
        cpu_seconds: mean CPU time of `train`, one thread.
    """

    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    deterministic_returns: tuple[float, ...]
    expert_return: float
    n_episodes: int
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Preset:
    """Settings for an environment and an algorithm.

    Attributes:
        algorithm: "gail" or "airl".
        env_name: id of the environment.
        expert: name for `imitation_lab.experts.load_demonstrations`.
        n_demonstrations: episodes of it.
        n_envs: environments that the generator learns in.
        total_timesteps: for `train`.
        gen_kwargs: arguments of `PPO`.
        reward_net_kwargs: arguments of the reward network.
        trainer_kwargs: arguments of `GAIL` or `AIRL`.
        result: what it reached.
        normalize_reward: whether the learner gets the reward with mean 0 and a standard deviation of 1.
    """

    algorithm: Literal["gail", "airl"]
    env_name: str
    expert: str
    n_demonstrations: int
    n_envs: int
    total_timesteps: int
    gen_kwargs: Mapping[str, Any]
    reward_net_kwargs: Mapping[str, Any]
    trainer_kwargs: Mapping[str, Any]
    result: Result | None
    normalize_reward: bool = True

    def make_venv(self, rng: np.random.Generator) -> VecEnv:
        """The environments, seeded from `rng`."""
        return util.make_vec_env(self.env_name, rng=rng, n_envs=self.n_envs)

    def make_gen_algo(self, venv: VecEnv, seed: int | None = None, **kwargs: Any) -> BaseAlgorithm:
        """The generator, untrained; `kwargs` replace `gen_kwargs`."""
        policy = {"policy": "MlpPolicy", "device": "cpu", "seed": seed}
        return PPO(env=venv, **{**policy, **copy.deepcopy(dict(self.gen_kwargs)), **kwargs})

    def make_reward_net(self, venv: VecEnv, rng: np.random.Generator, **kwargs: Any) -> RewardNet:
        """The discriminator's network, initialised from `rng`; `kwargs` replace `reward_net_kwargs`."""
        options = {**self.reward_net_kwargs, **kwargs}
        with seeded_torch(rng):
            if self.algorithm == "gail":
                net: RewardNet = BasicRewardNet(venv.observation_space, venv.action_space, **options)
            else:
                gamma = options.pop("discount_factor")
                cls = BoundedRewardNet if "bound" in options else BasicRewardNet
                g = cls(venv.observation_space, venv.action_space, **options)
                h = BasicPotentialMLP(venv.observation_space, (32, 32), normalize_input_layer=RunningNorm)
                net = ShapedRewardNet(g, h, gamma)
        return NormalizedRewardNet(net, RunningNorm) if self.normalize_reward else net

    def build(
        self,
        rng: np.random.Generator,
        seed: int | None = None,
        *,
        venv: VecEnv | None = None,
        demonstrations: Any = None,
        gen_algo: BaseAlgorithm | None = None,
        reward_net: RewardNet | None = None,
        **kwargs: Any,
    ) -> AdversarialTrainer:
        """The trainer; what is not given is made as the preset says.

        Args:
            rng: seeds environments and network, and draws the batches.
            seed: of the generator, for reproducible runs.
            venv: environments.
            demonstrations: by default the bundled ones.
            gen_algo: generator.
            reward_net: network.
            **kwargs: replace `trainer_kwargs`.
        """
        if demonstrations is None:
            demonstrations = load_demonstrations(self.expert, n=self.n_demonstrations)
        if venv is None:
            venv = self.make_venv(rng)
        if reward_net is None:
            reward_net = self.make_reward_net(venv, rng)
        if gen_algo is None:
            gen_algo = self.make_gen_algo(venv, seed)
        return _ALGORITHMS[self.algorithm](
            demonstrations=demonstrations,
            venv=venv,
            gen_algo=gen_algo,
            reward_net=reward_net,
            **{"rng": rng, **copy.deepcopy(dict(self.trainer_kwargs)), **kwargs},
        )


@functools.cache
def _presets() -> dict[tuple[str, str], Preset]:
    """By name of the expert and of the algorithm."""
    found = [_read(algorithm, name) for algorithm in _ALGORITHMS for name in data.available(algorithm)]
    return {(preset.expert, preset.algorithm): preset for preset in found if preset is not None}


def _read(algorithm: Any, name: str) -> Preset | None:
    """A preset out of the command line's values; None for those that name no environment of ours."""
    found = data.read(algorithm, name)
    if "expert" not in found:
        return None
    values = with_classes(found["values"])
    result: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in found["result"].items()}
    n_envs, rl, reward = values["environment"]["num_vec"], values["rl"], values["reward"]
    return Preset(
        algorithm=algorithm,
        env_name=found["env_name"],
        expert=found["expert"],
        n_demonstrations=values["demonstrations"]["n_expert_demos"],
        n_envs=n_envs,
        total_timesteps=values["total_timesteps"],
        gen_kwargs={"n_steps": rl["batch_size"] // n_envs, **rl["rl_kwargs"]},
        reward_net_kwargs={**reward["net_kwargs"], **reward.get("shaping", {})},
        trainer_kwargs=values["algorithm_kwargs"],
        result=Result(**result),
        normalize_reward=reward["normalize_output_layer"] is not None,
    )


def available() -> list[tuple[str, str]]:
    """Environment and algorithm of each preset, such as ("CartPole", "gail")."""
    return list(_presets())


def presets(env_name: str, algorithm: str) -> Preset:
    """The settings for an environment and an algorithm.

    Args:
        env_name: "CartPole" or "Pendulum", or the environment's id; for GAIL also "HalfCheetah" or "Hopper", which need
            the extra `mujoco`.
        algorithm: "gail" or "airl".

    Raises:
        ValueError: if there are none; the text lists those there are.
    """
    wanted = str(algorithm).lower()
    for preset in _presets().values():
        if env_name in (preset.expert, preset.env_name) and preset.algorithm == wanted:
            return preset
    known = ", ".join(f"({name!r}, {algo!r})" for name, algo in available())
    raise ValueError(f"There is no preset for ({env_name!r}, {algorithm!r}); there are {known}.")
