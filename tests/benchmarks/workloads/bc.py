"""Behavioral cloning, transitions per second: an MLP of 32 by 32, one epoch a run."""

import math

import numpy as np
import torch as th
from torch import nn

from workloads import Task, Workload, part
from workloads.data import ACT_SPACE, ACTS, OBS, OBS_SPACE, arrays, scratch, transitions

ENT_WEIGHT = 1e-3  # BC's default


def library(package: str, n: int, batch_size: int) -> Task:
    th.manual_seed(0)
    quiet = part(package, "util.logger").configure(scratch(), [])
    trainer = part(package, "algorithms.bc").BC(
        observation_space=OBS_SPACE,
        action_space=ACT_SPACE,
        rng=np.random.default_rng(0),
        demonstrations=transitions(package, n),
        batch_size=batch_size,
        device="cpu",
        custom_logger=quiet,
    )

    def run() -> int:
        trainer.train(n_epochs=1, progress_bar=False)
        return n // batch_size * batch_size

    def check() -> float:
        data = arrays(n)
        with th.no_grad():
            log_prob = trainer.policy.evaluate_actions(th.tensor(data["obs"]), th.tensor(data["acts"]))[1]
        return float(-log_prob.mean())

    return Task(run, check)


def floor(n: int, batch_size: int) -> Task:
    th.manual_seed(0)
    data = arrays(n)
    obs, acts = th.tensor(data["obs"]), th.tensor(data["acts"])
    net = nn.Sequential(nn.Linear(OBS, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, ACTS))
    log_std = nn.Parameter(th.zeros(ACTS))
    optimizer = th.optim.Adam([*net.parameters(), log_std], fused=True)

    def neg_log_prob(o: th.Tensor, a: th.Tensor) -> th.Tensor:
        z = (a - net(o)) * th.exp(-log_std)
        return 0.5 * z.square().sum(1).mean() + log_std.sum() + 0.5 * ACTS * math.log(2 * math.pi)

    def run() -> int:
        order = th.randperm(n)
        order = order[: n // batch_size * batch_size]
        for o, a in zip(obs[order].split(batch_size), acts[order].split(batch_size), strict=True):
            entropy = log_std.sum() + 0.5 * ACTS * (1 + math.log(2 * math.pi))
            loss = neg_log_prob(o, a) - ENT_WEIGHT * entropy
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return n // batch_size * batch_size

    def check() -> float:
        with th.no_grad():
            return float(neg_log_prob(obs, acts))

    return Task(run, check)


WORKLOADS = [
    Workload(
        name=f"bc_{batch_size}",
        unit="transitions",
        target=target,
        size={"n": 50_000, "batch_size": batch_size},
        tiny={"n": 1_000, "batch_size": batch_size},
        library=library,
        floor=floor,
        tolerance=0.3,  # the networks start from different weights
    )
    for batch_size, target in ((32, 2.6), (256, 4.7))
]
