"""Tiny environments, one per kind of space, and trainers on them."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.logger import DISABLED
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.data import rollout
from imitation_lab.policies.base import RandomPolicy
from imitation_lab.rewards.reward_nets import BasicRewardNet
from imitation_lab.util import logger as lab_logger

OBSERVATIONS = {
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float32), "b": spaces.Discrete(3)}),
    "image_hwc": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "image_chw": spaces.Box(0, 255, (3, 36, 36), np.uint8),
}
ACTIONS = {
    "box": spaces.Box(-2, 2, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(2),
}


class RandomEnv(gym.Env):
    """Random observations for `horizon` steps; reward 1 for the action 1, or the first entry of another."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, horizon: int = 8):
        self.observation_space = observation_space
        self.action_space = action_space
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self._t += 1
        reward = float(np.asarray(action).flat[0])
        return self.observation_space.sample(), reward, False, self._t >= self.horizon, {}


def make_venv(obs="box", act="discrete", n_envs=2, horizon=8, seed=0):
    import copy

    def make(i):
        env = RandomEnv(copy.deepcopy(OBSERVATIONS[obs]), copy.deepcopy(ACTIONS[act]), horizon)
        env.action_space.seed(seed + i)
        return Monitor(env)

    venv = DummyVecEnv([lambda i=i: make(i) for i in range(n_envs)])
    venv.seed(seed)
    return venv


def make_demonstrations(venv, n=6):
    policy = RandomPolicy(venv.observation_space, venv.action_space)
    until = rollout.make_sample_until(min_episodes=n)
    return rollout.rollout(policy, venv, until, np.random.default_rng(0), unwrap=False)


def make_generator(name, venv, seed=0):
    dict_obs = isinstance(venv.observation_space, spaces.Dict)
    policy = "MultiInputPolicy" if dict_obs else "MlpPolicy"
    common = {"seed": seed, "device": "cpu", "policy_kwargs": {"net_arch": [8]}}
    if name in ("PPO", "A2C"):
        extra = {"batch_size": 8, "n_epochs": 2} if name == "PPO" else {}
        return {"PPO": PPO, "A2C": A2C}[name](policy, venv, n_steps=8, **extra, **common)
    extra = {"target_update_interval": 5} if name == "DQN" else {}
    classes = {"DQN": DQN, "SAC": SAC, "TD3": TD3}
    return classes[name](
        policy, venv, buffer_size=200, batch_size=8, learning_starts=4, train_freq=1, **extra, **common
    )


@pytest.fixture
def quiet(tmp_path):
    logger = lab_logger.configure(tmp_path / "log", [])
    logger.set_level(DISABLED)
    return logger


@pytest.fixture
def build(quiet):
    """Builds a small trainer; keyword arguments replace its own."""

    def make(
        cls=GAIL, obs="box", act="discrete", gen="PPO", net=None, seed=0, horizon=8, demonstrations=None, **kwargs
    ):
        venv = make_venv(obs, act, horizon=horizon, seed=seed)
        if demonstrations is None:
            demonstrations = make_demonstrations(make_venv(obs, act, horizon=horizon, seed=99))
        if net is None:
            with th.random.fork_rng():
                th.manual_seed(seed)
                net = BasicRewardNet(venv.observation_space, venv.action_space, hid_sizes=(8,))
        elif not isinstance(net, th.nn.Module):
            net = net(venv.observation_space, venv.action_space)
        arguments = {
            "demonstrations": demonstrations,
            "demo_batch_size": 8,
            "venv": venv,
            "gen_algo": make_generator(gen, venv, seed) if isinstance(gen, str) else gen,
            "reward_net": net,
            "gen_train_timesteps": 16,
            "gen_replay_buffer_capacity": 32,
            "custom_logger": quiet,
            "rng": np.random.default_rng(seed),
            "disc_opt_kwargs": {"lr": 1e-2},
            **kwargs,
        }
        return cls(**arguments)

    make.venv = make_venv
    return make


ALGORITHMS = {"GAIL": GAIL, "AIRL": AIRL}
