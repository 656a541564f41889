r"""Trains a reward from comparisons of clips, and a policy on that reward.

    python -m imitation_lab.scripts.train_preference_comparisons with pendulum
    python -m imitation_lab.scripts.train_preference_comparisons with fixed_cartpole seed=1
    python -m imitation_lab.scripts.train_preference_comparisons with pendulum reward.reward_ensemble \
        active_selection=True
    python -m imitation_lab.scripts.eval_policy with pendulum logging.log_dir=output/pendulum eval_n_timesteps=50_000 \
        rollout_save_path=episodes.safetensors explore_kwargs.random_prob=0.5 explore_kwargs.switch_prob=0.1
    python -m imitation_lab.scripts.train_preference_comparisons with pendulum \
        trajectory_path=output/pendulum/episodes.safetensors

The last learns a reward from episodes that were saved, without training a policy.
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.data import serialize
from imitation_lab.scripts import _engine, _names, _resuming
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.scripts.ingredients import RL, Environment, Logging, Policy, PolicyEvaluation, Reward
from imitation_lab.scripts.output import CHECKPOINT_FILE, streams
from imitation_lab.util import util

__all__ = ["train_preference_comparisons", "train_preference_comparisons_ex", "main_console"]


def train_preference_comparisons(
    *,
    fragment_length: Count = 100,
    total_timesteps: Natural = 1_000_000,
    total_comparisons: Count = 5000,
    num_iterations: Count = 5,
    comparison_queue_size: Count | None = None,
    transition_oversampling: float = 1.0,
    initial_comparison_frac: float = 0.1,
    initial_epoch_multiplier: float = 200.0,
    exploration_frac: float = 0.0,
    preference_model_kwargs: Mapping[str, Any] = {},
    reward_trainer_kwargs: Mapping[str, Any] = {"epochs": 3},
    save_preferences: bool = False,
    agent_path: str | None = None,
    gatherer_cls: str | type = "SyntheticGatherer",
    gatherer_kwargs: Mapping[str, Any] = {},
    active_selection: bool = False,
    active_selection_oversampling: float = 2.0,
    uncertainty_on: Literal["logit", "probability", "label"] = "logit",
    fragmenter_kwargs: Mapping[str, Any] = {},
    trajectory_path: str | None = None,
    trajectory_generator_kwargs: Mapping[str, Any] = {},
    allow_variable_horizon: bool = False,
    checkpoint_interval: Natural = 0,
    query_schedule: Literal["constant", "hyperbolic", "inverse_quadratic"] = "hyperbolic",
    environment: Environment = Environment(),
    reward: Reward = Reward(),
    rl: RL = RL(),
    policy: Policy = Policy(),
    policy_evaluation: PolicyEvaluation = PolicyEvaluation(),
    logging: Logging = Logging(),
    seed: Natural | None = None,
) -> dict[str, Any]:
    """Preference comparisons.

    Args:
        fragment_length: steps in a clip.
        total_timesteps: environment steps for the agent to learn in all.
        total_comparisons: pairs to compare in all.
        num_iterations: how often comparisons are asked for, after the first ones.
        comparison_queue_size: pairs kept, the newest; None keeps all.
        transition_oversampling: how many times the transitions needed are sampled, for the fragmenter to choose from.
        initial_comparison_frac: share of the comparisons that are made before the agent learns.
        initial_epoch_multiplier: multiplies the epochs of the first reward training.
        exploration_frac: share of the sampled transitions in which the agent also acts at random.
        preference_model_kwargs: for `PreferenceModel`, such as noise_prob.
        reward_trainer_kwargs: for the reward trainer: epochs, lr, batch_size.
        save_preferences: whether to save the compared pairs in preferences.safetensors.
        agent_path: a checkpoint's folder of an earlier run, to go on from; or a model's zip, for the agent to begin
            with its weights.
        gatherer_cls: who compares.
        gatherer_kwargs: its arguments, such as temperature.
        active_selection: whether to compare the pairs on which an ensemble disagrees most.
        active_selection_oversampling: candidates per pair then.
        uncertainty_on: what disagreement is measured on then: logit, probability or label.
        fragmenter_kwargs: for `RandomFragmenter`.
        trajectory_path: a file of trajectories to compare; no agent is trained then.
        trajectory_generator_kwargs: for `AgentTrainer`, such as switch_prob and random_prob.
        allow_variable_horizon: whether episodes may differ in length.
        checkpoint_interval: rounds between checkpoints in checkpoints/; 0 makes none. All environments are reset there.
        query_schedule: how comparisons are spread over the iterations.
        environment: see there.
        reward: see there.
        rl: see there; the agent.
        policy: see there; the agent's.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        `reward_loss` and `reward_accuracy` of the last reward training, and under `rollout` statistics of the policy's
        episodes, None without an agent.
    """
    rng, evaluation_rng = streams(seed)
    trajectories = None if trajectory_path is None else serialize.load_with_rewards(trajectory_path)
    resumed = _resuming.checkpoint(agent_path)
    with (
        logging.start("train_preference_comparisons", environment.gym_id) as out,
        environment.venv(rng, out.folder) as venv,
    ):
        net = reward.make(venv, rng)
        agent = None
        if trajectories is not None:
            generator: pc.TrajectoryGenerator = pc.TrajectoryDataset(trajectories, rng)
        else:
            agent = rl.make(venv, policy, util.make_seeds(rng), None if resumed else agent_path)
            net = net.to(agent.device)
            kwargs = {"exploration_frac": exploration_frac, **trajectory_generator_kwargs}
            generator = _names.call(
                "trajectory_generator_kwargs",
                pc.AgentTrainer,
                agent,
                net,
                venv,
                rng,
                custom_logger=out.logger,
                **kwargs,
            )
        model = _names.call("preference_model_kwargs", pc.PreferenceModel, net, **preference_model_kwargs)
        trainer_kwargs = _names.with_classes(reward_trainer_kwargs)
        _names.check("reward_trainer_kwargs", trainer_kwargs, pc.BasicRewardTrainer)
        loss = pc.CrossEntropyRewardLoss()
        fragmenter: pc.Fragmenter = _names.call("fragmenter_kwargs", pc.RandomFragmenter, rng, **fragmenter_kwargs)
        if active_selection:
            fragmenter = pc.ActiveSelectionFragmenter(
                model, fragmenter, active_selection_oversampling, uncertainty_on=uncertainty_on
            )
        gatherer = _names.find("preference gatherer", gatherer_cls)
        comparisons = pc.PreferenceComparisons(
            generator,
            net,
            num_iterations=num_iterations,
            fragmenter=fragmenter,
            preference_gatherer=_names.call("gatherer_kwargs", gatherer, rng=rng, **gatherer_kwargs),
            reward_trainer=pc.make_reward_trainer(model, loss, rng, trainer_kwargs),
            comparison_queue_size=comparison_queue_size,
            fragment_length=fragment_length,
            transition_oversampling=transition_oversampling,
            initial_comparison_frac=initial_comparison_frac,
            initial_epoch_multiplier=initial_epoch_multiplier,
            custom_logger=out.logger,
            allow_variable_horizon=allow_variable_horizon,
            rng=rng,
            query_schedule=query_schedule,
        )
        saving: dict[str, Any] = {"progress_bar": False}
        if checkpoint_interval:
            path = out / "checkpoints" / CHECKPOINT_FILE
            saving |= {"checkpoint_path": path, "checkpoint_interval": checkpoint_interval}
        if resumed:
            comparisons.restore(resumed)
            result: dict[str, Any] = dict(comparisons.resume(**saving))
        else:
            result = dict(comparisons.train(total_timesteps, total_comparisons, **saving))
        out.save_reward(comparisons.model, "final")
        if save_preferences:
            comparisons.dataset.save(out / "preferences.safetensors")
        result["rollout"] = None
        if agent is not None:
            assert agent.policy is not None
            out.save_policy(agent.policy)
            result["rollout"] = policy_evaluation.evaluate(agent.policy, environment, evaluation_rng)
    return result


train_preference_comparisons_ex, main_console = _engine.script(
    "train_preference_comparisons", train_preference_comparisons
)

if __name__ == "__main__":
    main_console()
