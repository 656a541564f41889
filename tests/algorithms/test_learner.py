"""How trainers take hold of an SB3 learner and let it go: rewards, saving and copying, budgets, callbacks."""

import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import DISABLED
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecNormalize

from imitation_lab.algorithms import preference_comparisons as pc
from imitation_lab.algorithms.adversarial.airl import AIRL
from imitation_lab.algorithms.adversarial.gail import GAIL
from imitation_lab.algorithms.density import DensityAlgorithm
from imitation_lab.algorithms.sqil import SQIL
from imitation_lab.data import rollout
from imitation_lab.policies.replay_buffer_wrapper import ReplayBufferRewardWrapper
from imitation_lab.rewards.reward_nets import BasicRewardNet, CnnRewardNet
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.testing.reward_nets import MockRewardNet
from imitation_lab.util import logger as lab_logger

OWN = 0.5  # what the environment pays
ALGORITHMS = {cls.__name__: cls for cls in (PPO, A2C, DQN, SAC, TD3)}
QUIET = {"progress_bar": False}


class Env(gym.Env):
    """Pays `OWN` for every step; episodes are cut off after `horizon` steps."""

    def __init__(self, act: str = "box", horizon: int = 8, image: bool = False):
        self.observation_space = (
            spaces.Box(0, 255, (36, 40, 3), np.uint8) if image else spaces.Box(-1, 1, (3,), np.float32)
        )
        self.action_space = spaces.Discrete(2) if act == "discrete" else spaces.Box(-2, 2, (1,), np.float32)
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), OWN, False, self.t >= self.horizon, {}


def make_venv(name="SAC", n_envs=2, **kwargs):
    kwargs.setdefault("act", "discrete" if name == "DQN" else "box")
    venv = DummyVecEnv([lambda: Monitor(Env(**kwargs)) for _ in range(n_envs)])
    venv.seed(0)
    return venv


def make_learner(name, venv, **kwargs):
    common = {"seed": 0, "device": "cpu", "policy_kwargs": {"net_arch": [8]}}
    if name in ("PPO", "A2C"):
        common |= {"n_steps": 8, **({"batch_size": 8, "n_epochs": 1} if name == "PPO" else {})}
    else:
        common |= {"buffer_size": 200, "batch_size": 8, "learning_starts": 4, "train_freq": 1}
    if len(venv.observation_space.shape) == 3:
        common["policy_kwargs"] = {"features_extractor_kwargs": {"features_dim": 4}}
        return ALGORITHMS[name]("CnnPolicy", venv, **common | kwargs)
    return ALGORITHMS[name]("MlpPolicy", venv, **common | kwargs)


def demonstrations_in(venv):
    return rollout.rollout(None, venv, rollout.make_min_episodes(6), np.random.default_rng(0), unwrap=False)


@pytest.fixture
def quiet(tmp_path):
    logger = lab_logger.configure(tmp_path / "log", [])
    logger.set_level(DISABLED)
    return logger


@pytest.fixture
def make(quiet):
    """Builds a trainer around a learner."""

    def build(kind, learner, venv, value=None, **kwargs):
        rng = np.random.default_rng(0)
        if value is None:
            net = BasicRewardNet(venv.observation_space, venv.action_space, hid_sizes=(8,))
        else:
            net = MockRewardNet(venv.observation_space, venv.action_space, value=value)
            net.scale = th.nn.Parameter(th.ones(()))  # something to train
        if kind == "preferences":
            return pc.AgentTrainer(learner, net, venv, rng, custom_logger=quiet, **kwargs)
        act_kind = "discrete" if isinstance(learner, DQN) else "box"
        demonstrations = demonstrations_in(make_venv(act=act_kind, horizon=venv.get_attr("horizon")[0]))
        common = {"demonstrations": demonstrations, "venv": venv, "custom_logger": quiet, **kwargs}
        if kind == "density":
            trainer = DensityAlgorithm(rng=rng, rl_algo=learner, **common)
            trainer.train()
            return trainer
        cls = {"GAIL": GAIL, "AIRL": AIRL}[kind]
        return cls(gen_algo=learner, reward_net=net, rng=rng, **{"demo_batch_size": 8, **common})

    return build


