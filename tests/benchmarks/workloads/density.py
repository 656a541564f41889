"""Density estimation on Pendulum's spaces: scores per second in batches of 8, and demonstrations set per second."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.vec_env import DummyVecEnv

from workloads import Task, Workload, part
from workloads.data import scratch

BANDWIDTH = 0.5


def rows(n: int, seed: int) -> dict[str, np.ndarray]:
    """Random transitions of Pendulum's shapes."""
    rng = np.random.default_rng(seed)
    obs = rng.uniform(-1, 1, (2, n, 3)).astype(np.float32)
    acts = rng.uniform(-2, 2, (n, 1)).astype(np.float32)
    return {"obs": obs[0], "acts": acts, "next_obs": obs[1], "dones": np.zeros(n, dtype=bool)}


def build(package: str, n: int) -> tuple[Any, Any]:
    """An algorithm without a learner, and its demonstrations."""
    data = part(package, "data.types").Transitions(infos=np.array([{}] * n), **rows(n, 0))
    algorithm = part(package, "algorithms.density").DensityAlgorithm(
        demonstrations=data,
        venv=DummyVecEnv([lambda: gym.make("Pendulum-v1")]),
        rng=np.random.default_rng(0),
        kernel_bandwidth=BANDWIDTH,
        custom_logger=part(package, "util.logger").configure(scratch(), []),
    )
    return algorithm, data


def query(batch: int) -> tuple[np.ndarray, ...]:
    data = rows(batch, 1)
    return data["obs"], data["acts"], data["next_obs"], data["dones"]


def score(package: str, n: int, batch: int) -> Task:
    algorithm, _ = build(package, n)
    algorithm.train()
    queries = query(batch)

    def run() -> int:
        algorithm(*queries)
        return batch

    return Task(run, lambda: float(np.mean(algorithm(*queries))))


class Bare:
    """The same estimate in bare torch."""

    def __init__(self, data: dict[str, np.ndarray]) -> None:
        x = self.join(data["obs"], data["acts"])
        self.mean, self.unit = x.mean(0), x.std(0, correction=0) * BANDWIDTH
        self.points = (x - self.mean) / self.unit
        self.norms = -0.5 * self.points.square().sum(1)
        dims = x.shape[1]
        self.log_total = float(np.log(len(x)) + dims * np.log(BANDWIDTH) + dims / 2 * np.log(2 * np.pi))

    @staticmethod
    def join(obs: np.ndarray, acts: np.ndarray) -> th.Tensor:
        return th.from_numpy(np.concatenate([obs, acts], axis=1)).double()

    def __call__(self, obs: np.ndarray, acts: np.ndarray) -> th.Tensor:
        u = (self.join(obs, acts) - self.mean) / self.unit
        logs = th.logsumexp(th.addmm(self.norms, u, self.points.T), dim=1)
        return logs - 0.5 * u.square().sum(1) - self.log_total


def score_floor(n: int, batch: int) -> Task:
    bare, (obs, acts, *_) = Bare(rows(n, 0)), query(batch)

    def run() -> int:
        bare(obs, acts)
        return batch

    return Task(run, lambda: float(bare(obs, acts).mean()))


def setting(package: str, n: int, batch: int) -> Task:
    algorithm, data = build(package, n)

    def run() -> int:
        algorithm.set_demonstrations(data)
        return n

    def check() -> float:
        algorithm.train()
        return float(np.mean(algorithm(*query(batch))))

    return Task(run, check)


def setting_floor(n: int, batch: int) -> Task:
    data = rows(n, 0)

    def run() -> int:
        Bare.join(data["obs"], data["acts"])
        return n

    return Task(run, lambda: float(Bare(data)(*query(batch)[:2]).mean()))


SIZES = {"size": {"n": 10_000, "batch": 8}, "tiny": {"n": 100, "batch": 8}}
WORKLOADS = [
    Workload(name="density_score_8", unit="transitions", target=8.0, library=score, floor=score_floor, **SIZES),
    Workload(
        name="density_set_demonstrations",
        unit="transitions",
        target=100.0,
        library=setting,
        floor=setting_floor,
        **SIZES,
    ),
]
