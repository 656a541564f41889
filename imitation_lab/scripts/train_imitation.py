"""Trains a policy by imitation: behavioral cloning, DAgger or SQIL.

    python -m imitation_lab.scripts.train_imitation bc with cartpole
    python -m imitation_lab.scripts.train_imitation dagger with cartpole dagger.total_timesteps=5000
    python -m imitation_lab.scripts.train_imitation sqil with fixed_cartpole seed=1
    python -m imitation_lab.scripts.train_imitation bc with cartpole checkpoint_interval=5 logging.log_dir=output/bc
    python -m imitation_lab.scripts.train_imitation bc with cartpole agent_path=output/bc/checkpoints/00005

The last goes on where the run before it had saved a checkpoint, and ends as that run would have ended.
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from imitation_lab.algorithms.bc.bc import BC
from imitation_lab.algorithms.dagger.dagger import (
    ExponentialBetaSchedule,
    LinearBetaSchedule,
    SimpleDAggerTrainer,
    reconstruct_trainer,
)
from imitation_lab.algorithms.sqil.sqil import SQIL
from imitation_lab.scripts import _engine, _names, _resuming
from imitation_lab.scripts._frame import Imitation, Result
from imitation_lab.scripts._schema import Count, Keys, Natural
from imitation_lab.scripts.ingredients import BCSettings, Policy, SQILSettings
from imitation_lab.util import util

__all__ = ["Result", "DAggerSettings", "bc", "dagger", "sqil", "train_imitation_ex", "main_console"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DAggerSettings(Keys):
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
    total_timesteps: Count = 100_000
    beta_schedule: Mapping[str, Any] | Callable | None = None
    rollout_round_min_episodes: Count | None = 3
    rollout_round_min_timesteps: Natural = 500

    def schedule(self) -> Any:
        """The schedule as an object.

        Raises:
            ValueError: if it is of no such form.
        """
        if not isinstance(self.beta_schedule, Mapping):
            return self.beta_schedule
        kinds: dict[str, Any] = {"linear": LinearBetaSchedule, "exponential": ExponentialBetaSchedule}
        if len(self.beta_schedule) != 1 or not self.beta_schedule.keys() <= kinds.keys():
            raise ValueError(
                f"dagger.beta_schedule={dict(self.beta_schedule)!r} is of no known form: write "
                "dagger.beta_schedule.linear=15 or dagger.beta_schedule.exponential=0.7."
            )
        ((kind, number),) = self.beta_schedule.items()
        return kinds[kind](number)


@_engine.command(Imitation)
def bc(
    frame: Imitation,
    *,
    checkpoint_interval: Natural = 0,
    agent_path: str | None = None,
    bc: BCSettings = BCSettings(),
    policy: Policy = Policy(),
) -> Result:
    """Behavioral cloning.

    Args:
        frame: shared keys.
        checkpoint_interval: how much training between checkpoints: passes over the demonstrations, or updates with
            bc.train_kwargs.n_batches (bc), rounds (dagger), environment steps (sqil); 0 makes none.
        agent_path: of an earlier run, to go on from: for bc and sqil a folder checkpoints/<n>, for dagger scratch.
        bc: see there.
        policy: see there.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    _resuming.check(agent_path)
    done = 0
    with frame.start("train_imitation") as (rng, trajectories, out, venv):
        if agent_path is not None:
            trainer = BC.load(agent_path, custom_logger=out.logger)
            done = _resuming.read_progress(agent_path)
        else:
            trainer = bc.make(venv, policy, rng, demonstrations=trajectories, custom_logger=out.logger)
        kwargs = _names.check("bc.train_kwargs", bc.arguments(), trainer.train)
        if checkpoint_interval and kwargs.get("early_stop_patience") is not None:
            raise ValueError("early_stop_patience counts within one training, which checkpoint_interval cuts: use one.")
        unit = "n_batches" if kwargs.get("n_epochs") is None else "n_epochs"
        total = kwargs[unit]
        while done < total:
            piece = min(checkpoint_interval or total, total - done)
            trainer.train(**{**kwargs, unit: piece})
            if trainer.interrupted:
                break
            done += piece
            if checkpoint_interval:
                name = f"{done:05d}"
                out.save_checkpoint(trainer, name)
                _resuming.write_progress(out / "checkpoints" / name, done)
        out.save_policy(trainer.policy)
    return frame.compare(trainer.policy, trajectories)


