"""Learns a reward for a tabular environment by maximum causal entropy inverse reinforcement learning.

python -m imitation_lab.scripts.train_mce_irl with cliff_world
python -m imitation_lab.scripts.train_mce_irl with frozen_lake n_expert_demos=20 seed=1
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from imitation_lab.algorithms.mce_irl.mce_irl import MCEIRL, TabularPolicy, mce_occupancy_measures, mce_partition_fh
from imitation_lab.data import rollout
from imitation_lab.envs.tabular import StateObservation, tabular_model
from imitation_lab.scripts import _engine, _names, _resuming
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.scripts.ingredients import Environment, Logging, Reward
from imitation_lab.scripts.ingredients.policy_evaluation import statistics
from imitation_lab.scripts.output import streams
from imitation_lab.util import checks, util

__all__ = ["train_mce_irl", "train_mce_irl_ex", "main_console"]

_LINEAR: dict[str, Any] = {"use_action": False, "hid_sizes": []}


def train_mce_irl(
    *,
    n_expert_demos: Count | None = 100,
    expert_temperature: float = 1.0,
    discount: float = 1.0,
    max_iter: Natural = 1000,
    linf_eps: float = 1e-3,
    grad_l2_eps: float = 1e-4,
    optimizer_cls: str | type = "Adam",
    optimizer_kwargs: Mapping[str, Any] = {"lr": 0.1},
    log_interval: Count | None = 100,
    n_episodes_eval: Count = 200,
    checkpoint_interval: Natural = 0,
    agent_path: str | None = None,
    environment: Environment = Environment(gym_id="imitation_lab/CliffWorld-v0"),
    reward: Reward = Reward(net_kwargs=_LINEAR, normalize_output_layer=None),
    logging: Logging = Logging(),
    seed: Natural | None = None,
) -> dict[str, dict[str, float]]:
    """Maximum causal entropy inverse reinforcement learning.

    The expert is the soft optimum of the environment's own reward.

    Args:
        n_expert_demos: episodes of the expert; None gives its exact occupancy in place of demonstrations.
        expert_temperature: the environment's rewards are divided by it; near 0 the expert makes no mistakes.
        discount: of future rewards.
        max_iter: most updates; those of the run at agent_path count.
        linf_eps: stops where no state's occupancy differs more than this.
        grad_l2_eps: stops where the gradient's norm is at most this.
        optimizer_cls: of the reward network's weights.
        optimizer_kwargs: its arguments.
        log_interval: updates between logs; None logs nothing.
        n_episodes_eval: episodes to compare policy and expert by.
        checkpoint_interval: updates between checkpoints in checkpoints/<update>; 0 makes none.
        agent_path: a checkpoint's folder of an earlier run, to go on from, with its settings.
        environment: see there; a tabular one.
        reward: see there; of state, or of state and action.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the learned policy's episodes under `imit_stats`, of the expert's under `expert_stats`.
    """
    _resuming.check(agent_path)
    checks.positive(expert_temperature=expert_temperature)
    rng, evaluation_rng = streams(seed)
    environment.register()
    env = gym.make(util._find_spec(environment.gym_id), **environment.env_make_kwargs)
    model = tabular_model(env)
    rewards = model.reward_matrix / expert_temperature
    expert_pi = mce_partition_fh(env, reward=rewards, discount=discount)[2].copy()

    def episodes(pi: Any, n: int, source: Any) -> Any:
        policy = TabularPolicy(gym.spaces.Discrete(model.state_dim), gym.spaces.Discrete(model.action_dim), pi, source)
        with environment.venv(source, wrappers=[lambda inner, _: StateObservation(inner)]) as venv:
            return list(rollout.generate_trajectories(policy, venv, rollout.make_min_episodes(n), source))[:n]

    demonstrations: Any = mce_occupancy_measures(env, pi=expert_pi, discount=discount)[1]
    if n_expert_demos is not None:
        demonstrations = episodes(expert_pi, n_expert_demos, rng)
    with logging.start("train_mce_irl", environment.gym_id) as out, environment.venv(rng) as venv:
        if agent_path is not None:
            trainer = MCEIRL.load(agent_path, env, custom_logger=out.logger)
        else:
            trainer = MCEIRL(
                demonstrations,
                env,
                reward.make(venv, rng),
                rng,
                optimizer_cls=_names.find("optimizer", optimizer_cls),
                optimizer_kwargs=_names.with_classes(optimizer_kwargs),
                discount=discount,
                linf_eps=linf_eps,
                grad_l2_eps=grad_l2_eps,
                log_interval=log_interval,
                custom_logger=out.logger,
            )
        while (before := trainer.iteration) < max_iter:
            updates = min(max_iter - before, checkpoint_interval or max_iter)
            trainer.train(updates, progress_bar=False)
            if trainer.iteration - before < updates:  # it has converged
                break
            if checkpoint_interval:
                trainer.save(out / "checkpoints" / f"{trainer.iteration:05d}")
        out.save_reward(trainer.reward_net, "final")
    return {
        "imit_stats": statistics(episodes(trainer.policy.pi, n_episodes_eval, evaluation_rng)),
        "expert_stats": statistics(episodes(expert_pi, n_episodes_eval, evaluation_rng)),
    }


train_mce_irl_ex, main_console = _engine.script("train_mce_irl", train_mce_irl)

if __name__ == "__main__":
    main_console()
