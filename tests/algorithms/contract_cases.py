"""An adapter for each algorithm, by which `test_contract` asks the contract of it: a row of `ALGORITHMS`."""

import shutil

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC

from imitation_lab.algorithms import bc, dagger, density, mce_irl, sqil
from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.envs import tabular
from imitation_lab.rewards import reward_nets
from imitation_lab.testing import contract
from imitation_lab.testing.contract import HORIZON, QUIET, RandomEnv, demonstrations, interrupt, make_venv


class Algorithm(contract.Case):
    """What several need."""

    def train_interrupted(self):
        RandomEnv.interrupt_in = 11
        try:
            self.train()
        finally:
            RandomEnv.interrupt_in = None

    def learner(self, venv):
        policy = "MultiInputPolicy" if isinstance(self.obs, spaces.Dict) else "MlpPolicy"
        return PPO(
            policy, venv, n_steps=HORIZON, batch_size=8, n_epochs=2, seed=self.seed, device=self.device,
            policy_kwargs={"net_arch": [8]},
        )  # fmt: skip

    def reward_net(self):
        return self.seeded_net(self.obs, self.act)

    def seeded_net(self, obs, act, **kwargs):
        with th.random.fork_rng():
            th.manual_seed(self.seed)
            return reward_nets.BasicRewardNet(obs, act, hid_sizes=(8,), **kwargs).to(self.device)


class BCCase(Algorithm):
    metric = "bc/loss"
    callback = "on_batch_end"

    def build(self, given=True):
        self.trainer = bc.BC(
            observation_space=self.obs,
            action_space=self.act,
            rng=self.rng,
            demonstrations=demonstrations(self.obs, self.act) if given else None,
            batch_size=8,
            device=self.device,
            custom_logger=self.log,
        )

    def train(self, **kwargs):
        self.trainer.train(n_epochs=1, log_interval=2, **{**QUIET, **kwargs})

    def train_interrupted(self):
        self.train(on_batch_end=interrupt)

    def modules(self):
        return [self.trainer.policy]


class DAggerCase(BCCase):
    metric = "dagger/round_num"
    callback = "on_round_end"
    checkpoint = restored_from = "scratch/checkpoint-latest.safetensors"

    def build(self):
        super().build(given=False)
        venv = make_venv(self.obs, self.act, self.seed)
        self.trainer = dagger.SimpleDAggerTrainer(
            venv=venv,
            scratch_dir=self.folder / f"scratch-{id(self)}",
            expert_policy=Expert(self.act),
            rng=self.rng,
            bc_trainer=self.trainer,
        )

    def train(self, **kwargs):
        bc_kwargs = {"n_epochs": 1, "log_interval": 1, "log_rollouts_venv": None}
        self.trainer.train(
            32,
            rollout_round_min_episodes=2,
            rollout_round_min_timesteps=16,
            bc_train_kwargs=bc_kwargs,
            **{**QUIET, **kwargs},
        )

    def train_interrupted(self):
        Algorithm.train_interrupted(self)

    def save(self, folder):
        self.trainer.save_trainer()
        # two runs in one folder would mix their labels
        shutil.copytree(self.trainer.scratch_dir, folder / "scratch")

    def load(self, folder):
        self.trainer = dagger.reconstruct_trainer(
            folder / "scratch",
            make_venv(self.obs, self.act, 5),
            self.log,
            self.device,
            expert_policy=Expert(self.act),
        )


class Expert:
    """Acts always alike: in the middle of the space, or by the number 1."""

    def __init__(self, act):
        self.act = act

    def __call__(self, obs):
        n = len(next(iter(obs.values())) if isinstance(obs, dict) else obs)
        value = 0.5 if isinstance(self.act, spaces.Box) else 1
        return np.full((n, *self.act.shape), value, self.act.dtype)


class DensityCase(Algorithm):
    metric = "train/loss"

    def build(self):
        venv = make_venv(self.obs, self.act, self.seed)
        self.trainer = density.DensityAlgorithm(
            demonstrations=demonstrations(self.obs, self.act),
            venv=venv,
            rng=self.rng,
            rl_algo=self.learner(venv),
            custom_logger=self.log,
        )
        self.trainer.train()

    def train(self, **kwargs):
        self.trainer.train_policy(32, **{**QUIET, **kwargs})

    def modules(self):
        return [self.trainer.policy]


class GAILCase(Algorithm):
    metric = "mean/disc/disc_loss"
    cls = GAIL

    def build(self):
        venv = make_venv(self.obs, self.act, self.seed)
        self.trainer = self.cls(
            demonstrations=demonstrations(self.obs, self.act),
            demo_batch_size=8,
            venv=venv,
            gen_algo=self.learner(venv),
            reward_net=self.reward_net(),
            disc_opt_kwargs={"lr": 1e-2},
            custom_logger=self.log,
            rng=self.rng,
        )

    def train(self, **kwargs):
        self.trainer.train(32, **{**QUIET, **kwargs})

    def modules(self):
        return [self.trainer.policy, self.trainer._reward_net]