@_engine.command(Imitation)
def dagger(
    frame: Imitation,
    *,
    checkpoint_interval: Natural = 0,
    agent_path: str | None = None,
    dagger: DAggerSettings = DAggerSettings(),
    bc: BCSettings = BCSettings(),
    policy: Policy = Policy(),
) -> Result:
    """DAgger: behavioral cloning of an expert who labels what the learner meets.

    Args:
        frame: shared keys.
        checkpoint_interval: rounds between checkpoints.
        agent_path: the folder scratch of an earlier run with checkpoints; it is copied.
        dagger: see there.
        bc: see there; trained so after each round.
        policy: see there.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the expert's under `expert_stats`.
    """
    _resuming.check(agent_path, "checkpoint-latest.safetensors", "the folder scratch of a run of dagger")
    start = frame.start("train_imitation", demonstrated=dagger.use_offline_rollouts)
    with start as (rng, trajectories, out, venv):
        expert_policy = frame.expert.load(venv, frame.environment.gym_id)
        if agent_path is not None:
            shutil.copytree(agent_path, out / "scratch")
            trainer: Any = reconstruct_trainer(out / "scratch", venv, out.logger, expert_policy=expert_policy)
        else:
            trainer = SimpleDAggerTrainer(
                venv=venv,
                scratch_dir=out / "scratch",
                expert_policy=expert_policy,
                expert_trajs=trajectories or None,
                beta_schedule=dagger.schedule(),
                bc_trainer=bc.make(venv, policy, rng, custom_logger=out.logger),
                custom_logger=out.logger,
                rng=rng,
            )

        def at_end_of_round(number: int) -> None:
            if checkpoint_interval and (number + 1) % checkpoint_interval == 0:
                trainer.save_trainer()

        left = dagger.total_timesteps - trainer.n_labels
        if agent_path is not None:
            left += sum(map(len, trajectories))  # these are no labels of this kind
        if left > 0:
            trainer.train(
                left,
                rollout_round_min_episodes=dagger.rollout_round_min_episodes or 1,
                rollout_round_min_timesteps=dagger.rollout_round_min_timesteps,
                bc_train_kwargs=_names.check("bc.train_kwargs", bc.arguments(), trainer.bc_trainer.train),
                on_round_end=at_end_of_round,
                progress_bar=False,
            )
        out.save_policy(trainer.policy)
    return frame.compare(trainer.policy, trajectories or expert_policy)


@_engine.command(Imitation)
def sqil(
    frame: Imitation,
    *,
    checkpoint_interval: Natural = 0,
    agent_path: str | None = None,
    sqil: SQILSettings = SQILSettings(),
) -> Result:
    """SQIL: off-policy learning in which the expert's transitions earn 1 and the learner's 0.

    Args:
        frame: shared keys.
        checkpoint_interval: environment steps between checkpoints, where all environments are reset.
        agent_path: a folder checkpoints/<step> of an earlier run.
        sqil: see there.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    _resuming.check(agent_path)
    with frame.start("train_imitation") as (rng, trajectories, out, venv):
        if agent_path is not None:
            trainer = SQIL.load(agent_path, venv, custom_logger=out.logger)
        else:
            cls = sqil.algorithm(venv.action_space)
            rl_kwargs = {"seed": util.make_seeds(rng), **_names.with_classes(sqil.rl_kwargs)}
            trainer = SQIL(
                venv=venv,
                demonstrations=trajectories,
                policy=sqil.policy,
                custom_logger=out.logger,
                rl_algo_class=cls,
                rl_kwargs=_names.check("sqil.rl_kwargs", rl_kwargs, cls),
            )
        kwargs = {"progress_bar": False, "reset_num_timesteps": False, **sqil.train_kwargs}
        _resuming.learn(
            trainer.rl_algo,
            sqil.total_timesteps,
            checkpoint_interval,
            lambda steps: trainer.train(total_timesteps=steps, **kwargs),
            functools.partial(out.save_checkpoint, trainer),
        )
        out.save_policy(trainer.policy)
    return frame.compare(trainer.policy, trajectories)


train_imitation_ex, main_console = _engine.script("train_imitation", bc, dagger, sqil)

if __name__ == "__main__":
    main_console()
