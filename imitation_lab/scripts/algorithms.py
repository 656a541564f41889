"""How each of our algorithms is run in a comparison: made from a set-up, and trained in parts between looks."""
# ruff: noqa: B006 (defaults are never changed)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from imitation_lab.algorithms import base, presets
from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.common import AdversarialTrainer
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.algorithms.bc import bc
from imitation_lab.algorithms.checkpoint import rollout_steps
from imitation_lab.algorithms.dagger import dagger
from imitation_lab.algorithms.density.density import DensityAlgorithm, DensityType
from imitation_lab.algorithms.mce_irl import mce_irl
from imitation_lab.algorithms.plugins import Algorithm, Look, Setup
from imitation_lab.algorithms.sqil import sqil
from imitation_lab.rewards import reward_nets
from imitation_lab.util.networks import RunningNorm

__all__ = ["Options", "OWN"]

Options = Mapping[str, Any]
_QUIET: dict[str, Any] = {"progress_bar": False}


def _ppo(setup: Setup, venv: VecEnv, options: Options) -> PPO:
    """The learner of the algorithms that learn on-policy."""
    return PPO("MlpPolicy", venv, seed=setup.seed, device="cpu", **options)


def _make_clone(
    cls: type, setup: Setup, *, batch_size: int | None = None, learning_rate: float = 3e-3, ent_weight: float = 1e-3
) -> Any:
    """Behavioral cloning, or DAgger by it."""
    venv = setup.make_venv(1)
    clone = bc.BC(
        observation_space=venv.observation_space,
        action_space=venv.action_space,
        demonstrations=setup.demonstrations if cls is bc.BC else None,
        rng=setup.rng,
        batch_size=batch_size or min(32, len(setup.demonstrations[0])),
        optimizer_kwargs={"lr": learning_rate},
        ent_weight=ent_weight,
        custom_logger=setup.logger,
        device="cpu",
    )
    if cls is bc.BC:
        return clone
    return dagger.SimpleDAggerTrainer(
        venv=venv,
        scratch_dir=setup.folder,
        expert_policy=setup.load_expert(),
        rng=setup.rng,
        # at first a learner gets stuck; then all labels of an episode would be of one cell
        beta_schedule=dagger.LinearBetaSchedule(len(setup.demonstrations)),
        bc_trainer=clone,
    )


def _train_bc(trainer: bc.BC, setup: Setup, *, n_batches: int) -> None:
    trainer.train(n_batches=n_batches, **_QUIET)


def _train_dagger(trainer: dagger.SimpleDAggerTrainer, setup: Setup, *, n_batches: int) -> Iterator[Look]:
    """An episode of the expert, then of the learner, until it has as many labels as behavioral cloning."""
    rounds = len(setup.demonstrations)
    for number in range(1, rounds + 1):
        trainer.train(
            1,
            rollout_round_min_episodes=1,
            rollout_round_min_timesteps=1,
            bc_train_kwargs={"n_batches": n_batches, "log_rollouts_venv": None},
            **_QUIET,
        )
        if setup.n_looks > 1 or number == rounds:
            yield Look(trainer.policy, trainer.n_labels, trainer.n_labels)


