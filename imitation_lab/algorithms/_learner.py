"""What algorithms around one SB3 learner share: progress, the state of a run, and checks of the learner."""

from __future__ import annotations

from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data.spaces import channels_first

FILE = "checkpoint.safetensors"


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
