r"""Trains a policy and a reward by adversarial imitation: GAIL or AIRL.

    python -m imitation_lab.scripts.train_adversarial gail with fixed_cartpole
    python -m imitation_lab.scripts.train_adversarial airl with pendulum checkpoint_interval=25 \
        logging.log_dir=output/airl
    python -m imitation_lab.scripts.train_adversarial airl with pendulum agent_path=output/airl/checkpoints/00025

The last goes on where the run before it had saved a checkpoint, and ends as that run would have ended.
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any, Literal

from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.common import AdversarialTrainer
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.scripts import _engine, _names, _resuming
from imitation_lab.scripts._frame import Imitation, Result
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.scripts.ingredients import RL, Policy, Reward
from imitation_lab.util import util

__all__ = ["train_adversarial", "gail", "airl", "train_adversarial_ex", "main_console"]


def train_adversarial(
    frame: Imitation,
    algorithm: Literal["gail", "airl"],
    *,
    show_config: bool = False,
    total_timesteps: Count = 1_000_000,
    algorithm_kwargs: Mapping[str, Any] = {"demo_batch_size": 1024, "n_disc_updates_per_round": 4},
    algorithm_specific: Mapping[str, Any] = {},
    checkpoint_interval: Natural = 0,
    agent_path: str | None = None,
    rl: RL = RL(),
    policy: Policy = Policy(),
    reward: Reward = Reward(),
) -> Result:
    """Adversarial imitation.

    Args:
        frame: shared keys.
        algorithm: "gail" or "airl".
        show_config: whether to print the configuration first.
        total_timesteps: environment steps of the generator; those of the run at agent_path count.
        algorithm_kwargs: arguments of the trainer.
        algorithm_specific: more of them, by algorithm: {"gail": {...}, "airl": {...}}.
        checkpoint_interval: rounds between checkpoints in checkpoints/<round>; 0 makes none. All environments are reset
            there.
        agent_path: a checkpoint's folder of an earlier run, to go on from; or a model's zip, for the generator to begin
            with its weights.
        rl: see there; the generator.
        policy: see there; the generator's.
        reward: see there; the discriminator's network.

    Returns:
        Statistics of the policy's episodes under `imit_stats`, of the demonstrations under `expert_stats`.
    """
    if show_config:
        given = {**locals(), **vars(frame)}
        pprint.pprint({key: value for key, value in given.items() if key not in ("show_config", "frame")})

    cls: type[AdversarialTrainer] = GAIL if algorithm == "gail" else AIRL
    kwargs = {**_names.with_classes(algorithm_kwargs), **_names.with_classes(algorithm_specific.get(algorithm, {}))}
    _names.check("algorithm_kwargs", kwargs, cls, AdversarialTrainer)
    with frame.start("train_adversarial") as (rng, trajectories, out, venv):
        if agent_path is not None and _resuming.checkpoint(agent_path):
            trainer = cls.load(agent_path, venv, custom_logger=out.logger, log_dir=out / "log")
        else:
            generator = rl.make(venv, policy, util.make_seeds(rng), agent_path)
            default = "BasicRewardNet" if algorithm == "gail" else "BasicShapedRewardNet"
            trainer = cls(
                demonstrations=trajectories,
                venv=venv,
                gen_algo=generator,
                reward_net=reward.make(venv, rng, default).to(generator.device),
                log_dir=out / "log",
                custom_logger=out.logger,
                **{"rng": rng, **kwargs},
            )

        def at_end_of_round(round_number: int) -> None:
            done = trainer.gen_algo.num_timesteps // trainer.gen_train_timesteps  # counted from the very beginning
            if checkpoint_interval and done % checkpoint_interval == 0:
                out.save_checkpoint(trainer, f"{done:05d}")

        left = total_timesteps - trainer.gen_algo.num_timesteps
        if left >= trainer.gen_train_timesteps or trainer.gen_algo.num_timesteps == 0:
            trainer.train(left, callback=at_end_of_round, progress_bar=False)
        out.save_policy(trainer.policy)
        out.save_reward(trainer.reward_train, "train")
        out.save_reward(trainer.reward_test, "test")
    return frame.compare(trainer.policy, trajectories)


gail = _engine.command(Imitation, "gail", name="gail", doc="Generative adversarial imitation learning.")(
    train_adversarial
)
airl = _engine.command(Imitation, "airl", name="airl", doc="Adversarial inverse reinforcement learning.")(
    train_adversarial
)

train_adversarial_ex, main_console = _engine.script("train_adversarial", gail, airl)

if __name__ == "__main__":
    main_console()
