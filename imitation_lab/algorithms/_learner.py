"""What algorithms around one SB3 learner share: progress, the state of a run, and checks of the learner."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from tqdm.auto import tqdm

from imitation_lab.algorithms import checkpoint
from imitation_lab.data.spaces import channels_first
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.paths import AnyPath

FILE = "checkpoint.safetensors"


class Progress(BaseCallback):
    """A bar over the timesteps of one `learn`; it appears after two seconds.

    Args:
        total: timesteps.
        name: what the bar says.
        shown: whether there is a bar at all.
    """

    def __init__(self, total: int, name: str, shown: bool) -> None:
        super().__init__()
        self._bar = tqdm(total=total, desc=name, unit="step", disable=not shown, delay=2)

    def _on_step(self) -> bool:
        self._bar.update(self.training_env.num_envs)
        return True

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def checkpoint_file(path: AnyPath) -> pathlib.Path:
    """The file of a checkpoint in the folder `path`."""
    return pathlib.Path(os.fsdecode(path)) / FILE


def describe(algorithm: BaseAlgorithm) -> dict[str, Any]:
    """What `build` needs, or why it cannot be data."""
    try:
        return {"spec": checkpoint.describe_algorithm(algorithm)}
    except TypeError as error:
        return {"error": str(error)}


def build(meta: Any, venv: VecEnv, device: th.device | str) -> BaseAlgorithm:
    """Builds, untrained, what `describe` described.

    Raises:
        ArtifactError: if it could not be described, or the file is damaged.
    """
    if not isinstance(meta, dict) or not isinstance(meta.get("spec"), dict):
        why = meta.get("error") if isinstance(meta, dict) else "the file is damaged"
        raise ArtifactError(
            f"the checkpoint cannot rebuild the learner: {why}. Build it as in the run that was saved, and pass "
            "rl_algo=."
        )
    return checkpoint.build_algorithm(meta["spec"], venv, device)


def check_spaces(algorithm: BaseAlgorithm, venv: VecEnv) -> None:
    """Raises ValueError unless `algorithm`, built with other environments, can act in `venv`."""
    for name, own, other in (
        ("observation_space", algorithm.observation_space, venv.observation_space),
        ("action_space", algorithm.action_space, venv.action_space),
    ):
        if own not in (other, channels_first(other)):
            raise ValueError(
                f"rl_algo was built for the {name} {_short(own)}, but that of venv is {_short(other)}. Build rl_algo "
                "with this venv."
            )
    if algorithm.n_envs != venv.num_envs:
        raise ValueError(
            f"rl_algo was built for {algorithm.n_envs} environments, but venv has {venv.num_envs}. Build rl_algo with "
            "this venv."
        )


def _short(space: spaces.Space) -> str:
    return str(space).replace("\n", "")
