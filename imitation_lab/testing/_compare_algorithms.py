"""How each algorithm is run in a comparison: a function from a set-up to looks at its policy."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch as th
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from imitation_lab.algorithms import base, bc, dagger, density, mce_irl, sqil
from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.data import types
from imitation_lab.rewards import reward_nets
from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.networks import RunningNorm

if TYPE_CHECKING:
    from imitation_lab.testing._compare_tasks import Task

_QUIET: dict[str, Any] = {"progress_bar": False}


class Look(NamedTuple):
    """A policy, and what it took so far: the expert's answers, and steps in the environment.

    `reward` is what the algorithm learned to pay, a `RewardFn`, if it learns one.
    """

    policy: Any
    labels: int
    env_steps: int
    reward: RewardFn | None = None


@dataclasses.dataclass(frozen=True)
class Setup:
    """One run to be made; see `compare.compare`."""

    task: Task
    demonstrations: Sequence[types.TrajectoryWithRew]
    seed: int
    options: Mapping[str, Any]
    n_looks: int
    budget: float
    logger: lab_logger.HierarchicalLogger

    @property
    def rng(self) -> np.random.Generator:
        """The run's generator, from its beginning."""
        return np.random.default_rng(self.seed)

    @property
    def n_labels(self) -> int:
        """The expert's actions in the demonstrations."""
        return sum(map(len, self.demonstrations))

    @property
    def steps(self) -> int:
        """Steps in the environment for the whole run."""
        return int(self.options["steps"] * self.budget)

    def parts(self, multiple: int = 1) -> list[int]:
        """The steps of each look: multiples of a number, at least that."""
        each = max(multiple, round(self.steps / self.n_looks / multiple) * multiple)
        return [each] * self.n_looks

    def venv(self, n_envs: int = 16) -> VecEnv:
        """The environments to learn in."""
        return self.task.make_venv(self.seed + 1000, n_envs)

    def ppo(self, venv: VecEnv) -> PPO:
        """The learner of the algorithms that learn on-policy."""
        return PPO("MlpPolicy", venv, seed=self.seed, device="cpu", **self.options["ppo"])


Run = Callable[[Setup], Iterator[Look]]


def _clone(setup: Setup, venv: VecEnv, demonstrations: Any) -> bc.BC:
    return bc.BC(
        observation_space=venv.observation_space,
        action_space=venv.action_space,
        demonstrations=demonstrations,
        rng=setup.rng,
        batch_size=setup.options.get("batch_size", min(32, len(setup.demonstrations[0]))),
        optimizer_kwargs={"lr": setup.options.get("learning_rate", 3e-3)},
        ent_weight=setup.options.get("ent_weight", 1e-3),
        custom_logger=setup.logger,
        device="cpu",
    )


def run_bc(setup: Setup) -> Iterator[Look]:
    """Behavioral cloning."""
    venv = setup.venv(1)
    trainer = _clone(setup, venv, setup.demonstrations)
    trainer.train(n_batches=setup.options["n_batches"], **_QUIET)
    yield Look(trainer.policy, setup.n_labels, 0)


def run_dagger(setup: Setup) -> Iterator[Look]:
    """DAgger: an episode of the expert, then of the learner, until it has as many labels as behavioral cloning."""
    venv = setup.venv(1)
    learner = _clone(setup, venv, None)
    with tempfile.TemporaryDirectory() as folder:
        trainer = dagger.SimpleDAggerTrainer(
            venv=venv,
            scratch_dir=folder,
            expert_policy=setup.task.expert,
            rng=setup.rng,
            # at first a learner gets stuck; then all labels of an episode would be of one cell
            beta_schedule=dagger.LinearBetaSchedule(len(setup.demonstrations)),
            bc_trainer=learner,
        )
        for _ in setup.demonstrations:
            trainer.train(
                1,
                rollout_round_min_episodes=1,
                rollout_round_min_timesteps=1,
                bc_train_kwargs={"n_batches": setup.options["n_batches"], "log_rollouts_venv": None},
                **_QUIET,
            )
            if setup.n_looks > 1:
                yield Look(trainer.policy, trainer.n_labels, trainer.n_labels)
        if setup.n_looks == 1:
            yield Look(trainer.policy, trainer.n_labels, trainer.n_labels)


