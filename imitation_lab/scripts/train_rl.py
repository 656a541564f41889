"""Trains a policy by reinforcement learning, on the environment's reward or a learned one.

    python -m imitation_lab.scripts.train_rl with cartpole policy_save_interval=10240 logging.log_dir=output/rl
    python -m imitation_lab.scripts.train_rl with cartpole agent_path=output/rl/policies/000000010240
    python -m imitation_lab.scripts.train_rl with pendulum rl.rl_kwargs.learning_rate=1e-3 seed=1

The second goes on where the first had saved a checkpoint, and ends as that run would have ended.
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecNormalize

from imitation_lab.algorithms import checkpoint
from imitation_lab.data import rollout, serialize
from imitation_lab.policies.serialize import save_stable_model
from imitation_lab.scripts import _engine, _names, _resuming
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.scripts.ingredients import RL, Environment, Logging, Policy, PolicyEvaluation
from imitation_lab.scripts.ingredients.reward import learned_reward
from imitation_lab.scripts.output import CHECKPOINT_FILE
from imitation_lab.util import util

__all__ = ["train_rl", "train_rl_ex", "main_console"]

_VERSION = 1


def train_rl(
    *,
    total_timesteps: Count = 1_000_000,
    normalize_reward: bool = True,
    normalize_kwargs: Mapping[str, Any] = {},
    reward_type: str | None = None,
    reward_path: str | None = None,
    load_reward_kwargs: Mapping[str, Any] = {},
    rollout_save_final: bool = True,
    rollout_save_n_timesteps: Count | None = None,
    rollout_save_n_episodes: Count | None = None,
    policy_save_interval: Natural = 10_000,
    policy_save_final: bool = True,
    agent_path: str | None = None,
    environment: Environment = Environment(),
    rl: RL = RL(),
    policy: Policy = Policy(),
    policy_evaluation: PolicyEvaluation = PolicyEvaluation(),
    logging: Logging = Logging(),
    seed: Natural | None = None,
) -> dict[str, float]:
    """Trains a policy by reinforcement learning.

    Args:
        total_timesteps: environment steps, over all copies; those of the run at agent_path count.
        normalize_reward: whether the policy learns from rewards divided by the spread of returns.
        normalize_kwargs: for SB3's VecNormalize, such as clip_reward.
        reward_type: a learned reward in place of the environment's: a key of `reward_registry`, such as
            RewardNet_unshaped.
        reward_path: its file.
        load_reward_kwargs: for its loader.
        rollout_save_final: whether to save episodes of the final policy, as demonstrations.
        rollout_save_n_timesteps: at least so many steps of them.
        rollout_save_n_episodes: at least so many episodes; if neither is given, 2000 steps.
        policy_save_interval: steps between checkpoints in policies/<step>; 0 makes none. All environments are reset
            there.
        policy_save_final: whether to save the final policy in policies/final.
        agent_path: a checkpoint's folder of an earlier run, to go on from; or a model's zip, to begin with its weights.
        environment: see there.
        rl: see there.
        policy: see there.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the final policy's episodes, under the environment's own rewards.
    """
    if reward_type is None and reward_path is not None:
        raise ValueError(f"reward_path={reward_path!r} needs reward_type, such as RewardNet_unshaped.")
    if normalize_kwargs and not normalize_reward:
        raise ValueError(f"normalize_kwargs={dict(normalize_kwargs)!r} needs normalize_reward=True.")
    rng = np.random.default_rng(seed)
    with logging.start("train_rl", environment.gym_id) as out, environment.venv(rng, out.folder) as venv:
        train_venv, callback, normalizer = venv, None, None
        if reward_type is not None:
            train_venv = learned_reward(venv, reward_type, reward_path, **load_reward_kwargs)
            callback = train_venv.make_log_callback()
        if normalize_reward:
            # Observations are normalized inside the policy, if at all: statistics outside of it would be lost.
            kwargs = {"norm_obs": False, **normalize_kwargs}
            train_venv = normalizer = _names.call("normalize_kwargs", VecNormalize, train_venv, **kwargs)
        resumed = _resuming.checkpoint(agent_path)
        algorithm = rl.make(train_venv, policy, util.make_seeds(rng), None if resumed else agent_path)
        algorithm.set_logger(out.logger)
        begin_anew = functools.partial(checkpoint.new_boundary, algorithm, train_venv, lambda: util.make_seeds(rng))
        if resumed:
            _restore(resumed, algorithm, normalizer, rng)
            begin_anew()

        def save(name: str) -> None:
            save_stable_model(out / "policies" / name, algorithm)
            _save(out / "policies" / name / CHECKPOINT_FILE, algorithm, normalizer, rng)
            begin_anew()  # as in a run that goes on from here

        def go_on(steps: int) -> None:
            algorithm.learn(steps, reset_num_timesteps=False, callback=callback)

        _resuming.learn(algorithm, total_timesteps, policy_save_interval, go_on, save)
        if policy_save_final:
            save_stable_model(out / "policies" / "final", algorithm)
        if rollout_save_final:
            if rollout_save_n_timesteps is None and rollout_save_n_episodes is None:
                rollout_save_n_timesteps = 2000
            until = rollout.make_sample_until(rollout_save_n_timesteps, rollout_save_n_episodes)
            with environment.venv(rng) as fresh:
                episodes = rollout.rollout(algorithm, fresh, until, rng, verbose=False)
            serialize.save(out / "rollouts" / "final.safetensors", episodes)
        return policy_evaluation.evaluate(algorithm, environment, rng)


def _save(file: pathlib.Path, algorithm: BaseAlgorithm, normalizer: Any, rng: Any) -> None:
    """Saves all that training changes."""
    state = checkpoint.State()
    checkpoint.pack_algorithm(state, "agent", algorithm)
    if normalizer is not None:
        for name in ("mean", "var", "count"):
            state.tensors[f"returns/{name}"] = np.asarray(getattr(normalizer.ret_rms, name), dtype=np.float64)
    checkpoint.pack_randomness(state, "random", script=rng)
    state.write(file, _VERSION)


def _restore(file: pathlib.Path, algorithm: BaseAlgorithm, normalizer: Any, rng: Any) -> None:
    state = checkpoint.State.read(file, _VERSION)
    checkpoint.unpack_algorithm(state, "agent", algorithm)
    if normalizer is not None:
        for name in ("mean", "var", "count"):
            setattr(normalizer.ret_rms, name, np.array(state.array(f"returns/{name}"))[()])
    checkpoint.unpack_randomness(state, "random", script=rng)


train_rl_ex, main_console = _engine.script("train_rl", train_rl)

if __name__ == "__main__":
    main_console()
