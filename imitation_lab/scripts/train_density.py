"""Learns a reward as the density of the expert's transitions, and a policy on it.

python -m imitation_lab.scripts.train_density with pendulum
python -m imitation_lab.scripts.train_density with fixed_cartpole density_type=STATE_DENSITY kernel_bandwidth=0.2
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import functools
from typing import Literal

from imitation_lab.algorithms.density.density import DensityAlgorithm, DensityType
from imitation_lab.scripts import _engine, _resuming
from imitation_lab.scripts._frame import Imitation, Result
from imitation_lab.scripts._schema import Natural
from imitation_lab.scripts.ingredients import RL, Policy
from imitation_lab.util import util

__all__ = ["train_density", "train_density_ex", "main_console"]


@_engine.command(Imitation)
def train_density(
    frame: Imitation,
    *,
    total_timesteps: Natural = 1_000_000,
    density_type: Literal["STATE_DENSITY", "STATE_ACTION_DENSITY", "STATE_STATE_DENSITY"] = "STATE_ACTION_DENSITY",
    kernel: str = "gaussian",
    kernel_bandwidth: float = 0.5,
    is_stationary: bool = True,
    standardise_inputs: bool = True,
    min_log_density: float | None = None,
    normalize_reward: bool = False,
    allow_variable_horizon: bool = False,
    checkpoint_interval: Natural = 0,
    agent_path: str | None = None,
    rl: RL = RL(),
    policy: Policy = Policy(),
) -> Result:
    """Density-based imitation.

    Args:
        frame: shared keys.
        total_timesteps: environment steps of the policy; those of the run at agent_path count.
        density_type: what the density is over.
        kernel: gaussian, exponential, tophat, epanechnikov, linear or cosine.
        kernel_bandwidth: in standard deviations, if inputs are standardised.
        is_stationary: whether there is one density for all time steps, or one for each.
        standardise_inputs: whether each dimension is scaled to mean 0 and variance 1 over the demonstrations.
        min_log_density: rewards below are raised to it; kernels that end need one.
        normalize_reward: whether log densities are shifted and scaled by their mean and variance so far; for PPO, A2C.
        allow_variable_horizon: whether episodes may differ in length.
        checkpoint_interval: environment steps between checkpoints in checkpoints/<step>; 0 makes none. All environments
            are reset there.
        agent_path: a checkpoint's folder of an earlier run, to go on from, with its density.
        rl: see there.
        policy: see there.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    _resuming.check(agent_path)
    with frame.start("train_density") as (rng, trajectories, out, venv):
        if agent_path is not None:
            trainer = DensityAlgorithm.load(agent_path, venv, custom_logger=out.logger)
        else:
            trainer = DensityAlgorithm(
                demonstrations=trajectories,
                venv=venv,
                rng=rng,
                density_type=DensityType[density_type],
                kernel=kernel,
                kernel_bandwidth=kernel_bandwidth,
                rl_algo=rl.make(venv, policy, util.make_seeds(rng)),
                is_stationary=is_stationary,
                standardise_inputs=standardise_inputs,
                min_log_density=min_log_density,
                normalize_reward=normalize_reward,
                custom_logger=out.logger,
                allow_variable_horizon=allow_variable_horizon,
            )
            trainer.train()
        assert trainer.rl_algo is not None
        _resuming.learn(
            trainer.rl_algo,
            total_timesteps,
            checkpoint_interval,
            lambda steps: trainer.train_policy(steps, progress_bar=False),
            functools.partial(out.save_checkpoint, trainer),
        )
        out.save_policy(trainer.policy)
    return frame.compare(trainer.policy, trajectories)


train_density_ex, main_console = _engine.script("train_density", train_density)

if __name__ == "__main__":
    main_console()
