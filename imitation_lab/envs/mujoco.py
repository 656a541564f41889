"""MuJoCo's runners with a fixed horizon: 1,000 steps, whatever happens.

Gymnasium's Hopper, Walker2d and Ant end an episode when the body falls, which tells a learner how well it does
through the episode's length (see `envs.classic`). Here the episode goes on: a fallen body earns no healthy reward, and
may get up again. HalfCheetah and Swimmer never end early, and are Gymnasium's own. Needs the extra `mujoco`.
"""

from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from imitation_lab.util import checks

__all__ = ["NAMES", "make"]

NAMES = ("Ant", "HalfCheetah", "Hopper", "Swimmer", "Walker2d")
_ENDING = ("Ant", "Hopper", "Walker2d")


def make(name: str, **kwargs: Any) -> gym.Env:
    """One of `NAMES`, without its time limit; `gymnasium.make("imitation_lab/Hopper-v0")` adds that.

    Args:
        name: such as "Hopper".
        **kwargs: for Gymnasium's environment.

    Raises:
        ImportError: if MuJoCo is not installed.
        ValueError: if there is no such environment, or `kwargs` would let it end early.
    """
    if name not in NAMES:
        raise ValueError(f"There is no environment {name!r}; there are {', '.join(NAMES)}.")
    if kwargs.get("terminate_when_unhealthy"):
        raise ValueError(
            f"terminate_when_unhealthy=True gives imitation_lab/{name}-v0 a variable horizon. "
            f'Use gymnasium.make("{name}-v5") for that.'
        )
    if name in _ENDING:
        kwargs["terminate_when_unhealthy"] = False
    mujoco = checks.optional("mujoco", "mujoco", "MuJoCo's environments need")
    mujoco.set_mju_user_warning(lambda text: None)  # it would write them to a file in the current folder
    spec: Any = gym.spec(f"{name}-v5")
    creator: Any = load_env_creator(spec.entry_point)
    return creator(**kwargs)
