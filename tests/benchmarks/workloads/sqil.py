"""SQIL with DQN on CartPole against plain DQN, environment steps per second; and demonstrations set per second.

The peer's SQIL does not run with SB3 2.9. What ours is measured against in its place, in the peer's environment, is
SB3's DQN with the same arguments: the same work without a second half of each batch.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv

from workloads import OURS, Task, Workload, part
from workloads.data import scratch

KWARGS = {"seed": 0, "device": "cpu", "buffer_size": 50_000, "learning_starts": 200}


def rows(n: int) -> dict[str, np.ndarray]:
    """Random transitions of CartPole's shapes, in episodes of 500 steps."""
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (2, n, 4)).astype(np.float32)
    dones = np.arange(1, n + 1) % 500 == 0
    return {"obs": obs[0], "acts": rng.integers(0, 2, n), "next_obs": obs[1], "dones": dones}


def demonstrations(package: str, n: int) -> Any:
    return part(package, "data.types").Transitions(infos=np.array([{}] * n), **rows(n))


def cartpole() -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make("CartPole-v1")])


def steps(package: str, n: int, demos: int) -> Task:
    if package != OURS:
        return steps_floor(n, demos)
    sqil = part(package, "algorithms.sqil").SQIL(
        venv=cartpole(),
        demonstrations=demonstrations(package, demos),
        policy="MlpPolicy",
        custom_logger=part(package, "util.logger").configure(scratch(), []),
        rl_kwargs=KWARGS,
    )

    def run() -> int:
        sqil.train(total_timesteps=n, reset_num_timesteps=False, progress_bar=False)
        return n

    return Task(run, lambda: updates_per_step(sqil.rl_algo))


def steps_floor(n: int, demos: int) -> Task:
    del demos
    dqn = DQN("MlpPolicy", cartpole(), **KWARGS)

    def run() -> int:
        dqn.learn(n, reset_num_timesteps=False)
        return n

    return Task(run, lambda: updates_per_step(dqn))


def updates_per_step(dqn: DQN) -> float:
    return dqn._n_updates / (dqn.num_timesteps - KWARGS["learning_starts"])


def setting(package: str, n: int) -> Task:
    data = demonstrations(package, n)
    env = gym.make("CartPole-v1")
    buffer = part(package, "algorithms.sqil").SQILReplayBuffer(
        buffer_size=1000,
        observation_space=env.observation_space,
        action_space=env.action_space,
        demonstrations=data,
        device="cpu",
    )

    def run() -> int:
        buffer.set_demonstrations(data)
        return n

    def check() -> float:
        if package == OURS:
            return float(np.abs(buffer.expert["next_observations"]).sum())
        return float(np.abs(buffer.expert_buffer.next_observations).sum())

    return Task(run, check)


def setting_floor(n: int) -> Task:
    data = rows(n)

    def run() -> int:
        for array in data.values():
            array.copy()
        return n

    return Task(run, lambda: float(np.abs(data["next_obs"]).sum()))


WORKLOADS = [
    Workload(
        name="sqil_dqn",
        unit="steps",
        target=0.95,
        size={"n": 2000, "demos": 5000},
        tiny={"n": 400, "demos": 100},
        library=steps,
        floor=steps_floor,
        tolerance=0.02,
    ),
    Workload(
        name="sqil_set_demonstrations",
        unit="transitions",
        target=100.0,
        size={"n": 10_000},
        tiny={"n": 100},
        library=setting,
        floor=setting_floor,
    ),
]
