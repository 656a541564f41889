"""`imitation-lab experts`: the bundled experts, how well they act, and how each is made.

An expert is trained by a named configuration of `train_rl`, measured over 100 episodes, and written with demonstrations
and a card. On the same versions and processor the result is the same bit for bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import platform
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy

from imitation_lab import experts
from imitation_lab.algorithms import presets
from imitation_lab.data import rollout, serialize
from imitation_lab.experts.bundle import CARD_FILE, DEMONSTRATIONS_FILE, POLICY_FILE
from imitation_lab.policies.native import save_policy
from imitation_lab.policies.serialize import load_policy
from imitation_lab.scripts import _console, _schema, _values
from imitation_lab.scripts.train_rl import train_rl
from imitation_lab.util import util
from imitation_lab.util.paths import atomic_path
from imitation_lab.viz.tables import text_table

__all__ = ["EPISODES", "run", "recipe", "train", "sample", "make"]

EPISODES = 100


def run(argv: Sequence[str], program: str) -> int:
    """Print the table, or one card; or make an expert."""
    parser = _console.parser(
        program,
        "List the bundled experts with their environments, returns and demonstrations; with a name, show how that "
        "expert was trained; with --train, train it (minutes to an hour).",
        f"example: {program} CartPole",
    )
    parser.add_argument("name", nargs="?", help="an expert's name or its environment's id")
    parser.add_argument("--train", action="store_true", help="make the expert of this name: policy, episodes, card")
    parser.add_argument("--output", default="output/experts", metavar="FOLDER", help="for its folder (%(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.train:
        if arguments.name is None:
            raise ValueError(f"--train needs the name of an expert, as in: {program} CartPole --train")
        card = make(arguments.name, pathlib.Path(arguments.output))
        found = card["evaluation"]
        mean, std = found["return_mean"], found["return_std"]
        print(f"{card['name']}: return {mean:.1f} ± {std:.1f} over {found['episodes']} episodes")
    elif arguments.name is not None:
        print(json.dumps(experts.card(arguments.name), indent=2))
    else:
        print(text_table([_row(experts.card(name)) for name in experts.list_experts()]))
        print("\nin Python: imitation_lab.experts.load_expert(NAME), load_demonstrations(NAME)")
    return 0


def _row(card: dict[str, Any]) -> dict[str, Any]:
    found = card["evaluation"]
    return {
        "expert": card["name"],
        "environment": card["environment"]["id"],
        "algorithm": card["algorithm"],
        "return": f"{found['return_mean']:.1f} ± {found['return_std']:.1f}",
        "demonstrations": card["demonstrations"]["episodes"],
    }


def recipe(name: str) -> dict[str, Any]:
    """The preset of `train_rl` that makes an expert.

    Raises:
        ValueError: if there is none; the text names the nearest.
    """
    known = [presets.read("rl", preset) for preset in presets.available("rl")]
    by_name = {preset["expert"]: preset for preset in known if "expert" in preset}
    if name not in by_name:
        raise ValueError(f"nothing tells how to make an expert {name!r}. {_schema.nearest(name, by_name)}")
    return by_name[name]


def train(settings: dict[str, Any]) -> BasePolicy:
    """The policy that `train_rl` learns from a preset's values, in evaluation mode; on one thread."""
    th.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        ours: dict[str, Any] = {"logging": {"log_dir": folder, "log_format_strs": ["stdout"]}}
        ours["policy_evaluation"] = {"n_episodes_eval": 1}
        values = _values.merged(_schema.defaults(_schema.read(train_rl)), _values.merged(settings, ours))
        train_rl(**_schema.bind(train_rl, values))
        environment = values["environment"]
        kind = values["rl"]["rl_cls"].lower()
        with contextlib.closing(
            util.make_vec_env(environment["gym_id"], rng=np.random.default_rng(0), n_envs=1)
        ) as venv:
            policy: Any = load_policy(kind, venv, path=f"{folder}/policies/final/model.zip")
    policy.set_training_mode(False)
    return policy


def sample(policy: BasePolicy, env_id: str, n: int, seed: int) -> list:
    """`n` episodes of `policy` acting deterministically."""
    rng, until = np.random.default_rng(seed), rollout.make_min_episodes(n)
    with contextlib.closing(util.make_vec_env(env_id, rng=rng, n_envs=min(n, 10))) as venv:
        return list(rollout.generate_trajectories(policy, venv, until, rng, deterministic_policy=True))[:n]


def make(name: str, output: pathlib.Path) -> dict[str, Any]:
    """Trains an expert, measures it, and writes policy, demonstrations and card to `output/<name>`; gives the card."""
    found = recipe(name)
    values, env_id, folder = found["values"], found["env_name"], output / name
    seed, environment = values["seed"], values["environment"]
    policy = train(values)
    evaluation = _returns(sample(policy, env_id, EPISODES, seed=seed + 10_000))
    demonstrations = sample(policy, env_id, found["n_demonstrations"], seed=seed + 20_000)
    save_policy(policy, folder / POLICY_FILE)
    kept = [dataclasses.replace(t, infos=None, rews=np.asarray(t.rews, dtype=np.float32)) for t in demonstrations]
    serialize.save(folder / DEMONSTRATIONS_FILE, kept)
    spec = gym.spec(env_id)
    rl_kwargs = values["rl"]["rl_kwargs"]
    card = {
        "name": name,
        "environment": {"id": env_id, "horizon": spec.max_episode_steps},
        "algorithm": values["rl"]["rl_cls"],
        "policy": values["policy"]["policy_cls"],
        "hyperparameters": {key: value for key, value in rl_kwargs.items() if key not in ("seed", "device")},
        "training": {
            "environment": environment["gym_id"],
            "max_episode_steps": environment.get("max_episode_steps"),
            "timesteps": values["total_timesteps"],
            "n_envs": environment["num_vec"],
            "normalize": values["normalize_reward"],
            "seed": seed,
            "torch_threads": 1,
        },
        "evaluation": {"episodes": EPISODES, "deterministic": True, "seed": seed + 10_000, **evaluation},
        "demonstrations": {
            "episodes": len(demonstrations),
            "deterministic": True,
            "seed": seed + 20_000,
            **_returns(demonstrations),
        },
        "libraries": {
            "python": platform.python_version(),
            **{p: version(p) for p in ("gymnasium", "numpy", "stable-baselines3", "torch")},
            **({"mujoco": version("mujoco")} if "envs.mujoco:" in str(spec.entry_point) else {}),
        },
        "files": {file: _facts(folder / file) for file in (POLICY_FILE, DEMONSTRATIONS_FILE)},
        "command": f"imitation-lab experts {name} --train",
    }
    with atomic_path(folder / CARD_FILE) as temporary:
        temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def _returns(episodes: Sequence[Any]) -> dict[str, float]:
    returns = np.array([t.rews.sum(dtype=np.float64) for t in episodes])
    statistics = {"mean": returns.mean(), "std": returns.std(), "min": returns.min(), "max": returns.max()}
    return {f"return_{key}": round(float(value), 3) for key, value in statistics.items()}


def _facts(path: pathlib.Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
