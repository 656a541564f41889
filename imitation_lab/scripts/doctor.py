"""`imitation-lab doctor`: is everything there, and does it work?"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th

from imitation_lab import experts
from imitation_lab.algorithms.bc.bc import BC
from imitation_lab.data import rollout
from imitation_lab.policies.base import RandomPolicy
from imitation_lab.policies.native import load_policy_file, save_policy
from imitation_lab.scripts import _console
from imitation_lab.scripts.output import one_thread
from imitation_lab.util import logger, util

__all__ = ["run"]

_CORE = ("imitation-lab", "torch", "stable-baselines3", "gymnasium", "numpy", "scipy", "matplotlib")
_OPTIONAL = {
    "notebooks": ("jupyterlab", "ipywidgets", "anywidget"),
    "cli": ("sacred", "tensorboard"),
    "parallel": ("ray", "optuna"),
    "hub": ("datasets", "huggingface_hub"),
    "minari": ("minari",),
    "tables": ("pandas",),
    "wandb": ("wandb",),
    "mujoco": ("mujoco",),
    "seals": ("seals",),
    "classroom": ("nbgrader",),
}


def run(argv: Sequence[str], program: str) -> int:
    """Print what there is; 0 if all that is needed is there and works, else 1."""
    parser = _console.parser(
        program,
        "Show versions, devices and optional parts, and clone an expert as a self-test (some ten seconds).",
        f"example: {program} --no-test",
    )
    parser.add_argument("--no-test", action="store_true", help="leave out the self-test")
    arguments = parser.parse_args(argv)
    print(f"Python {platform.python_version()} on {platform.platform()}, {sys.executable}")
    missing = [name for name in _CORE if _version(name) is None]
    for name in _CORE:
        print(f"  {name:<20}{_version(name) or 'MISSING'}")
    if th.cuda.is_available():
        devices = ", ".join(th.cuda.get_device_name(i) for i in range(th.cuda.device_count()))
    else:
        devices = "no GPU that torch can use; the CPU serves"
    print(f"devices: {devices}; torch threads {th.get_num_threads()}")
    print("optional parts:")
    for extra, names in _OPTIONAL.items():
        found = {name: _version(name) for name in names}
        text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
        lacking = [name for name, version in found.items() if version is None]
        hint = f"without {', '.join(lacking)}: pip install 'imitation-lab[{extra}]'" if lacking else ""
        print(f"  {extra:<12}{'; '.join(filter(None, (text, hint)))}")
    if missing:
        print(f"missing: {', '.join(missing)}; run: pip install imitation-lab")
        return 1
    return 0 if arguments.no_test else _self_test()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _self_test() -> int:
    """Clones the CartPole expert, saves and loads the policy, and compares it with random actions."""
    start, rng = time.perf_counter(), np.random.default_rng(0)
    with one_thread(), contextlib.closing(util.make_vec_env("imitation_lab/CartPole-v0", rng=rng, n_envs=5)) as venv:
        with tempfile.TemporaryDirectory() as folder:
            trainer = BC(
                observation_space=venv.observation_space,
                action_space=venv.action_space,
                rng=rng,
                demonstrations=experts.load_demonstrations("CartPole", n=5),
                custom_logger=logger.configure(folder, []),
            )
            trainer.train(n_epochs=20, progress_bar=False)
            save_policy(trainer.policy, f"{folder}/policy.safetensors")
            policy: Any = load_policy_file(f"{folder}/policy.safetensors")
        returns = []
        for actor in (policy, RandomPolicy(venv.observation_space, venv.action_space, rng=rng)):
            episodes = rollout.generate_trajectories(actor, venv, rollout.make_min_episodes(5), rng)
            returns.append(float(rollout.rollout_stats(episodes)["return_mean"]))
    learned, random = returns
    works = learned > 5 * random
    print(
        f"self-test: a clone of the CartPole expert reaches {learned:.0f} of 500, random actions {random:.0f} "
        f"({time.perf_counter() - start:.0f} s): {'works' if works else 'DOES NOT WORK'}"
    )
    return 0 if works else 1
