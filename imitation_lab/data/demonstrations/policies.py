"""Episodes of anything that acts, run in an environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from imitation_lab.data import rollout, types
from imitation_lab.data.acting import AnyPolicy
from imitation_lab.data.recorder import as_vec_env

__all__ = ["from_policy"]


def from_policy(
    policy: AnyPolicy | Callable[[Any], Any],
    env: gym.Env | VecEnv | str,
    n_episodes: int,
    rng: np.random.Generator,
    *,
    deterministic: bool = False,
    progress_bar: bool = False,
) -> list[types.TrajectoryWithRew]:
    """Runs anything that acts for whole episodes and keeps what it did, with the environment's own rewards.

        trajectories = from_policy(lambda obs: int(obs[2] + obs[3] > 0), "CartPole-v1", 10, rng)

    Args:
        policy: an SB3 policy or algorithm, or a callable `obs -> action`. In a plain environment a callable sees one
            observation and returns one action; in a vectorized one it sees and returns one per environment.
        env: the environment, its id, or a vectorized one; stays open unless made here.
        n_episodes: at least so many; a vectorized environment may finish a few more.
        rng: seeds the environment and draws whatever else is random.
        deterministic: whether an SB3 policy takes its most likely action instead of sampling.
        progress_bar: whether to show the number of steps.

    Raises:
        ValueError: if an action does not fit, or `n_episodes` is below 1.
        TypeError: if `policy` is nothing that acts, or `env` no environment of these.
    """
    until = rollout.make_min_episodes(n_episodes)
    own: Any = gym.make(env) if isinstance(env, str) else env
    venv = as_vec_env(own, record=True)
    single = isinstance(own, gym.Env)
    if single and not hasattr(policy, "predict") and policy is not None:
        policy = _one_by_one(policy, own)
    options = {"deterministic_policy": deterministic, "progress_bar": progress_bar}
    try:
        venv.seed(int(rng.integers(2**31)))
        # unwrapped is what the policy sees, in the environment's own dtypes
        return list(rollout.rollout(policy, venv, until, rng, unwrap=single, verbose=False, **options))
    finally:
        if isinstance(env, str):
            own.close()


def _one_by_one(policy: Any, env: gym.Env) -> Any:
    """A callable on one observation as one on a batch of one."""
    if not callable(policy):
        raise TypeError(f"policy is a {type(policy).__name__}, expected a callable obs -> action, or an SB3 policy.")
    space = env.action_space

    def act(obs: Any) -> np.ndarray:
        action = np.asarray(policy(types.map_maybe_dict(lambda part: part[0], obs)))
        if action.size == int(np.prod(space.shape or ())):
            action = action.reshape(space.shape or ())
        if action.shape != space.shape:
            raise ValueError(
                f"The policy returned an action of shape {action.shape} for one observation, expected {space.shape} "
                f"for {space}."
            )
        if space.dtype is not None and np.can_cast(action.dtype, space.dtype, "same_kind"):
            action = action.astype(space.dtype)
        return action[None]

    return act
