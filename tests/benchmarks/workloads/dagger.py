"""DAgger, rounds per second over a run of many rounds; run as a script it shows memory instead.

    python tests/benchmarks/workloads/dagger.py [python …]

prints, for each Python (one with this library, one with the peer), the peak of resident memory every tenth round. The
demonstrations themselves are in memory by design: 4 bytes a number, once, on the learner's device.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from workloads import OURS, PEER, Task, Workload, part
from workloads.data import scratch

OBS, HORIZON, BATCH = 32, 100, 32
"""A step is 33 numbers: 100 rounds of 500 steps are 6.8 MB of float32 observations and int64 actions."""
W = np.random.default_rng(0).standard_normal(OBS).astype(np.float32)


def label(obs: np.ndarray) -> np.ndarray:
    """The expert: on which side of a plane the observation lies."""
    return (obs @ W > 0).astype(np.int64)


def make_venv(n_envs: int) -> Any:
    """Environments whose observations are noise, which cost next to nothing."""
    import gymnasium as gym
    from stable_baselines3.common.vec_env import DummyVecEnv

    class Noise(gym.Env):
        observation_space = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
            super().reset(seed=seed)
            self.t = 0
            return self.np_random.standard_normal(OBS, dtype=np.float32), {}

        def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
            self.t += 1
            return self.np_random.standard_normal(OBS, dtype=np.float32), 0.0, False, self.t == HORIZON, {}

    return DummyVecEnv([Noise] * n_envs)


def make_expert(venv: Any) -> Any:
    """The expert as an SB3 policy, which both sides take."""
    from stable_baselines3.common.policies import BasePolicy

    class Expert(BasePolicy):
        def predict(self, observation: Any, state: Any = None, *args: Any, **kwargs: Any) -> tuple[np.ndarray, Any]:
            return label(observation), state

        def _predict(self, observation: Any, deterministic: bool = False) -> Any:
            raise NotImplementedError

    return Expert(venv.observation_space, venv.action_space)


def make_trainer(package: str, n_envs: int) -> Any:
    venv = make_venv(n_envs)
    rng = np.random.default_rng(0)
    quiet = part(package, "util.logger").configure(scratch(), [])
    learner = part(package, "algorithms.bc").BC(
        observation_space=venv.observation_space,
        action_space=venv.action_space,
        rng=rng,
        batch_size=BATCH,
        device="cpu",
        custom_logger=quiet,
    )
    return part(package, "algorithms.dagger").SimpleDAggerTrainer(
        venv=venv,
        scratch_dir=scratch(),
        expert_policy=make_expert(venv),
        rng=rng,
        bc_trainer=learner,
        custom_logger=quiet,
    )


def train_round(trainer: Any, updates: int) -> None:
    kwargs = {"n_batches": updates, "log_rollouts_venv": None, "progress_bar": False}
    trainer.train(1, rollout_round_min_episodes=5, rollout_round_min_timesteps=1, bc_train_kwargs=kwargs)


def library(package: str, rounds: int, updates: int) -> Task:
    latest: list[Any] = [None]

    def run() -> int:
        latest[0] = make_trainer(package, 5)
        for _ in range(rounds):
            train_round(latest[0], updates)
        return rounds

    def check() -> float:
        obs = np.random.default_rng(1).standard_normal((4096, OBS)).astype(np.float32)
        return float(np.mean(latest[0].policy.predict(obs, deterministic=True)[0] == label(obs)))

    return Task(run, check)


def floor(rounds: int, updates: int) -> Task:
    import torch as th
    from torch import nn

    venv = make_venv(5)
    latest: list[Any] = [None]

    def run() -> int:
        th.manual_seed(0)
        net = nn.Sequential(nn.Linear(OBS, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
        optimizer = th.optim.Adam(net.parameters(), fused=True)
        folder = scratch()
        rng = np.random.default_rng(0)
        obs_parts, act_parts = [], []
        for number in range(rounds):
            beta = max(0.0, 1 - number / 15)
            seen, said = [], []
            obs = venv.reset()
            for _ in range(HORIZON):
                acts = label(obs)
                seen.append(obs)
                said.append(acts)
                with th.no_grad():
                    robot = th.distributions.Categorical(logits=net(th.from_numpy(obs))).sample().numpy()
                obs = venv.step(np.where(rng.uniform(size=5) < beta, acts, robot))[0]
            new_obs, new_acts = np.concatenate(seen), np.concatenate(said)
            np.savez(folder / f"{number}.npz", obs=new_obs, acts=new_acts)
            obs_parts.append(th.from_numpy(new_obs))
            act_parts.append(th.from_numpy(new_acts))
            data, labels = th.cat(obs_parts), th.cat(act_parts)
            for _ in range(updates):
                rows = th.randint(len(data), (BATCH,))
                loss = nn.functional.cross_entropy(net(data[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        latest[0] = net
        return rounds

    def check() -> float:
        obs = np.random.default_rng(1).standard_normal((4096, OBS)).astype(np.float32)
        with th.no_grad():
            return float(np.mean(latest[0](th.from_numpy(obs)).argmax(1).numpy() == label(obs)))

    return Task(run, check)


WORKLOADS = [
    Workload(
        name="dagger_rounds",
        unit="rounds",
        target=1.0,
        size={"rounds": 50, "updates": 60},
        tiny={"rounds": 3, "updates": 20},
        library=library,
        floor=floor,
        tolerance=0.3,  # the networks start from different weights
    )
]


def peaks(package: str, rounds: int = 100) -> list[float]:
    """Peak of resident memory in MB after the first round, the tenth, the twentieth and so on."""
    trainer = make_trainer(package, 5)
    found = []
    for number in range(1, rounds + 1):
        train_round(trainer, 60)
        if number == 1 or number % 10 == 0:
            found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--peaks"]:
        import importlib.util

        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # whatever a library prints must not mix with the answer
        package = PEER if importlib.util.find_spec(PEER) else OURS
        print(json.dumps([package, peaks(package)]), file=answers)
        return
    print("peak of resident memory [MB] after round", ", ".join(map(str, [1, *range(10, 101, 10)])))
    for python in sys.argv[1:] or [sys.executable]:
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
        command = [python, __file__, "--peaks"]
        out = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        package, found = json.loads(out)
        print(
            f"{package}: {', '.join(f'{mb:.0f}' for mb in found)}; grown by {found[-1] - found[0]:.1f} since the first"
        )


if __name__ == "__main__":
    main()
