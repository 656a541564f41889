"""Trains a policy by imitation: behavioral cloning, DAgger or SQIL.

python -m imitation_lab.scripts.train_imitation bc with cartpole
python -m imitation_lab.scripts.train_imitation dagger with cartpole dagger.total_timesteps=5000
python -m imitation_lab.scripts.train_imitation sqil with cartpole seed=1
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imitation_lab.scripts import _console, _engine, _names
from imitation_lab.scripts.config import train_imitation as config
from imitation_lab.scripts.ingredients.bc import BCSettings
from imitation_lab.scripts.ingredients.demonstrations import Demonstrations
from imitation_lab.scripts.ingredients.environment import Environment
from imitation_lab.scripts.ingredients.expert import Expert
from imitation_lab.scripts.ingredients.logging import Logging
from imitation_lab.scripts.ingredients.policy import Policy
from imitation_lab.scripts.ingredients.policy_evaluation import PolicyEvaluation, statistics
from imitation_lab.scripts.ingredients.sqil import SQILSettings
from imitation_lab.scripts.output import streams

if TYPE_CHECKING:
    from imitation_lab.data.types import Trajectory

Result = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAggerSettings:
    """DAgger, besides what concerns its behavioral cloning.

    Attributes:
        use_offline_rollouts: whether to begin with the demonstrations.
        total_timesteps: labels to collect.
        beta_schedule: how the expert's share of the acting falls: {"linear": rounds to 0}, or {"exponential": factor
            per round}; None is {"linear": 15}.
        rollout_round_min_episodes: episodes in a round, at least; None is 1.
        rollout_round_min_timesteps: steps in a round, at least.
    """

    use_offline_rollouts: bool = False
    total_timesteps: int = 100_000
    beta_schedule: Mapping[str, Any] | Callable | None = None
    rollout_round_min_episodes: int | None = 3
    rollout_round_min_timesteps: int = 500

    def schedule(self) -> Any:
        """The schedule as an object.

        Raises:
            ValueError: if it is of no such form.
        """
        from imitation_lab.algorithms import dagger

        if not isinstance(self.beta_schedule, Mapping):
            return self.beta_schedule
        kinds: dict[str, Any] = {
            "linear": dagger.LinearBetaSchedule,
            "exponential": dagger.ExponentialBetaSchedule,
        }
        if len(self.beta_schedule) != 1 or not self.beta_schedule.keys() <= kinds.keys():
            raise ValueError(
                f"dagger.beta_schedule={dict(self.beta_schedule)!r} is of no known form: write "
                "dagger.beta_schedule.linear=15 or dagger.beta_schedule.exponential=0.7."
            )
        ((kind, number),) = self.beta_schedule.items()
        return kinds[kind](number)


def bc(
    *,
    bc: BCSettings = BCSettings(),
    environment: Environment = Environment(),
    demonstrations: Demonstrations = Demonstrations(),
    expert: Expert = Expert(),
    policy: Policy = Policy(),
    policy_evaluation: PolicyEvaluation = PolicyEvaluation(),
    logging: Logging = Logging(),
    seed: int | None = None,
) -> Result:
    """Behavioral cloning.

    Args:
        bc: see there.
        environment: see there.
        demonstrations: see there.
        expert: see there; used where demonstrations are generated.
        policy: see there.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    rng, evaluation_rng = streams(seed)
    trajectories = demonstrations.load(environment, expert, rng)
    with logging.start("train_imitation", environment.gym_id) as out, environment.venv(rng) as venv:
        trainer = bc.make(venv, policy, rng, demonstrations=trajectories, custom_logger=out.logger)
        trainer.train(**_checked("bc.train_kwargs", trainer.train, bc.arguments()))
    out.save_policy(trainer.policy)
    return _result(policy_evaluation.evaluate(trainer.policy, environment, evaluation_rng), trajectories)


