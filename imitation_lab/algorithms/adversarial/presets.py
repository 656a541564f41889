"""Settings that are known to learn, with what they reached.

    preset = presets("CartPole", "gail")
    trainer = preset.build(rng=np.random.default_rng(0), seed=0)
    trainer.train(preset.total_timesteps)

`preset.result` says what to expect, and on which seeds and in what time it was measured.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.bounded import BoundedRewardNet
from imitation_lab.algorithms.adversarial.common import AdversarialTrainer
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.algorithms.adversarial.penalties import R1Penalty
from imitation_lab.algorithms.base import seeded_torch
from imitation_lab.policies.base import NormalizeFeaturesExtractor
from imitation_lab.rewards.reward_nets import (
    BasicPotentialMLP,
    BasicRewardNet,
    NormalizedRewardNet,
    RewardNet,
    ShapedRewardNet,
)
from imitation_lab.util import util
from imitation_lab.util.networks import RunningNorm

_ALGORITHMS: dict[str, type[AdversarialTrainer]] = {"gail": GAIL, "airl": AIRL}
_ENVIRONMENTS = {
    "CartPole": "imitation_lab/CartPole-v0",
    "Pendulum": "Pendulum-v1",
    "HalfCheetah": "imitation_lab/HalfCheetah-v0",
    "Hopper": "imitation_lab/Hopper-v0",
}


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
            from imitation_lab.experts import load_demonstrations

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


_CARTPOLE: dict[str, Any] = {
    "env_name": _ENVIRONMENTS["CartPole"],
    "expert": "CartPole",
    "n_demonstrations": 5,
    "n_envs": 8,
    "gen_kwargs": {
        "n_steps": 500,  # whole episodes: most of a clumsy learner's steps are spent fallen, and teach nothing
        "batch_size": 500,
        "n_epochs": 20,
        "learning_rate": LinearSchedule(3e-3, 1e-4, 1.0),
        "gamma": 0.98,
        "gae_lambda": 0.8,
        "clip_range": 0.3,
    },
    "trainer_kwargs": {
        "demo_batch_size": 512,
        "n_disc_updates_per_round": 60,
        "gen_replay_buffer_capacity": 8000,
        "disc_opt_kwargs": {"lr": 1e-3},
    },
}
_CARTPOLE_AIRL: dict[str, Any] = {
    "disc_opt_kwargs": {"lr": 3e-4},
    "disc_warmup_rounds": 4,
    "gen_replay_buffer_capacity": 12_000,  # remembers failures: a learner that never falls shows the reward none
}
_PENDULUM: dict[str, Any] = {
    "env_name": _ENVIRONMENTS["Pendulum"],
    "expert": "Pendulum",
    "n_demonstrations": 20,
    "n_envs": 8,
    "total_timesteps": 240_000,
    "gen_kwargs": {
        "n_steps": 400,  # 16 episodes a round: from rare starts it is hardest
        "batch_size": 400,
        "n_epochs": 10,
        "learning_rate": LinearSchedule(1e-3, 1e-4, 1.0),
        "gamma": 0.9,
        "gae_lambda": 0.95,
        "clip_range": 0.2,
        "ent_coef": 0.003,  # without, some seeds end at half the way
    },
    "trainer_kwargs": {
        "demo_batch_size": 512,
        "n_disc_updates_per_round": 60,
        "gen_replay_buffer_capacity": 8000,
        "disc_opt_kwargs": {"lr": 1e-3},
    },
}
_PENDULUM_AIRL: dict[str, Any] = {"disc_opt_kwargs": {"lr": 3e-4}, "gen_replay_buffer_capacity": 16_000}
_HALF_CHEETAH: dict[str, Any] = {
    "env_name": _ENVIRONMENTS["HalfCheetah"],
    "expert": "HalfCheetah",
    "n_demonstrations": 10,
    "n_envs": 8,
    "total_timesteps": 1_000_000,
    "gen_kwargs": {
        "n_steps": 256,
        "batch_size": 256,
        "n_epochs": 10,
        "learning_rate": LinearSchedule(1e-3, 1e-4, 1.0),
        "gamma": 0.98,
        "gae_lambda": 0.92,
        "clip_range": 0.2,
        "policy_kwargs": {"features_extractor_class": NormalizeFeaturesExtractor, "log_std_init": -2.0},
    },
    "trainer_kwargs": {
        "demo_batch_size": 1024,
        "n_disc_updates_per_round": 8,
        "gen_replay_buffer_capacity": 16_384,
        "disc_opt_kwargs": {"lr": 3e-4},
        "penalties": [R1Penalty(10.0)],  # without, the discriminator wins in the first rounds and tells nothing more
    },
}
_HOPPER: dict[str, Any] = {
    "env_name": _ENVIRONMENTS["Hopper"],
    "expert": "Hopper",
    "n_demonstrations": 10,
    "n_envs": 8,
    "total_timesteps": 1_000_000,
    "gen_kwargs": {
        "n_steps": 512,
        "batch_size": 512,
        "n_epochs": 20,
        "learning_rate": LinearSchedule(4e-4, 1e-4, 1.0),
        "gamma": 0.995,
        "gae_lambda": 0.98,
        "clip_range": 0.1,
        "ent_coef": 0.001,
        "vf_coef": 0.2,
        "max_grad_norm": 0.9,
        "policy_kwargs": {"features_extractor_class": NormalizeFeaturesExtractor, "activation_fn": nn.ReLU},
    },
    "trainer_kwargs": {
        "demo_batch_size": 1024,
        "n_disc_updates_per_round": 16,
        "gen_replay_buffer_capacity": 16_384,
        "disc_opt_kwargs": {"lr": 3e-4},
        "penalties": [R1Penalty(2.0)],
    },
}
_NET: dict[str, Any] = {"normalize_input_layer": RunningNorm}
_PRESETS: dict[tuple[str, str], Preset] = {
    ("CartPole", "gail"): Preset(
        algorithm="gail",
        total_timesteps=180_000,
        reward_net_kwargs=_NET,
        result=Result(
            seeds=(101, 102, 103),
            returns=(500.0, 500.0, 500.0),
            deterministic_returns=(500.0, 500.0, 500.0),
            expert_return=500.0,
            n_episodes=50,
            cpu_seconds=58.7,
        ),
        **_CARTPOLE,
    ),
    ("CartPole", "airl"): Preset(
        algorithm="airl",
        total_timesteps=240_000,
        reward_net_kwargs={**_NET, "use_action": False, "bound": 2.0, "discount_factor": 0.98},
        result=Result(
            seeds=(101, 102, 103),
            returns=(496.2, 500.0, 500.0),
            deterministic_returns=(499.7, 500.0, 500.0),
            expert_return=500.0,
            n_episodes=50,
            cpu_seconds=56.8,
        ),
        **{
            **_CARTPOLE,
            "gen_kwargs": {**_CARTPOLE["gen_kwargs"], "target_kl": 0.03},  # no one round undoes a good policy
            "trainer_kwargs": {**_CARTPOLE["trainer_kwargs"], **_CARTPOLE_AIRL},
        },
    ),
    ("Pendulum", "gail"): Preset(
        algorithm="gail",
        reward_net_kwargs=_NET,
        normalize_reward=False,
        result=Result(
            seeds=(101, 102, 103),
            returns=(-185.3, -198.3, -171.5),
            deterministic_returns=(-182.9, -197.1, -171.0),
            expert_return=-189.4,
            n_episodes=200,
            cpu_seconds=55.3,
        ),
        **{**_PENDULUM, "gen_kwargs": {**_PENDULUM["gen_kwargs"], "gamma": 0.95}},
    ),
    ("Pendulum", "airl"): Preset(
        algorithm="airl",
        reward_net_kwargs={**_NET, "use_action": False, "discount_factor": 0.9},
        result=Result(
            seeds=(101, 102, 103),
            returns=(-208.5, -219.7, -207.4),
            deterministic_returns=(-210.1, -219.0, -206.8),
            expert_return=-189.4,
            n_episodes=200,
            cpu_seconds=65.0,
        ),
        **{**_PENDULUM, "trainer_kwargs": {**_PENDULUM["trainer_kwargs"], **_PENDULUM_AIRL}},
    ),
    ("HalfCheetah", "gail"): Preset(
        algorithm="gail",
        reward_net_kwargs=_NET,
        result=Result(
            seeds=(0,),
            returns=(3285.0,),
            deterministic_returns=(3753.0,),
            expert_return=5767.0,
            n_episodes=20,
            cpu_seconds=331.0,
        ),
        **_HALF_CHEETAH,
    ),
    ("Hopper", "gail"): Preset(
        algorithm="gail",
        reward_net_kwargs=_NET,
        result=Result(
            seeds=(0,),
            returns=(3282.0,),
            deterministic_returns=(3505.0,),
            expert_return=3585.3,
            n_episodes=20,
            cpu_seconds=422.0,
        ),
        **_HOPPER,
    ),
}


def available() -> list[tuple[str, str]]:
    """Environment and algorithm of each preset, such as ("CartPole", "gail")."""
    return list(_PRESETS)


def presets(env_name: str, algorithm: str) -> Preset:
    """The settings for an environment and an algorithm.

    Args:
        env_name: "CartPole" or "Pendulum", or the environment's id; for GAIL also "HalfCheetah" or "Hopper", which need
            the extra `mujoco`.
        algorithm: "gail" or "airl".

    Raises:
        ValueError: if there are none; the text lists those there are.
    """
    names = {env_id: name for name, env_id in _ENVIRONMENTS.items()}
    found = _PRESETS.get((names.get(env_name, env_name), str(algorithm).lower()))
    if found is None:
        known = ", ".join(f"({name!r}, {algo!r})" for name, algo in available())
        raise ValueError(f"There is no preset for ({env_name!r}, {algorithm!r}); there are {known}.")
    return found
