"""GAIL and AIRL: updates of the discriminator per second, and timesteps per second of the whole training."""

from typing import Any

import numpy as np
import torch as th
import torch.nn.functional as F
from stable_baselines3 import PPO
from torch import nn

from workloads import Task, Workload, part
from workloads.data import scratch
from workloads.rollouts import N_ENVS, make_venv

OBS, ACTIONS, GAMMA = 4, 2, 0.99
N_STEPS, N_UPDATES = 256, 8
ROUND = N_STEPS * N_ENVS
LEARNED = 0.8  # accuracy; each side draws batches of its own, and all must tell most rows apart


def expert(n: int) -> dict[str, np.ndarray]:
    """Transitions unlike a beginner's: a cart far to the right, pushed to the left."""
    rng = np.random.default_rng(0)
    obs, next_obs = rng.normal(0.3, 0.3, (2, n, OBS)).astype(np.float32)
    return {"obs": obs, "acts": np.zeros(n, np.int64), "next_obs": next_obs, "dones": np.zeros(n, bool)}


def make_generator(venv: Any) -> PPO:
    return PPO("MlpPolicy", venv, n_steps=N_STEPS, batch_size=256, n_epochs=4, seed=0, device="cpu")


def make_trainer(package: str, algorithm: str, batch_size: int) -> Any:
    th.manual_seed(0)
    venv = make_venv(None)
    nets = part(package, "rewards.reward_nets")
    net = nets.BasicRewardNet if algorithm == "gail" else nets.BasicShapedRewardNet
    return getattr(part(package, f"algorithms.adversarial.{algorithm}"), algorithm.upper())(
        demonstrations=part(package, "data.types").Transitions(infos=np.array([{}] * 4096), **expert(4096)),
        demo_batch_size=batch_size,
        venv=venv,
        gen_algo=make_generator(venv),
        reward_net=net(venv.observation_space, venv.action_space),
        n_disc_updates_per_round=N_UPDATES,
        custom_logger=part(package, "util.logger").configure(scratch(), []),
        log_dir=scratch(),
        allow_variable_horizon=True,
    )


def disc_library(package: str, algorithm: str, batch_size: int, n: int) -> Task:
    trainer = make_trainer(package, algorithm, batch_size)
    trainer.train_gen()

    def run() -> int:
        for _ in range(n):
            trainer.train_disc()
        return n

    return Task(run, lambda: float(trainer.train_disc()["disc_acc"] > LEARNED))


class BareDiscriminator:
    """Transitions, network and optimizer of GAIL's or AIRL's discriminator, with no library around them."""

    def __init__(self, algorithm: str, batch_size: int) -> None:
        data = expert(4096)
        n_inputs = OBS + ACTIONS
        self.expert = th.tensor(np.concatenate([data["obs"], np.eye(ACTIONS, dtype=np.float32)[data["acts"]]], 1))
        self.learner = 0.05 * th.randn(ROUND, n_inputs)
        self.potentials = th.randn(2, 4096 + ROUND, OBS)
        self.log_prob = th.full((2 * batch_size,), -0.7)
        self.airl, self.size = algorithm == "airl", batch_size
        self.net = nn.Sequential(nn.Linear(n_inputs, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        if self.airl:
            self.net = nn.Sequential(nn.Linear(n_inputs, 32), nn.ReLU(), nn.Linear(32, 1))
            self.h = nn.Sequential(nn.Linear(OBS, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        parts = [self.net, self.h] if self.airl else [self.net]
        self.optimizer = th.optim.Adam([p for part in parts for p in part.parameters()], fused=True)
        self.labels = th.cat([th.ones(batch_size), th.zeros(batch_size)])

    def update(self) -> None:
        i, j = th.randint(4096, (self.size,)), th.randint(ROUND, (self.size,))
        self.logits = self.net(th.cat([self.expert[i], self.learner[j]])).squeeze(1)
        if self.airl:
            rows = th.cat([i, j + 4096])
            before, after = (self.h(side[rows]).squeeze(1) for side in self.potentials)
            self.logits = self.logits + GAMMA * after - before - self.log_prob
        loss = F.binary_cross_entropy_with_logits(self.logits, self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def accuracy(self) -> float:
        return float(((self.logits > 0) == (self.labels > 0)).float().mean())


def disc_floor(algorithm: str, batch_size: int, n: int) -> Task:
    th.manual_seed(0)
    bare = BareDiscriminator(algorithm, batch_size)

    def run() -> int:
        for _ in range(n):
            bare.update()
        return n

    return Task(run, lambda: float(bare.accuracy() > LEARNED))


def train_library(package: str, n: int) -> Task:
    trainer = make_trainer(package, "gail", 1024)
    progress = {"progress_bar": False} if package == "imitation_lab" else {}

    def run() -> int:
        trainer.train(n * ROUND, **progress)
        return n * ROUND

    return Task(run, lambda: float(trainer.gen_algo.num_timesteps))


def train_floor(n: int) -> Task:
    """`PPO.learn` on the environment's own reward, and the discriminator's updates beside it."""
    th.manual_seed(0)
    generator = make_generator(make_venv(None))
    bare = BareDiscriminator("gail", 1024)

    def run() -> int:
        for _ in range(n):
            generator.learn(ROUND, reset_num_timesteps=False)
            for _ in range(N_UPDATES):
                bare.update()
        return n * ROUND

    return Task(run, lambda: float(generator.num_timesteps))


def disc(algorithm: str, batch_size: int, target: float) -> Workload:
    size = {"algorithm": algorithm, "batch_size": batch_size}
    return Workload(
        f"{algorithm}_disc_{batch_size}",
        "updates",
        target,
        size | {"n": 200},
        size | {"n": 100},
        disc_library,
        disc_floor,
    )


WORKLOADS = [
    disc("gail", 256, 6.5),
    disc("gail", 1024, 10),
    disc("airl", 256, 3),
    disc("airl", 1024, 4),
    Workload("gail_train", "timesteps", 1.5, {"n": 4}, {"n": 1}, train_library, train_floor),
]