def act(trainer, steps, **kwargs):
    """Lets a trainer's learner learn."""
    if isinstance(trainer, pc.AgentTrainer):
        trainer.train(steps, **kwargs)
    elif isinstance(trainer, DensityAlgorithm):
        trainer.train_policy(steps, **QUIET, **kwargs)
    else:
        trainer.train_gen(steps, {**kwargs})


def rewards(learner, n=64):
    return set(learner.replay_buffer.sample(n).rewards.flatten().tolist())


# Whose reward it is.


@pytest.mark.parametrize("name", ["DQN", "SAC", "TD3"])
@pytest.mark.parametrize("kind", ["preferences", "AIRL"])
def test_a_released_learner_learns_from_the_environment(make, kind, name):
    venv = make_venv(name)
    learner = make_learner(name, venv)
    if name in ("TD3", "DQN") and kind == "AIRL":
        kind = "GAIL"
    trainer = make(kind, learner, venv, value=7.0)
    act(trainer, 20)
    assert rewards(learner) != {OWN}
    learner.set_env(venv)
    assert rewards(learner) == {OWN}
    learner.learn(20, reset_num_timesteps=False)
    assert rewards(learner) == {OWN}
    assert learner.replay_buffer.size() == 20  # in both environments: nothing was lost
    act(trainer, 20)  # it takes the learner back
    assert min(rewards(learner)) == pytest.approx(7.0 if kind != "GAIL" else np.log1p(np.exp(7)), rel=1e-6)
    assert len(rewards(learner)) == 1
    assert learner.replay_buffer.size() == 30


@pytest.mark.parametrize("kind", ["preferences", "AIRL"])
def test_a_second_trainer_replaces_the_reward_of_the_first(make, kind):
    venv = make_venv()
    learner = make_learner("SAC", venv)
    first = make(kind, learner, venv, value=7.0)
    act(first, 20)
    for other, value in ((kind, -3.0), ("preferences", 5.0), ("AIRL", 6.0)):
        second = make(other, learner, venv, value=value)
        assert rewards(learner) == {value}
        act(second, 20)
        assert rewards(learner) == {value}
        assert isinstance(learner.replay_buffer.replay_buffer, ReplayBuffer)
        assert not isinstance(learner.replay_buffer.replay_buffer, ReplayBufferRewardWrapper)
    act(first, 20)
    assert rewards(learner) == {7.0}
    learner.set_env(venv)
    assert rewards(learner) == {OWN}


def test_density_takes_over_without_the_rewards_of_others(make):
    venv = make_venv()
    learner = make_learner("SAC", venv)
    act(make("AIRL", learner, venv, value=7.0), 20)
    trainer = make("density", learner, venv)
    assert learner.replay_buffer.size() == 0
    act(trainer, 20)
    act(trainer, 20)
    assert learner.replay_buffer.size() == 20
    samples = learner.replay_buffer.sample(16)
    acts = learner.policy.unscale_action(samples.actions.numpy())
    expected = trainer(samples.observations.numpy(), acts, samples.next_observations.numpy())
    np.testing.assert_allclose(samples.rewards.numpy().flatten(), expected, rtol=1e-4)


