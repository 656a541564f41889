"""Rewards one vector step at a time: `predict_processed` at batch 8, and `RewardVecEnvWrapper` around CartPole."""

import itertools
from typing import Any

import numpy as np
import torch as th
import torch.nn.functional as F
from torch import nn

from workloads import Task, Workload, part
from workloads.data import ACT_SPACE, ACTS, OBS, OBS_SPACE
from workloads.rollouts import N_ENVS, make_venv

BATCH, MEMBERS, ALPHA, GAMMA = 8, 5, 0.5, 0.99


def fill(module: nn.Module) -> None:
    """Give a network known weights, so that every side computes the same rewards."""
    with th.no_grad():
        for i, p in enumerate(module.parameters()):
            values = th.sin(th.arange(p.numel(), dtype=th.float32) + i)
            p.copy_(values.reshape(p.shape) / p.shape[-1] ** 0.5)


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    state, next_state = rng.standard_normal((2, BATCH, OBS), dtype=np.float32)
    action = rng.standard_normal((BATCH, ACTS), dtype=np.float32)
    return state, action, next_state, np.arange(BATCH) == 0


def build(package: str, kind: str) -> Any:
    nets = part(package, "rewards.reward_nets")
    norm = part(package, "util.networks").RunningNorm
    basic = lambda: nets.BasicRewardNet(OBS_SPACE, ACT_SPACE)
    normalized = lambda: nets.NormalizedRewardNet(basic(), norm)
    ensemble = lambda member: nets.RewardEnsemble(OBS_SPACE, ACT_SPACE, [member() for _ in range(MEMBERS)])
    return {
        "basic": basic,
        "normalized": normalized,
        "shaped": lambda: nets.BasicShapedRewardNet(OBS_SPACE, ACT_SPACE, discount_factor=GAMMA),
        "ensemble": lambda: ensemble(basic),
        "ensemble_norm_std": lambda: nets.AddSTDRewardWrapper(ensemble(normalized), default_alpha=ALPHA),
    }[kind]()


def library(package: str, n: int, kind: str) -> Task:
    net = build(package, kind)
    fill(net)
    state, action, next_state, done = batch()
    first = net.predict_processed(state, action, next_state, done, update_stats=False)

    def run() -> int:
        for _ in range(n):
            net.predict_processed(state, action, next_state, done)
        return n

    return Task(run, lambda: float(np.abs(first).sum()))


class Norm:
    """Running mean and variance of a scalar: returns the value under the old statistics, then updates."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.mean, self.var, self.count = th.zeros(shape), th.ones(shape), 0

    def __call__(self, x: th.Tensor, update: bool = True) -> th.Tensor:
        """Normalize `x` of shape (*shape, batch)."""
        out = (x - self.mean[..., None]) / th.sqrt(self.var + 1e-5)[..., None]
        if update:
            var, mean = th.var_mean(x, dim=-1, correction=0)
            n = self.count + x.shape[-1]
            delta = mean - self.mean
            part_new = x.shape[-1] / n
            spread = delta.square() * (self.count * part_new / n)
            self.var = self.var * (self.count / n) + var * part_new + spread
            self.mean = self.mean + delta * part_new
            self.count = n
        return out


Weights = list[tuple[th.Tensor, th.Tensor]]


def weights(sizes: list[list[int]]) -> list[Weights]:
    """Weights and biases of MLPs, filled as one network's: modules would cost as much as the arithmetic."""
    nets = [[nn.Linear(a, b) for a, b in itertools.pairwise(s)] for s in sizes]
    fill(nn.ModuleList(nn.ModuleList(net) for net in nets))
    return [[(m.weight.detach(), m.bias.detach()) for m in net] for net in nets]


def mlp(x: th.Tensor, net: Weights) -> th.Tensor:
    """An MLP with one output: (batch,)."""
    for w, b in net[:-1]:
        x = F.linear(x, w, b).relu_()
    return F.linear(x, *net[-1]).squeeze(1)


