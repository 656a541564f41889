"""MCE IRL, iterations per second, and occupancy measures, on a slippery grid of 4, 8 or 20 cells squared."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from torch import nn

from workloads import Task, Workload, part
from workloads.data import scratch
from workloads.rewards import fill

HORIZON, ACTIONS, SLIP = 50, 4, 0.15
MOVES = ((0, 1), (1, 0), (0, -1), (-1, 0))


class Grid(gym.Env):
    """A square grid with the attributes of a tabular environment, belonging to neither package.

    The goal is the last cell; the observation is column and row, from 0 to 1.
    """

    def __init__(self, side: int) -> None:
        n = side * side
        cells = np.stack(np.divmod(np.arange(n), side))
        targets = [np.clip(cells + np.array(m)[:, None], 0, side - 1) for m in MOVES]
        self.transition_matrix = np.zeros((n, ACTIONS, n))
        for action in range(ACTIONS):
            for real, (row, column) in enumerate(targets):
                share = 1 - SLIP if action == real else SLIP / (ACTIONS - 1)
                self.transition_matrix[np.arange(n), action, row * side + column] += share
        self.observation_matrix = (cells.T / (side - 1)).astype(np.float32)
        self.reward_matrix = (np.arange(n) == n - 1).astype(np.float64)
        self.initial_state_dist = np.eye(n)[0]
        self.horizon = HORIZON
        self.state_dim, self.action_dim, self.obs_dim = n, ACTIONS, 2
        self.state_space, self.action_space = spaces.Discrete(n), spaces.Discrete(ACTIONS)
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)


def train(package: str, side: int, n: int) -> Task:
    env = Grid(side)
    mce_irl = part(package, "algorithms.mce_irl")
    expert = mce_irl.mce_occupancy_measures(env)[1]
    net = part(package, "rewards.reward_nets").BasicRewardNet(
        env.observation_space, env.action_space, use_action=False, hid_sizes=[32]
    )
    fill(net)
    trainer = mce_irl.MCEIRL(
        expert,
        env,
        net,
        np.random.default_rng(0),
        linf_eps=1e-12,  # never stop early
        grad_l2_eps=1e-12,
        custom_logger=part(package, "util.logger").configure(scratch(), []),
    )
    found: list[float] = []

    def run() -> int:
        found.append(float(np.abs(trainer.train(max_iter=n) - expert).max()))
        return n

    return Task(run, lambda: found[0])


def soft_policy(matrix: Any, reward: np.ndarray) -> np.ndarray:
    """The soft optimum (HORIZON, A, S), bare; `matrix` (A·S, S) is an array or sparse tensor."""
    n = len(reward)
    pi, value = np.empty((HORIZON, ACTIONS, n)), np.zeros(n)
    for t in reversed(range(HORIZON)):
        q = product(matrix, value).reshape(ACTIONS, n)
        top = q.max(axis=0)
        e = np.exp(q - top)
        total = e.sum(axis=0)
        pi[t], value = e / total, np.log(total) + top + reward
    return pi


def visits(matrix: Any, pi: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Expected visits (S,) in HORIZON + 1 states, bare; `matrix` is (S, A·S)."""
    now, total = start, start.copy()
    for chances in pi:
        now = product(matrix, (chances * now).ravel())
        total += now
    return total


def product(matrix: Any, x: np.ndarray) -> np.ndarray:
    return matrix @ x if isinstance(matrix, np.ndarray) else th.mv(matrix, th.from_numpy(x)).numpy()


def matrices(env: Grid) -> tuple[Any, Any]:
    """Both products' matrices: arrays where small, sparse else."""
    there = env.transition_matrix.transpose(1, 0, 2).reshape(-1, env.state_dim).copy()
    back = there.T.copy()
    if env.state_dim <= 64:
        return there, back
    return th.from_numpy(there).to_sparse_csr(), th.from_numpy(back).to_sparse_csr()


def train_floor(side: int, n: int) -> Task:
    env = Grid(side)
    there, back = matrices(env)
    expert = visits(back, soft_policy(there, env.reward_matrix), env.initial_state_dist)
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
    fill(net)
    optimizer = th.optim.Adam(net.parameters(), lr=1e-2, fused=True)
    obs = th.from_numpy(env.observation_matrix)
    found: list[float] = []

    def occupancy(reward: th.Tensor) -> np.ndarray:
        return visits(back, soft_policy(there, reward.detach().double().numpy()), env.initial_state_dist)

    def run() -> int:
        for _ in range(n):
            reward = net(obs).squeeze(1)
            difference = occupancy(reward) - expert
            optimizer.zero_grad()
            reward.backward(th.from_numpy(difference).float())
            optimizer.step()
        found.append(float(np.abs(occupancy(net(obs).squeeze(1)) - expert).max()))
        return n

    return Task(run, lambda: found[0])


def occupancy(package: str, side: int, given: bool) -> Task:
    env = Grid(side)
    mce_irl = part(package, "algorithms.mce_irl")
    pi = mce_irl.mce_partition_fh(env)[2] if given else None
    goal = float(mce_irl.mce_occupancy_measures(env, pi=pi)[1][-1])

    def run() -> int:
        mce_irl.mce_occupancy_measures(env, pi=pi)
        return 1

    return Task(run, lambda: goal)


def occupancy_floor(side: int, given: bool) -> Task:
    env = Grid(side)
    there, back = matrices(env)
    pi = soft_policy(there, env.reward_matrix)

    def once() -> np.ndarray:
        chances = pi if given else soft_policy(there, env.reward_matrix)
        return visits(back, chances, env.initial_state_dist)

    goal = float(once()[-1])

    def run() -> int:
        once()
        return 1

    return Task(run, lambda: goal)


WORKLOADS = [
    *(
        Workload(
            name=f"mce_irl_{side * side}",
            unit="iterations",
            target=target,
            size={"side": side, "n": 50},
            tiny={"side": 3, "n": 2},
            library=train,
            floor=train_floor,
            tolerance=1e-2,  # the peer reports the occupancy one update earlier
        )
        for side, target in ((4, 4.0), (8, 4.0), (20, 12.0))
    ),
    *(
        Workload(
            name=name,
            unit="calls",
            target=12.0,
            size={"side": 20, "given": given},
            tiny={"side": 3, "given": given},
            library=occupancy,
            floor=occupancy_floor,
        )
        for name, given in (("mce_occupancy_400", False), ("mce_occupancy_400_pi", True))
    ),
]