def dagger(
    *,
    dagger: DAggerSettings = DAggerSettings(),
    bc: BCSettings = BCSettings(),
    environment: Environment = Environment(),
    demonstrations: Demonstrations = Demonstrations(),
    expert: Expert = Expert(),
    policy: Policy = Policy(),
    policy_evaluation: PolicyEvaluation = PolicyEvaluation(),
    logging: Logging = Logging(),
    seed: int | None = None,
) -> Result:
    """DAgger: behavioral cloning of an expert who labels what the learner meets.

    Args:
        dagger: see there.
        bc: see there; trained so after each round.
        environment: see there.
        demonstrations: see there; used if dagger.use_offline_rollouts.
        expert: see there; it labels.
        policy: see there.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the expert's under `expert_stats`.
    """
    from imitation_lab.algorithms.dagger import SimpleDAggerTrainer

    rng, evaluation_rng = streams(seed)
    trajectories = demonstrations.load(environment, expert, rng) if dagger.use_offline_rollouts else None
    with logging.start("train_imitation", environment.gym_id) as out, environment.venv(rng) as venv:
        expert_policy = expert.load(venv, environment.gym_id)
        learner = bc.make(venv, policy, rng, custom_logger=out.logger)
        trainer = SimpleDAggerTrainer(
            venv=venv,
            scratch_dir=out / "scratch",
            expert_policy=expert_policy,
            expert_trajs=trajectories,
            beta_schedule=dagger.schedule(),
            bc_trainer=learner,
            custom_logger=out.logger,
            rng=rng,
        )
        trainer.train(
            dagger.total_timesteps,
            rollout_round_min_episodes=dagger.rollout_round_min_episodes or 1,
            rollout_round_min_timesteps=dagger.rollout_round_min_timesteps,
            bc_train_kwargs=_checked("bc.train_kwargs", learner.train, bc.arguments()),
            progress_bar=False,
        )
    out.save_policy(trainer.policy)
    found = policy_evaluation.evaluate(trainer.policy, environment, evaluation_rng)
    if trajectories is None:
        return {
            "imit_stats": found,
            "expert_stats": policy_evaluation.evaluate(expert_policy, environment, evaluation_rng),
        }
    return _result(found, trajectories)


def sqil(
    *,
    sqil: SQILSettings = SQILSettings(),
    environment: Environment = Environment(),
    demonstrations: Demonstrations = Demonstrations(),
    expert: Expert = Expert(),
    policy_evaluation: PolicyEvaluation = PolicyEvaluation(),
    logging: Logging = Logging(),
    seed: int | None = None,
) -> Result:
    """SQIL: off-policy learning in which the expert's transitions earn 1 and the learner's 0.

    Args:
        sqil: see there.
        environment: see there.
        demonstrations: see there.
        expert: see there; used where demonstrations are generated.
        policy_evaluation: see there.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    from imitation_lab.algorithms.sqil import SQIL
    from imitation_lab.util import util

    rng, evaluation_rng = streams(seed)
    trajectories = demonstrations.load(environment, expert, rng)
    with logging.start("train_imitation", environment.gym_id) as out, environment.venv(rng) as venv:
        cls = sqil.algorithm(venv.action_space)
        rl_kwargs = {"seed": util.make_seeds(rng), **_names.with_classes(sqil.rl_kwargs)}
        trainer = SQIL(
            venv=venv,
            demonstrations=trajectories,
            policy=sqil.policy,
            custom_logger=out.logger,
            rl_algo_class=cls,
            rl_kwargs=_checked("sqil.rl_kwargs", cls, rl_kwargs),
        )
        trainer.train(total_timesteps=sqil.total_timesteps, **sqil.train_kwargs)
    out.save_policy(trainer.policy)
    return _result(policy_evaluation.evaluate(trainer.policy, environment, evaluation_rng), trajectories)


def _checked(where: str, function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    _names.check(where, kwargs, function)
    return kwargs


def _result(found: dict[str, float], trajectories: Sequence[Trajectory]) -> Result:
    return {"imit_stats": found, "expert_stats": statistics(trajectories)}


train_imitation_ex = _engine.experiment("train_imitation", [bc, dagger, sqil], config.NAMED)
main_console = _console.main_console(train_imitation_ex)

if __name__ == "__main__":
    main_console()