def test_sqil_takes_its_learner_back(make, quiet):
    venv = make_venv("SAC")
    options = {"buffer_size": 200, "learning_starts": 4, "device": "cpu", "batch_size": 8, "train_freq": 1}
    sqil = SQIL(
        venv=venv, demonstrations=demonstrations_in(venv), policy="MlpPolicy", custom_logger=quiet,
        rl_algo_class=SAC, rl_kwargs=options,
    )  # fmt: skip
    sqil.train(total_timesteps=20, **QUIET)
    act(make("AIRL", sqil.rl_algo, venv, value=7.0), 20)
    assert rewards(sqil.rl_algo) == {7.0}
    sqil.train(total_timesteps=20, reset_num_timesteps=False, **QUIET)
    assert rewards(sqil.rl_algo) == {0.0, 1.0}
    assert sqil.rl_algo.get_env() is venv
    other = make_venv("SAC")
    sqil.rl_algo.set_env(other)
    sqil.train(total_timesteps=20, reset_num_timesteps=False, **QUIET)
    assert sqil.rl_algo.get_env() is other


def test_ground_truth_takes_an_earlier_reward_off(make):
    venv = make_venv()
    learner = make_learner("SAC", venv)
    act(make("AIRL", learner, venv, value=7.0), 20)
    act(make("AIRL", learner, venv, value=7.0, debug_use_ground_truth=True), 20)
    assert rewards(learner) == {OWN}


def test_a_wrapper_of_the_users_own_comes_back(make):
    venv = make_venv()
    mine = lambda s, a, n, d: np.full(len(s), 2.0)
    kwargs = {"replay_buffer_class": ReplayBuffer, "reward_fn": mine}
    learner = make_learner("SAC", venv, replay_buffer_class=ReplayBufferRewardWrapper, replay_buffer_kwargs=kwargs)
    act(make("preferences", learner, venv, value=7.0), 20)
    assert rewards(learner) == {7.0}
    learner.set_env(venv)
    assert rewards(learner) == {2.0}


def test_wrappers_above_those_of_a_trainer_stay_but_for_other_rewards(make):
    venv = make_venv()
    learner = make_learner("SAC", venv)
    trainer = make("AIRL", learner, venv, value=7.0)
    monitor = VecCheckNan(trainer.venv_train)
    learner.set_env(monitor)
    act(trainer, 20)
    assert learner.get_env() is monitor
    assert rewards(learner) == {7.0}
    learner.set_env(RewardVecEnvWrapper(trainer.venv_train, lambda s, a, n, d: np.full(len(d), -1.0)))
    learner.replay_buffer.reset()
    learner.learn(20)
    assert rewards(learner) == {-1.0}


def test_what_was_stored_before_stays_and_is_relabelled(make):
    venv = make_venv()
    learner = make_learner("SAC", venv)
    learner.learn(20)
    buffer = learner.replay_buffer
    make("AIRL", learner, venv, value=7.0)
    assert learner.replay_buffer.replay_buffer is buffer
    assert rewards(learner) == {7.0}


def test_buffers_are_allocated_once(make, monkeypatch):
    sizes = []
    init = ReplayBuffer.__init__
    monkeypatch.setattr(ReplayBuffer, "__init__", lambda self, *a, **k: (sizes.append(a[0]), init(self, *a, **k))[1])
    venv = make_venv()
    learner = make_learner("SAC", venv)
    for kind in ("preferences", "AIRL"):
        make(kind, learner, venv, value=7.0)
    assert sizes == [200]


@pytest.mark.parametrize("kind", ["preferences", "AIRL"])
def test_images_reach_the_reward_as_the_environment_gives_them(make, kind, quiet):
    venv = make_venv("DQN", image=True)
    learner = make_learner("DQN", venv)
    shapes = set()

    class Net(CnnRewardNet):
        def forward(self, state, action, next_state, done):
            shapes.add(tuple(state.shape[1:]))
            return super().forward(state, action, next_state, done)

    net = Net(venv.observation_space, venv.action_space)
    if kind == "preferences":
        trainer = pc.AgentTrainer(learner, net, venv, np.random.default_rng(0), custom_logger=quiet)
    else:
        trainer = GAIL(
            demonstrations=None, demo_batch_size=8, venv=venv, gen_algo=learner, reward_net=net, custom_logger=quiet
        )
    act(trainer, 12)
    assert learner.replay_buffer.sample(8).rewards.shape == (8, 1)
    assert len(shapes) == 1
    wrapped = {"replay_buffer_class": ReplayBuffer, "reward_fn": net.predict_processed}
    plain = make_learner("DQN", venv, replay_buffer_class=ReplayBufferRewardWrapper, replay_buffer_kwargs=wrapped)
    plain.learn(12)
    assert len(shapes) == 1