def floor(n: int, kind: str) -> Task:
    members = MEMBERS if kind.startswith("ensemble") else 1
    sizes = [[OBS + ACTS, 32, 32, 1]] * members
    nets = weights([[OBS + ACTS, 32, 1], [OBS, 32, 32, 1]] if kind == "shaped" else sizes)
    state, action, next_state, done = batch()
    norm = Norm((members,) if kind == "ensemble_norm_std" else ())
    if kind.startswith("ensemble"):
        layers = zip(*nets, strict=True)
        stacked = [(th.stack([w.T for w, _ in m]), th.stack([b for _, b in m])[:, None]) for m in map(list, layers)]

    def together(x: th.Tensor) -> th.Tensor:
        """All members at once: (members, batch)."""
        h = x.expand(members, *x.shape)
        for i, (w, b) in enumerate(stacked):
            h = th.baddbmm(b, h.relu_() if i else h, w)
        return h.squeeze(-1)

    def reward(update: bool = True) -> np.ndarray:
        x = th.from_numpy(np.concatenate([state, action], axis=1))
        if kind == "shaped":
            phi, phi_next = mlp(th.from_numpy(np.concatenate([state, next_state])), nets[1]).split(BATCH)
            alive = th.from_numpy((GAMMA * ~done).astype(np.float32))
            out = mlp(x, nets[0]) + alive * phi_next - phi
        elif kind == "ensemble":
            out = together(x).mean(0)
        elif kind == "ensemble_norm_std":
            var, mean = th.var_mean(norm(together(x), update), dim=0)
            out = mean + ALPHA * var.sqrt()
        else:
            out = mlp(x, nets[0])
            if kind == "normalized":
                out = norm(out, update)
        return out.numpy()

    first = reward(update=False)

    def run() -> int:
        for _ in range(n):
            reward()
        return n

    return Task(run, lambda: float(np.abs(first).sum()))


def library_venv(package: str, n: int) -> Task:
    venv = make_venv(None)
    net = part(package, "rewards.reward_nets").BasicRewardNet(venv.observation_space, venv.action_space)
    fill(net)
    wrapped = part(package, "rewards.reward_wrapper").RewardVecEnvWrapper(venv, net.predict_processed)
    return _steps(wrapped, n)


def floor_venv(n: int) -> Task:
    venv = make_venv(None)
    (net,) = weights([[4 + 2, 32, 32, 1]])
    one_hot = np.eye(2, dtype=np.float32)

    class Bare:
        """The same reward with no bookkeeping, and the observation after a reset as next state."""

        def reset(self) -> np.ndarray:
            self.obs = venv.reset()
            return self.obs

        def step(self, acts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
            obs, _, dones, infos = venv.step(acts)
            x = th.from_numpy(np.concatenate([self.obs, one_hot[acts]], axis=1))
            self.obs = obs
            return obs, mlp(x, net).numpy(), dones, infos

    return _steps(Bare(), n)


def _steps(venv: Any, n: int) -> Task:
    actions = np.random.default_rng(0).integers(2, size=(n, N_ENVS))
    start = [venv.reset()]
    rewards = [venv.step(actions[0])[1]]

    def run() -> int:
        start[0] = venv.reset()
        for acts in actions:
            venv.step(acts)
        return n * N_ENVS

    return Task(run, lambda: float(np.abs(rewards[0]).sum()))


def _predict(kind: str, target: float) -> Workload:
    return Workload(
        name=f"reward_{kind}",
        unit="calls",
        target=target,
        size={"n": 1_000, "kind": kind},
        tiny={"n": 5, "kind": kind},
        library=library,
        floor=floor,
    )


WORKLOADS = [
    _predict("basic", 4.0),
    _predict("normalized", 5.0),
    _predict("shaped", 5.0),
    _predict("ensemble", 15.0),
    _predict("ensemble_norm_std", 9.0),
    Workload("reward_venv", "steps", 2.5, {"n": 1_000}, {"n": 20}, library_venv, floor_venv),
]