class _Standardised(VecEnvWrapper):
    """Shifts and scales rewards to mean 0 and variance 1 so far, as reward networks do for the other algorithms.

    Log densities are far below 0, and PPO would spend its steps on finding out how far.
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


def run_density(setup: Setup) -> Iterator[Look]:
    """Density estimation and PPO."""
    venv = setup.venv()
    learner = setup.ppo(venv)
    trainer = density.DensityAlgorithm(
        demonstrations=setup.demonstrations,
        venv=venv,
        rng=setup.rng,
        rl_algo=learner,
        custom_logger=setup.logger,
        **setup.options.get("density", {}),
    )
    trainer.train()
    learner.set_env(_Standardised(trainer.venv_wrapped))
    for steps in setup.parts(learner.n_steps * learner.n_envs):
        trainer.train_policy(steps, **_QUIET)
        yield Look(trainer.policy, setup.n_labels, learner.num_timesteps, trainer)


def _adversarial(cls: Any, setup: Setup) -> Iterator[Look]:
    venv = setup.venv()
    learner = setup.ppo(venv)
    options = {"demo_batch_size": 256, "n_disc_updates_per_round": 20, **setup.options.get("trainer", {})}
    options["demo_batch_size"] = min(options["demo_batch_size"], setup.n_labels)
    observations = venv.observation_space
    norm: dict[str, Any] = {} if hasattr(observations, "n") else {"normalize_input_layer": RunningNorm}
    with base.seeded_torch(setup.rng):
        net: reward_nets.RewardNet = reward_nets.BasicRewardNet(
            observations, venv.action_space, **norm, **setup.options.get("net", {})
        )
        if cls is AIRL:
            potential = reward_nets.BasicPotentialMLP(observations, (32, 32), **norm)
            net = reward_nets.ShapedRewardNet(net, potential, learner.gamma)
        net = reward_nets.NormalizedRewardNet(net, RunningNorm)
    trainer = cls(
        demonstrations=setup.demonstrations,
        venv=venv,
        gen_algo=learner,
        reward_net=net,
        rng=setup.rng,
        custom_logger=setup.logger,
        disc_opt_kwargs={"lr": setup.options.get("disc_learning_rate", 1e-3)},
        gen_replay_buffer_capacity=8 * learner.n_steps * learner.n_envs,
        **options,
    )
    for steps in setup.parts(trainer.gen_train_timesteps):
        trainer.train(steps, **_QUIET)
        yield Look(trainer.policy, setup.n_labels, learner.num_timesteps, trainer.reward_test.predict)


def run_gail(setup: Setup) -> Iterator[Look]:
    """GAIL and PPO."""
    return _adversarial(GAIL, setup)


def run_airl(setup: Setup) -> Iterator[Look]:
    """AIRL and PPO."""
    return _adversarial(AIRL, setup)


def run_sqil(setup: Setup) -> Iterator[Look]:
    """SQIL and DQN."""
    venv = setup.venv()
    options = {
        "learning_rate": 1e-3,
        "batch_size": 64,
        "train_freq": 1,
        "gradient_steps": 2,
        "learning_starts": 400,
        "target_update_interval": 200,
        "buffer_size": 50_000,
        "exploration_final_eps": 0.02,
        **setup.options.get("dqn", {}),
    }
    trainer = sqil.SQIL(
        venv=venv,
        demonstrations=setup.demonstrations,
        policy="MlpPolicy",
        rl_algo_class=DQN,
        rl_kwargs={"seed": setup.seed, "device": "cpu", **options},
        custom_logger=setup.logger,
    )
    learner: Any = trainer.rl_algo
    # of the whole run, whose parts SB3 would each begin with random actions again
    explored = options.get("exploration_steps", setup.steps // 4)
    learner.exploration_schedule = lambda _: max(
        options["exploration_final_eps"], 1 - learner.num_timesteps / max(1, explored)
    )
    for steps in setup.parts(venv.num_envs):
        trainer.train(total_timesteps=steps, reset_num_timesteps=False, **_QUIET)
        yield Look(trainer.policy, setup.n_labels, learner.num_timesteps)


def run_mce_irl(setup: Setup) -> Iterator[Look]:
    """Maximum causal entropy IRL with one weight per state; it knows the probabilities, and takes no steps."""
    env = setup.task.make_env()
    with base.seeded_torch(setup.rng):
        net = reward_nets.BasicRewardNet(env.observation_space, env.action_space, use_action=False, hid_sizes=[])
    trainer = mce_irl.MCEIRL(
        setup.demonstrations,
        env,
        net,
        setup.rng,
        optimizer_kwargs={"lr": setup.options.get("learning_rate", 0.1)},
        custom_logger=setup.logger,
    )
    trainer.train(setup.options["iterations"], **_QUIET)
    yield Look(trainer.policy, setup.n_labels, 0, net.predict)


def run_preferences(setup: Setup) -> Iterator[Look]:
    """Preference comparisons and PPO: no demonstrations, but a teacher who compares clips by the true reward."""
    venv = setup.venv()
    learner = setup.ppo(venv)
    rng = setup.rng
    with base.seeded_torch(rng):
        net: reward_nets.RewardNet = reward_nets.BasicRewardNet(venv.observation_space, venv.action_space)
    rewards = reward_nets.NormalizedRewardNet(net, RunningNorm)
    model = pc.PreferenceModel(rewards)
    run = pc.PreferenceComparisons(
        pc.AgentTrainer(learner, rewards, venv, rng, exploration_frac=0.1, custom_logger=setup.logger),
        rewards,
        num_iterations=setup.n_looks,
        fragment_length=setup.options["fragment_length"],
        reward_trainer=pc.BasicRewardTrainer(
            model, pc.CrossEntropyRewardLoss(), rng, epochs=5, lr=3e-3, custom_logger=setup.logger, **_QUIET
        ),
        initial_epoch_multiplier=4.0,
        # two clips that earn the same are a tie; the default teacher would toss a coin, and most early pairs are ties
        preference_gatherer=pc.SyntheticGatherer(
            temperature=setup.options.get("temperature", 0.0), rng=rng, custom_logger=setup.logger
        ),
        custom_logger=setup.logger,
        rng=rng,
    )
    rounds = max(setup.n_looks, setup.options.get("rounds", 4))
    rounds += -rounds % setup.n_looks
    pairs, steps = setup.options["comparisons"] // rounds, max(setup.steps // rounds, learner.n_steps * learner.n_envs)
    for number in range(1, rounds + 1):
        run.step(pairs, steps)
        if number % (rounds // setup.n_looks) == 0:
            yield Look(learner, len(run.dataset), learner.num_timesteps, net.predict)


RUNS: dict[str, Run] = {
    "BC": run_bc,
    "DAgger": run_dagger,
    "Density": run_density,
    "GAIL": run_gail,
    "AIRL": run_airl,
    "SQIL": run_sqil,
    "MCE IRL": run_mce_irl,
    "Preferences": run_preferences,
}
