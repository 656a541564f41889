"""`generate_trajectories` on eight CartPole environments, environment steps per second."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from workloads import Task, Workload, part

N_ENVS = 8


def make_venv(max_episode_steps: int | None) -> DummyVecEnv:
    """Eight CartPole environments without further wrappers, the same on every side."""
    venv = DummyVecEnv([lambda: gym.make("CartPole-v1", max_episode_steps=max_episode_steps)] * N_ENVS)
    venv.seed(0)
    venv.action_space.seed(0)
    return venv


def make_policy(venv: DummyVecEnv) -> ActorCriticPolicy:
    """A network of 32 by 32 at its first weights."""
    th.manual_seed(0)
    return ActorCriticPolicy(venv.observation_space, venv.action_space, lambda _: 3e-4, net_arch=[32, 32])


def library(package: str, n: int, network: bool, max_episode_steps: int | None) -> Task:
    rollout = part(package, "data.rollout")
    venv = make_venv(max_episode_steps)
    policy = make_policy(venv) if network else None
    latest: list[Any] = []

    def run() -> int:
        until = rollout.make_sample_until(min_timesteps=n)
        latest[:] = rollout.generate_trajectories(policy, venv, until, np.random.default_rng(0))
        return sum(len(t.acts) for t in latest)

    # CartPole pays 1 for every step.
    return Task(run, lambda: sum(float(t.rews.sum()) for t in latest) / sum(len(t.obs) - 1 for t in latest))


def floor(n: int, network: bool, max_episode_steps: int | None) -> Task:
    venv = make_venv(max_episode_steps)
    policy = make_policy(venv) if network else None
    rng = np.random.default_rng(0)
    total = [0.0, 0]

    def run() -> int:
        """Steps the environments and keeps the arrays; nothing is cut into episodes."""
        obs, steps, rews = venv.reset(), 0, []
        kept = []
        while steps < n:
            if policy is None:
                acts = rng.integers(2, size=N_ENVS)
            else:
                with th.no_grad():
                    features = policy.mlp_extractor.policy_net(th.as_tensor(obs))
                    logits = policy.action_net(features)
                    acts = th.multinomial(logits.softmax(1), 1).squeeze(1).numpy()
            new_obs, rew, _, _ = venv.step(acts)
            kept.append((obs, acts))
            rews.append(rew)
            obs = new_obs
            steps += N_ENVS
        total[:] = [float(np.sum(rews)), steps]
        return steps

    return Task(run, lambda: total[0] / total[1])


WORKLOADS = [
    Workload(
        name="rollout_network",
        unit="steps",
        target=1.3,
        size={"n": 8_000, "network": True, "max_episode_steps": None},
        tiny={"n": 200, "network": True, "max_episode_steps": None},
        library=library,
        floor=floor,
    ),
    Workload(
        name="rollout_random_short",
        unit="steps",
        target=4.0,
        size={"n": 50_000, "network": False, "max_episode_steps": 5},
        tiny={"n": 200, "network": False, "max_episode_steps": 5},
        library=library,
        floor=floor,
    ),
]
