"""Trains an expert and writes its folder: `python -m imitation_lab.experts.recipe NAME [--output DIR]`.

Each run trains, measures 100 episodes, records demonstrations and writes policy, demonstrations and card. On the same
versions and processor the result is the same bit for bit.
"""

import argparse
import copy
import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from tqdm.auto import tqdm

import imitation_lab  # noqa: F401 (registers the environments)
from imitation_lab.data import rollout, serialize
from imitation_lab.experts.bundle import CARD_FILE, DEMONSTRATIONS_FILE, POLICY_FILE
from imitation_lab.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation_lab.policies.native import save_policy
from imitation_lab.util.paths import atomic_path
from imitation_lab.util.util import make_vec_env

__all__ = ["EPISODES", "ALGORITHMS", "POLICIES", "Recipe", "RECIPES", "train", "sample", "write", "main"]

EPISODES = 100
ALGORITHMS: dict[str, Any] = {"DQN": DQN, "PPO": PPO, "SAC": SAC}
POLICIES: dict[str, Any] = {"FeedForward32Policy": FeedForward32Policy, "MlpPolicy": "MlpPolicy"}


@dataclass(frozen=True)
class Recipe:
    """How an expert is trained.

    `{"linear": x}` among the hyperparameters is a schedule from x to 0, and an activation function is named as in
    `torch.nn`. With `normalize`, observations are normalized
    inside the policy, by a `NormalizeFeaturesExtractor`, and rewards while training, by a `VecNormalize` that nobody
    needs afterwards.
    """

    env_id: str
    train_env_id: str
    algorithm: str
    policy: str
    timesteps: int
    n_envs: int
    seed: int
    n_demonstrations: int
    train_max_episode_steps: int | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    normalize: bool = False


_PPO: dict[str, Any] = {
    "n_steps": 64,
    "batch_size": 256,
    "n_epochs": 10,
    "gae_lambda": 0.9,
    "gamma": 0.99,
    "learning_rate": {"linear": 2e-3},
    "clip_range": {"linear": 0.2},
}
RECIPES = {
    # Trained on the standard environment, whose physics is the same, so that no step is spent in the absorbing state;
    # and on long episodes, since within 500 steps a slow drift of the cart goes unpunished.
    "CartPole": Recipe(
        "imitation_lab/CartPole-v0", "CartPole-v1", "PPO", "FeedForward32Policy", 100_000, 8, 0, 20, 2000, _PPO
    ),
    "CartPole-standard": Recipe(
        "CartPole-v1", "CartPole-v1", "PPO", "FeedForward32Policy", 100_000, 8, 1, 20, 2000, _PPO
    ),
    "Pendulum": Recipe(
        "Pendulum-v1",
        "Pendulum-v1",
        "SAC",
        "MlpPolicy",
        15_000,
        1,
        0,
        30,
        None,
        {"learning_rate": 1e-3, "policy_kwargs": {"net_arch": [64, 64]}},
    ),
    "HalfCheetah": Recipe(
        "imitation_lab/HalfCheetah-v0",
        "imitation_lab/HalfCheetah-v0",
        "PPO",
        "MlpPolicy",
        1_000_000,
        8,
        0,
        10,
        None,
        {
            "n_steps": 256,
            "batch_size": 256,
            "n_epochs": 10,
            "learning_rate": {"linear": 1e-3},
            "clip_range": 0.2,
            "gamma": 0.98,
            "gae_lambda": 0.92,
            "policy_kwargs": {"log_std_init": -2.0},  # cautious at first: with 0 it ends at 1,600
        },
        normalize=True,
    ),
    # As CartPole, on the environment that ends with a fall; with a fixed horizon it ends at 2,245 (1.5 million steps).
    "Hopper": Recipe(
        "imitation_lab/Hopper-v0",
        "Hopper-v5",
        "PPO",
        "MlpPolicy",
        1_000_000,
        8,
        0,
        10,
        None,
        {
            "n_steps": 512,
            "batch_size": 512,
            "n_epochs": 20,
            "learning_rate": {"linear": 4e-4},
            "clip_range": 0.1,
            "gamma": 0.995,
            "gae_lambda": 0.98,
            "ent_coef": 0.001,
            "vf_coef": 0.2,
            "max_grad_norm": 0.9,
            "policy_kwargs": {"activation_fn": "ReLU"},
        },
        normalize=True,
    ),
    "MountainCar": Recipe(
        "imitation_lab/MountainCar-v0",
        "MountainCar-v0",
        "PPO",
        "MlpPolicy",
        600_000,
        16,
        0,
        20,
        None,
        {
            "n_steps": 16,
            "batch_size": 64,
            "n_epochs": 4,
            "learning_rate": {"linear": 1e-3},
            "gamma": 0.99,
            "gae_lambda": 0.98,
        },
        normalize=True,
    ),
}


class _Progress(BaseCallback):
    """One progress bar over the training steps."""

    def __init__(self, total: int, name: str) -> None:
        super().__init__()
        self.bar = tqdm(total=total, desc=f"training {name}", unit="step")

    def _on_step(self) -> bool:
        self.bar.update(self.training_env.num_envs)
        return True

    def _on_training_end(self) -> None:
        self.bar.close()