class AIRLCase(GAILCase):
    cls = AIRL


class SQILCase(Algorithm):
    metric = "train/loss"
    actions = ("discrete",)
    refusal = "needs Discrete actions"
    learner_cls = DQN

    def build(self):
        extra = {"target_update_interval": 5} if self.learner_cls is DQN else {}
        options = {"buffer_size": 200, "batch_size": 8, "learning_starts": 4, "train_freq": 1, **extra}
        self.trainer = sqil.SQIL(
            venv=make_venv(self.obs, self.act, self.seed),
            demonstrations=demonstrations(self.obs, self.act),
            policy="MultiInputPolicy" if isinstance(self.obs, spaces.Dict) else "MlpPolicy",
            rl_algo_class=self.learner_cls,
            rl_kwargs={"seed": self.seed, "device": self.device, "policy_kwargs": {"net_arch": [8]}, **options},
            custom_logger=self.log,
        )

    def train(self, **kwargs):
        self.trainer.train(total_timesteps=80, reset_num_timesteps=False, **{**QUIET, **kwargs})

    def modules(self):
        return [self.trainer.policy]


class SQILSACCase(SQILCase):
    metric = "train/critic_loss"
    actions = ("box",)
    refusal = r"needs continuous \(Box\) actions"
    learner_cls = SAC


class MCEIRLCase(Algorithm):
    metric = "linf_delta"
    actions = ("discrete",)
    observations = ("box", "discrete", "image_hwc", "image_chw")
    refusal = "expected Discrete|is not tabular"
    shifted = None
    callback = "on_iteration_end"

    def build(self):
        n_states, n_actions = 4, getattr(self.act, "n", 3)
        rng = np.random.default_rng(3)
        rows = None
        if isinstance(self.obs, spaces.Box):
            self.obs.seed(0)
            rows = np.stack([self.obs.sample() for _ in range(n_states)])
        env = tabular.TabularEnv(
            transition_matrix=rng.dirichlet(np.ones(n_states), (n_states, n_actions)),
            reward_matrix=rng.standard_normal(n_states),
            observation_matrix=rows,
            horizon=HORIZON,
        )
        env.action_space = self.act
        if not isinstance(self.obs, spaces.Box | spaces.Discrete):
            env = RandomEnv(self.obs, self.act)
        self.env = env
        net = self.seeded_net(env.observation_space, env.action_space, use_action=False)
        occupancy = np.array([5.0, 1.0, 1.0, 1.0])
        self.trainer = mce_irl.MCEIRL(occupancy, env, net, self.rng, log_interval=1, custom_logger=self.log)

    def train(self, **kwargs):
        self.trainer.train(3, **{**QUIET, **kwargs})

    def train_interrupted(self):
        self.train(on_iteration_end=interrupt)

    def modules(self):
        return [self.trainer.reward_net]

    def load(self, folder):
        self.trainer = mce_irl.MCEIRL.load(folder, self.env, custom_logger=self.log, device=self.device)

    def act_on(self, obs):
        return self.trainer.policy.predict(np.zeros(len(obs), int), deterministic=True)[0]


class PreferencesCase(Algorithm):
    metric = "reward/final/train/loss"
    checkpoint = restored_from = "run"

    def build(self):
        self.trainer = pc.PreferenceComparisons(
            **self.parts(),
            num_iterations=1,
            fragment_length=4,
            initial_epoch_multiplier=1,
            custom_logger=self.log,
            rng=self.rng,
        )

    def parts(self):
        """What no file can hold."""
        venv = make_venv(self.obs, self.act, self.seed)
        net = self.reward_net()
        self.agent = self.learner(venv)
        model = pc.PreferenceModel(net)
        return {
            "trajectory_generator": pc.AgentTrainer(self.agent, net, venv, self.rng, custom_logger=self.log),
            "reward_model": net,
            "fragmenter": pc.RandomFragmenter(self.rng, custom_logger=self.log),
            "preference_gatherer": pc.SyntheticGatherer(rng=self.rng, custom_logger=self.log),
            "reward_trainer": pc.BasicRewardTrainer(
                model, pc.CrossEntropyRewardLoss(), self.rng, custom_logger=self.log
            ),
        }

    def train(self, **kwargs):
        self.trainer.train(32, 6, **{**QUIET, **kwargs})

    def modules(self):
        return [self.agent.policy, self.trainer.model]

    def save(self, folder):
        self.trainer.save(folder / "run")

    def load(self, folder):
        self.trainer = pc.PreferenceComparisons.load(
            folder / "run", custom_logger=self.log, rng=self.rng, **self.parts()
        )

    def act_on(self, obs):
        return self.agent.predict(obs, deterministic=True)[0]


ALGORITHMS = {
    "BC": BCCase,
    "DAgger": DAggerCase,
    "density": DensityCase,
    "GAIL": GAILCase,
    "AIRL": AIRLCase,
    "SQIL-DQN": SQILCase,
    "SQIL-SAC": SQILSACCase,
    "MCE IRL": MCEIRLCase,
    "preferences": PreferencesCase,
}