class _Standardised(VecEnvWrapper):
    """Shifts and scales rewards to mean 0 and variance 1 so far, as reward networks do for the other algorithms.

    Log densities are far below 0, and PPO would spend its steps on finding out how far. The statistics take in a reward
    before it is scaled (`normalize_reward` of `DensityAlgorithm` after): stored comparisons were made so.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self._norm = RunningNorm(1)

    def reset(self) -> VecEnvObs:
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        obs, rewards, dones, infos = self.venv.step_wait()
        with th.no_grad():
            scaled = self._norm.train()(th.as_tensor(rewards, dtype=th.float32)[:, None])
        return obs, scaled[:, 0].numpy(), dones, infos


def _make_density(setup: Setup, *, ppo: Options, density: Options = {}) -> DensityAlgorithm:
    venv = setup.make_venv(None)
    learner = _ppo(setup, venv, ppo)
    kind = {key: DensityType[name] for key, name in density.items() if key == "density_type"}
    trainer = DensityAlgorithm(
        demonstrations=setup.demonstrations,
        venv=venv,
        rng=setup.rng,
        rl_algo=learner,
        custom_logger=setup.logger,
        **{**density, **kind},
    )
    trainer.train()
    learner.set_env(_Standardised(trainer.venv_wrapped))
    return trainer


def _train_density(trainer: DensityAlgorithm, setup: Setup, *, steps: int) -> Iterator[Look]:
    assert trainer.rl_algo is not None
    for part in setup.parts(steps, rollout_steps(trainer.rl_algo)):
        trainer.train_policy(part, **_QUIET)
        yield Look(trainer.policy, setup.n_labels, trainer.rl_algo.num_timesteps, trainer)


def _make_adversarial(
    cls: type[AdversarialTrainer],
    setup: Setup,
    *,
    ppo: Options,
    trainer: Options = {},
    net: Options = {},
    disc_learning_rate: float = 1e-3,
) -> AdversarialTrainer:
    venv = setup.make_venv(None)
    learner = _ppo(setup, venv, ppo)
    options = {"demo_batch_size": 256, "n_disc_updates_per_round": 20, **trainer}
    options["demo_batch_size"] = min(options["demo_batch_size"], setup.n_labels)
    observations = venv.observation_space
    norm: dict[str, Any] = {} if hasattr(observations, "n") else {"normalize_input_layer": RunningNorm}
    with base.seeded_torch(setup.rng):
        made: reward_nets.RewardNet = reward_nets.BasicRewardNet(observations, venv.action_space, **norm, **net)
        if cls is AIRL:
            potential = reward_nets.BasicPotentialMLP(observations, (32, 32), **norm)
            made = reward_nets.ShapedRewardNet(made, potential, learner.gamma)
        made = reward_nets.NormalizedRewardNet(made, RunningNorm)
    return cls(
        demonstrations=setup.demonstrations,
        venv=venv,
        gen_algo=learner,
        reward_net=made,
        rng=setup.rng,
        custom_logger=setup.logger,
        disc_opt_kwargs={"lr": disc_learning_rate},
        gen_replay_buffer_capacity=8 * learner.n_steps * learner.n_envs,
        **options,
    )


def _train_adversarial(trainer: AdversarialTrainer, setup: Setup, *, steps: int) -> Iterator[Look]:
    for part in setup.parts(steps, trainer.gen_train_timesteps):
        trainer.train(part, **_QUIET)
        yield Look(trainer.policy, setup.n_labels, trainer.gen_algo.num_timesteps, trainer.reward_test.predict)


_DQN: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 64,
    "train_freq": 1,
    "gradient_steps": 2,
    "learning_starts": 400,
    "target_update_interval": 200,
    "buffer_size": 50_000,
    "exploration_final_eps": 0.02,
}


def _make_sqil(setup: Setup, *, dqn: Options = {}) -> sqil.SQIL:
    return sqil.SQIL(
        venv=setup.make_venv(None),
        demonstrations=setup.demonstrations,
        policy="MlpPolicy",
        rl_algo_class=DQN,
        rl_kwargs={"seed": setup.seed, "device": "cpu", **_DQN, **dqn},
        custom_logger=setup.logger,
    )


def _train_sqil(trainer: sqil.SQIL, setup: Setup, *, steps: int) -> Iterator[Look]:
    learner: Any = trainer.rl_algo
    # of the whole run, whose parts SB3 would each begin with random actions again
    explored = max(1, int(steps * setup.budget) // 4)
    learner.exploration_schedule = lambda _: max(learner.exploration_final_eps, 1 - learner.num_timesteps / explored)
    for part in setup.parts(steps, learner.n_envs):
        trainer.train(total_timesteps=part, reset_num_timesteps=False, **_QUIET)
        yield Look(trainer.policy, setup.n_labels, learner.num_timesteps)


def _make_mce_irl(setup: Setup, *, learning_rate: float = 0.1) -> mce_irl.MCEIRL:
    """One weight per state; it knows the probabilities, and takes no steps."""
    env = setup.make_env()
    with base.seeded_torch(setup.rng):
        net = reward_nets.BasicRewardNet(env.observation_space, env.action_space, use_action=False, hid_sizes=[])
    return mce_irl.MCEIRL(
        setup.demonstrations,
        env,
        net,
        setup.rng,
        optimizer_kwargs={"lr": learning_rate},
        custom_logger=setup.logger,
    )


def _train_mce_irl(trainer: mce_irl.MCEIRL, setup: Setup, *, iterations: int) -> Iterator[Look]:
    trainer.train(iterations, **_QUIET)
    yield Look(trainer.policy, setup.n_labels, 0, trainer.reward_net.predict)


def _make_preferences(
    setup: Setup, *, ppo: Options, fragment_length: int, temperature: float = 0.0
) -> pc.PreferenceComparisons:
    """No demonstrations, but a teacher who compares clips by the true reward."""
    venv = setup.make_venv(None)
    learner = _ppo(setup, venv, ppo)
    rng = setup.rng
    with base.seeded_torch(rng):
        net: reward_nets.RewardNet = reward_nets.BasicRewardNet(venv.observation_space, venv.action_space)
    rewards = reward_nets.NormalizedRewardNet(net, RunningNorm)
    model = pc.PreferenceModel(rewards)
    return pc.PreferenceComparisons(
        pc.AgentTrainer(learner, rewards, venv, rng, exploration_frac=0.1, custom_logger=setup.logger),
        rewards,
        num_iterations=setup.n_looks,
        fragment_length=fragment_length,
        reward_trainer=pc.BasicRewardTrainer(
            model, pc.CrossEntropyRewardLoss(), rng, epochs=5, lr=3e-3, custom_logger=setup.logger, **_QUIET
        ),
        initial_epoch_multiplier=4.0,
        # two clips that earn the same are a tie; the default teacher would toss a coin, and most early pairs are ties
        preference_gatherer=pc.SyntheticGatherer(temperature=temperature, rng=rng, custom_logger=setup.logger),
        custom_logger=setup.logger,
        rng=rng,
    )


def _train_preferences(
    trainer: pc.PreferenceComparisons, setup: Setup, *, steps: int, comparisons: int, rounds: int = 4
) -> Iterator[Look]:
    generator: Any = trainer.trajectory_generator
    learner, rewards = generator.algorithm, trainer.model
    rounds = max(setup.n_looks, rounds)
    rounds += -rounds % setup.n_looks
    least = rollout_steps(learner)
    for number in range(1, rounds + 1):
        trainer.step(comparisons // rounds, max(least, int(steps * setup.budget) // rounds))
        if number % (rounds // setup.n_looks) == 0:
            yield Look(learner, len(trainer.dataset), learner.num_timesteps, rewards.base.predict)


def _own(name: str, cls: type, make: Any, train: Any) -> Algorithm:
    known = {task: presets.read(name, task).get("compare") for task in presets.available(name)}
    return Algorithm(name, cls, make, train, {task: settings for task, settings in known.items() if settings})


OWN = {
    "BC": _own("bc", bc.BC, partial(_make_clone, bc.BC), _train_bc),
    "DAgger": _own(
        "dagger", dagger.SimpleDAggerTrainer, partial(_make_clone, dagger.SimpleDAggerTrainer), _train_dagger
    ),
    "Density": _own("density", DensityAlgorithm, _make_density, _train_density),
    "GAIL": _own("gail", GAIL, partial(_make_adversarial, GAIL), _train_adversarial),
    "AIRL": _own("airl", AIRL, partial(_make_adversarial, AIRL), _train_adversarial),
    "SQIL": _own("sqil", sqil.SQIL, _make_sqil, _train_sqil),
    "MCE IRL": _own("mce_irl", mce_irl.MCEIRL, _make_mce_irl, _train_mce_irl),
    "Preferences": _own("preferences", pc.PreferenceComparisons, _make_preferences, _train_preferences),
}
"""Our algorithms, by the names of tables."""