def train(name: str) -> BasePolicy:
    """Trains the expert `name` by its recipe; sets torch to one thread, on which the result depends."""
    recipe = RECIPES[name]
    th.set_num_threads(1)
    venv: VecEnv = make_vec_env(
        recipe.train_env_id,
        rng=np.random.default_rng(recipe.seed),
        n_envs=recipe.n_envs,
        max_episode_steps=recipe.train_max_episode_steps,
    )
    settings: dict[str, Any] = {
        key: LinearSchedule(value["linear"], 0.0, 1.0) if isinstance(value, dict) and "linear" in value else value
        for key, value in copy.deepcopy(recipe.hyperparameters).items()  # SB3 writes into policy_kwargs
    }
    policy_kwargs = settings.setdefault("policy_kwargs", {})
    if "activation_fn" in policy_kwargs:
        policy_kwargs["activation_fn"] = getattr(th.nn, policy_kwargs["activation_fn"])
    if recipe.normalize:
        policy_kwargs["features_extractor_class"] = NormalizeFeaturesExtractor
        venv = VecNormalize(venv, norm_obs=False, gamma=settings["gamma"])
    algorithm = ALGORITHMS[recipe.algorithm]
    model: BaseAlgorithm = algorithm(POLICIES[recipe.policy], venv, seed=recipe.seed, device="cpu", **settings)
    model.learn(recipe.timesteps, callback=_Progress(recipe.timesteps, name))
    venv.close()
    policy: BasePolicy = model.policy
    policy.set_training_mode(False)
    return policy


def sample(policy: BasePolicy, env_id: str, n: int, seed: int) -> list:
    """`n` episodes of `policy` acting deterministically."""
    rng = np.random.default_rng(seed)
    venv = make_vec_env(env_id, rng=rng, n_envs=min(n, 10))
    try:
        episodes = rollout.generate_trajectories(
            policy, venv, rollout.make_min_episodes(n), rng, deterministic_policy=True
        )
    finally:
        venv.close()
    return list(episodes)[:n]


def write(name: str, policy: BasePolicy, folder: Path) -> dict[str, Any]:
    """Measures `policy`, records demonstrations, and writes policy, demonstrations and card to `folder`."""
    recipe = RECIPES[name]
    evaluation = _returns(sample(policy, recipe.env_id, EPISODES, seed=recipe.seed + 10_000))
    demonstrations = sample(policy, recipe.env_id, recipe.n_demonstrations, seed=recipe.seed + 20_000)
    save_policy(policy, folder / POLICY_FILE)
    serialize.save(folder / DEMONSTRATIONS_FILE, [_without_infos(t) for t in demonstrations])
    spec = gym.spec(recipe.env_id)
    card = {
        "name": name,
        "environment": {"id": recipe.env_id, "horizon": spec.max_episode_steps},
        "algorithm": recipe.algorithm,
        "policy": recipe.policy,
        "hyperparameters": recipe.hyperparameters,
        "training": {
            "environment": recipe.train_env_id,
            "max_episode_steps": recipe.train_max_episode_steps,
            "timesteps": recipe.timesteps,
            "n_envs": recipe.n_envs,
            "normalize": recipe.normalize,
            "seed": recipe.seed,
            "torch_threads": 1,
        },
        "evaluation": {"episodes": EPISODES, "deterministic": True, "seed": recipe.seed + 10_000, **evaluation},
        "demonstrations": {
            "episodes": len(demonstrations),
            "deterministic": True,
            "seed": recipe.seed + 20_000,
            **_returns(demonstrations),
        },
        "libraries": {
            "python": platform.python_version(),
            **{p: version(p) for p in ("gymnasium", "numpy", "stable-baselines3", "torch")},
            **({"mujoco": version("mujoco")} if "envs.mujoco:" in str(spec.entry_point) else {}),
        },
        "files": {file: _facts(folder / file) for file in (POLICY_FILE, DEMONSTRATIONS_FILE)},
        "command": f"python -m imitation_lab.experts.recipe {name}",
    }
    with atomic_path(folder / CARD_FILE) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(RECIPES), help="which expert to train")
    parser.add_argument("--output", type=Path, default=Path("output/experts"), help="parent of the expert's folder")
    args = parser.parse_args(argv)
    card = write(args.name, train(args.name), args.output / args.name)
    result = card["evaluation"]
    print(f"{args.name}: return {result['return_mean']:.1f} ± {result['return_std']:.1f} over {EPISODES} episodes")


def _returns(episodes: Sequence[Any]) -> dict[str, float]:
    returns = np.array([t.rews.sum(dtype=np.float64) for t in episodes])
    statistics = {"mean": returns.mean(), "std": returns.std(), "min": returns.min(), "max": returns.max()}
    return {f"return_{key}": round(float(value), 3) for key, value in statistics.items()}


def _without_infos(trajectory: Any) -> Any:
    return type(trajectory)(
        obs=trajectory.obs,
        acts=trajectory.acts,
        infos=None,
        terminal=trajectory.terminal,
        rews=np.asarray(trajectory.rews, dtype=np.float32),
    )


def _facts(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


if __name__ == "__main__":
    main()