@pytest.mark.parametrize("kind", ["preferences", "AIRL"])
def test_relabelled_rewards_see_the_flags_of_the_environment(make, kind):
    venv = make_venv(horizon=4)
    learner = make_learner("SAC", venv)
    trainer = make(kind, learner, venv, value=0.0)
    seen = []

    class Done(MockRewardNet):
        def predict_processed(self, state, action, next_state, done, **kwargs):
            seen.append(done)
            return done.astype(np.float32)

    net = trainer._net if kind == "preferences" else trainer._reward_net
    net.__class__ = Done
    act(trainer, 40)  # 10 episodes, all cut off
    samples = learner.replay_buffer.sample(400)
    assert samples.dones.sum() == 0  # the learner's value goes on
    assert samples.rewards.mean() == pytest.approx(1 / 4, abs=0.1)
    assert seen[-1].dtype == bool


# What hangs on a learner survives.


@pytest.mark.parametrize("name", ["PPO", "DQN", "SAC"])
@pytest.mark.parametrize("kind", ["preferences", "density", "GAIL", "AIRL", "warm-up"])
def test_a_learner_can_be_saved_and_pickled_while_it_learns(make, kind, name, tmp_path):
    if kind == "AIRL" and name == "DQN":
        kind = "GAIL"
    venv = make_venv(name)
    learner = make_learner(name, venv, learning_rate=1e-3)
    adversarial = kind in ("GAIL", "AIRL", "warm-up")
    extra = {"disc_warmup_rounds": 9} if kind == "warm-up" else {}
    extra |= {"gen_train_timesteps": 16} if adversarial else {}
    trainer = make("GAIL" if kind == "warm-up" else kind, learner, venv, **extra)
    files = []

    def save(*_):
        path = tmp_path / f"{len(files)}.zip"
        learner.save(path)
        if learner.num_timesteps == 16 and name != "PPO":
            learner.save_replay_buffer(tmp_path / "replay")
        files.append((path, pickle.dumps(learner), [p.detach().clone() for p in learner.policy.parameters()]))
        return True

    if adversarial:
        trainer.train(32, save, **QUIET)
        trainer.train_gen(None, {"callback": save})  # in the middle of a round
    else:
        act(trainer, 32, callback=save)
    for path, pickled, weights in files[:: max(1, len(files) // 4)]:
        loaded = type(learner).load(path, venv, device="cpu")
        copied = pickle.loads(pickled)
        for other in (loaded, copied):
            assert all(map(th.equal, other.policy.parameters(), weights))
            assert not [
                n
                for n, v in vars(other).items()
                if callable(v) and n in ("train", "_update_current_progress_remaining")
            ]
        before = loaded.num_timesteps
        loaded.learn(64, reset_num_timesteps=False)  # its own schedule, and it learns
        assert loaded._current_progress_remaining < 1 - before / loaded.num_timesteps + 0.1
        assert not all(map(th.equal, loaded.policy.parameters(), weights))
    if name != "PPO":
        assert len(learner.replay_buffer.replay_buffer.dones) if adversarial or kind == "preferences" else True
        loaded.load_replay_buffer(tmp_path / "replay")
        assert type(loaded.replay_buffer) is ReplayBuffer
        if kind != "density":
            assert rewards(loaded) == {OWN}


def test_a_buffer_that_was_loaded_is_relabelled_again(make, tmp_path):
    venv = make_venv()
    learner = make_learner("SAC", venv)
    trainer = make("AIRL", learner, venv, value=7.0)
    act(trainer, 20)
    learner.save_replay_buffer(tmp_path / "replay")
    learner.load_replay_buffer(tmp_path / "replay")
    act(trainer, 20)
    assert rewards(learner) == {7.0}
    assert learner.replay_buffer.size() == 20


@pytest.mark.parametrize("kind", ["preferences", "GAIL"])
def test_a_copy_has_a_trainer_of_its_own(make, kind):
    venv = make_venv("DQN")
    learner = make_learner("DQN", venv)
    trainer = make(kind, learner, venv)
    act(trainer, 20)
    twin = copy.deepcopy(learner)
    net = trainer._net if kind == "preferences" else trainer._reward_net
    own = rewards(learner)
    with th.no_grad():
        for parameter in net.parameters():
            parameter.mul_(-3.0)
    assert rewards(learner) != own
    assert rewards(twin) & own
    assert not rewards(twin) & rewards(learner)
    twin.learn(20, reset_num_timesteps=False)
    assert learner.replay_buffer.size() == 10
    assert twin.replay_buffer.size() == 20
    twin.set_env(make_venv("DQN"))
    assert rewards(twin) == {OWN}


def test_schedules_of_one_learner_are_no_matter_of_another(make):
    venv = make_venv("PPO")
    learner, other = make_learner("PPO", venv), make_learner("PPO", make_venv("PPO"))
    left = []

    def watch(_):
        left.append(learner._current_progress_remaining)
        other.learn(16)
        assert other._current_progress_remaining == 0

    make("GAIL", learner, venv).train(64, watch, **QUIET)
    assert left == [0.75, 0.5, 0.25, 0.0]
    learner.learn(16)
    assert learner._current_progress_remaining == 0


# Budgets.


@pytest.mark.parametrize(("name", "options", "rollout_steps"), [
    ("DQN", {"train_freq": 4}, 8), ("SAC", {"train_freq": (3, "step")}, 6), ("PPO", {"n_steps": 64}, 128),
    ("TD3", {"train_freq": 1}, 2),
])  # fmt: skip
@pytest.mark.parametrize("given", [None, 8, 200])
def test_adversarial_rounds_are_whole_rollouts(make, name, options, rollout_steps, given):
    venv = make_venv(name)
    trainer = make("GAIL", make_learner(name, venv, **options), venv, gen_train_timesteps=given)
    assert trainer.gen_train_timesteps % rollout_steps == 0
    assert trainer.gen_train_timesteps - rollout_steps < (given or rollout_steps) <= trainer.gen_train_timesteps
    trainer.train(256, **QUIET)
    assert 256 - trainer.gen_train_timesteps < trainer.gen_algo.num_timesteps <= 256
    if trainer.gen_train_timesteps <= 128:
        assert trainer.gen_algo._current_progress_remaining <= 0.1  # schedules ran to their end


def test_rounds_of_whole_episodes_count_too(make):
    venv = make_venv("SAC", n_envs=1, horizon=20)
    trainer = make("GAIL", make_learner("SAC", venv, train_freq=(1, "episode")), venv)
    trainer.train(100, **QUIET)
    assert trainer.gen_algo.num_timesteps == 100


@pytest.mark.parametrize("kind", ["preferences", "density", "GAIL"])
def test_a_budget_is_rounded_up_to_whole_rollouts_or_refused(make, kind):
    venv = make_venv("PPO")
    trainer = make(kind, make_learner("PPO", venv, n_steps=32), venv)
    with pytest.raises(ValueError, match="=63 is less than one rollout of PPO, which takes 64 steps in 2 environments"):
        act(trainer, 63)
    act(trainer, 65)
    learner = trainer.algorithm if kind == "preferences" else trainer.rl_algo if kind == "density" else trainer.gen_algo
    assert learner.num_timesteps == 128


def test_the_budget_of_sqil(quiet):
    venv = make_venv("DQN")
    options = {"buffer_size": 200, "learning_starts": 4, "device": "cpu", "batch_size": 8}
    trainer = SQIL(
        venv=venv, demonstrations=demonstrations_in(venv), policy="MlpPolicy", custom_logger=quiet, rl_kwargs=options
    )
    with pytest.raises(ValueError, match="total_timesteps=7 is less than one rollout of DQN, which takes 8 steps"):
        trainer.train(total_timesteps=7, **QUIET)
    trainer.train(total_timesteps=17, **QUIET)
    assert trainer.rl_algo.num_timesteps == 24


def test_the_budget_of_comparisons_is_that_of_all_rounds(make, quiet):
    venv = make_venv("PPO")
    agent = make("preferences", make_learner("PPO", venv), venv)  # 16 steps in a rollout
    run = pc.PreferenceComparisons(
        agent, agent._net, 9, fragment_length=4, initial_epoch_multiplier=1, custom_logger=quiet,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    with pytest.raises(ValueError, match="total_timesteps=15 is less than one rollout of PPO"):
        run.train(15, 20, **QUIET)
    with pytest.raises(ValueError, match="timesteps=15 is less than one rollout of PPO"):
        run.step(2, 15)
    assert run.iteration == 0
    assert agent.shared_out("steps", [5] * 10) == [16, 0, 0, 16, 0, 0, 16, 0, 0, 16]
    run.train(50, 20, **QUIET)  # 5 a round
    assert agent.algorithm.num_timesteps == 64
    assert agent.algorithm._current_progress_remaining == 0


# Callbacks, loggers, seeds.


@pytest.mark.parametrize("kind", ["preferences", "density", "GAIL"])
@pytest.mark.parametrize("form", ["function", "list", "callback"])
def test_any_callback(make, kind, form):
    from stable_baselines3.common.callbacks import ConvertCallback

    calls = []
    given = lambda local, global_: calls.append(1) or True
    venv = make_venv("PPO")
    trainer = make(kind, make_learner("PPO", venv), venv)
    act(trainer, 16, callback={"function": given, "list": [given], "callback": ConvertCallback(given)}[form])
    assert len(calls) == 8


@pytest.mark.parametrize("kind", ["preferences", "density", "GAIL"])
def test_normalized_environments_are_refused(make, kind):
    venv = make_venv("PPO")
    with pytest.raises(ValueError, match=r"venv is wrapped in VecNormalize.*NormalizeFeaturesExtractor"):
        make(kind, make_learner("PPO", venv), VecNormalize(venv))
    with pytest.raises(ValueError, match=r"\.env\) is wrapped in VecNormalize"):
        make(kind, make_learner("PPO", VecNormalize(venv)), venv)


def test_no_discriminator_updates(make, tmp_path):
    venv = make_venv("PPO")
    trainer = make("GAIL", make_learner("PPO", venv), venv, n_disc_updates_per_round=0)
    before = [p.detach().clone() for p in trainer._reward_net.parameters()]
    trainer.train(512, progress_bar=True)
    assert all(map(th.equal, before, trainer._reward_net.parameters()))
    assert [row["timesteps"] for row in trainer.history] == [256, 512]
    assert np.isnan(trainer.history[0]["disc_acc"])
    assert trainer.history[0]["gen_return_mean"] == 8 * OWN
    trainer.save(tmp_path)
    assert len(trainer.history) == 2


@pytest.mark.parametrize(("name", "learns"), [("SQIL", 2), ("density", 1), ("preferences", 1), ("GAIL", 1)])
def test_tensorboard_of_the_learner(make, tmp_path, name, learns, quiet):
    logger = lab_logger.configure(tmp_path / "log", [])
    venv = make_venv("DQN")
    where = {"tensorboard_log": str(tmp_path / "board")}
    if name == "SQIL":
        options = {"buffer_size": 200, "learning_starts": 4, "device": "cpu", "batch_size": 8, **where}
        trainer = SQIL(
            venv=venv, demonstrations=demonstrations_in(venv), policy="MlpPolicy", custom_logger=logger,
            rl_kwargs=options,
        )  # fmt: skip
        for _ in range(2):
            trainer.train(total_timesteps=80, tb_log_name="mine", log_interval=1, **QUIET)
    else:
        trainer = make(name, make_learner("DQN", venv, **where), venv)
        trainer.logger = logger
        for _ in range(2):
            if name == "GAIL":
                trainer._name = "mine"
                trainer.train(80, **QUIET)
            else:
                act(trainer, 80, tb_log_name="mine", log_interval=1)
    runs = sorted(path.name for path in (tmp_path / "board").iterdir())
    assert runs == [f"mine_{i + 1}" for i in range(learns)]
    assert all(list((tmp_path / "board" / run).glob("events.*")) for run in runs)
    assert not logger.output_formats


def test_rng_decides_how_a_density_policy_is_tested(make):
    def returns(seed, torch_seed, name="PPO"):
        venv = make_venv(name)
        trainer = make("density", make_learner(name, venv), venv)
        trainer.rng = np.random.default_rng(seed)
        th.manual_seed(torch_seed)
        np.random.seed(torch_seed)  # noqa: NPY002 (SB3 draws from it)
        state = th.get_rng_state()
        stats = trainer.test_policy(n_trajectories=4, true_reward=False)
        assert th.equal(state, th.get_rng_state())
        return stats["return_mean"]

    for name in ("PPO", "DQN"):
        assert returns(0, 0, name) == returns(0, 1, name)
        assert returns(0, 0, name) != returns(1, 0, name)


def test_episodes_of_an_agent_are_not_chosen_by_length(quiet):
    class Long(Env):
        def reset(self, *, seed=None, options=None):
            found = super().reset(seed=seed)
            self.horizon = 2 if self.np_random.random() < 0.5 else 60
            return found

    venv = DummyVecEnv([Long for _ in range(8)])
    venv.seed(0)
    net = MockRewardNet(venv.observation_space, venv.action_space)
    trainer = pc.AgentTrainer(make_learner("PPO", venv), net, venv, np.random.default_rng(0), custom_logger=quiet)
    lengths = [len(t) for _ in range(30) for t in trainer.sample(100)]
    assert lengths.count(2) < 1.2 * lengths.count(60)  # equally likely; taking what ends first gave 1.6 times as many
    assert set(lengths) == {2, 60}
    assert all((t.rews == OWN).all() for t in trainer.sample(100))


@pytest.mark.parametrize("name", ["DQN", "SAC"])
def test_off_policy_batches_are_no_copies_of_two_rows(make, name):
    venv = make_venv(name)
    trainer = make("GAIL", make_learner(name, venv), venv, demo_batch_size=32)
    assert trainer.gen_train_timesteps == 2
    assert trainer._pool.capacity == 32
    assert (
        make("GAIL", make_learner("PPO", make_venv("PPO")), make_venv("PPO"), demo_batch_size=32)._pool.capacity == 16
    )


def test_the_ring_outlasts_a_resume_with_batches(make, tmp_path, quiet):
    venv = make_venv("SAC")
    trainer = make("GAIL", make_learner("SAC", venv), venv, gen_replay_buffer_capacity=40)
    rng = np.random.default_rng(0)
    fields = {"obs": rng.uniform(-1, 1, (8, 3)).astype(np.float32), "acts": np.zeros((8, 1), np.float32)}
    batches = [{**fields, "next_obs": fields["obs"], "dones": np.zeros(8, bool)}] * 3
    trainer.set_demonstrations(batches)
    trainer.train(60, **QUIET)
    held = trainer._pool.rows(trainer._pool.learner)
    trainer.save(tmp_path)
    loaded = GAIL.load(tmp_path, make_venv("SAC"), demonstrations=batches, custom_logger=quiet)
    assert loaded._pool.size == 40
    found = loaded._pool.rows(loaded._pool.learner)
    assert all(th.equal(held[key], found[key]) for key in held)
    loaded.train(20, **QUIET)
