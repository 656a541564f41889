import copy
import json

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.logger import DISABLED
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.type_aliases import DictReplayBufferSamples, ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from imitation_lab.algorithms.sqil import SQIL, SQILReplayBuffer
from imitation_lab.data import rollout, types
from imitation_lab.util import artifacts
from imitation_lab.util import logger as lab_logger
from imitation_lab.util.artifacts import ArtifactError

OBSERVATIONS = {
    "box": spaces.Box(-1, 1, (3,), np.float32),
    "discrete": spaces.Discrete(4),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(3),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float32), "b": spaces.Discrete(3)}),
    "image_hwc": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "image_chw": spaces.Box(0, 255, (3, 36, 36), np.uint8),
}
ACTIONS = {
    "box": spaces.Box(np.float32([-2, 0]), np.float32([2, 10])),
    "discrete": spaces.Discrete(3),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(2),
}
LEARNERS = {"DQN": (DQN, "discrete"), "SAC": (SAC, "box"), "TD3": (TD3, "box")}


class RandomEnv(gym.Env):
    """Random observations for `horizon` steps, then a truncation; reward 5, which SQIL must not see."""

    def __init__(self, observation_space, action_space, horizon=8):
        self.observation_space = copy.deepcopy(observation_space)
        self.action_space = copy.deepcopy(action_space)
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self._t += 1
        return self.observation_space.sample(), 5.0, False, self._t >= self.horizon, {}


def make_venv(obs="box", act="discrete", n_envs=2, horizon=8, seed=0):
    venv = DummyVecEnv([lambda: Monitor(RandomEnv(OBSERVATIONS[obs], ACTIONS[act], horizon)) for _ in range(n_envs)])
    venv.seed(seed)
    return venv


def make_demonstrations(obs="box", act="discrete", n=6, horizon=8, exclude_infos=True):
    venv = make_venv(obs, act, horizon=horizon, seed=99)
    until = rollout.make_sample_until(min_episodes=n)
    rng = np.random.default_rng(0)
    return list(rollout.rollout(None, venv, until, rng, unwrap=False, exclude_infos=exclude_infos))


@pytest.fixture
def quiet(tmp_path):
    logger = lab_logger.configure(tmp_path / "log", [])
    logger.set_level(DISABLED)
    return logger


@pytest.fixture
def build(quiet):
    def make(learner="DQN", obs="box", n_envs=2, seed=0, venv=None, demonstrations=..., **kwargs):
        cls, act = LEARNERS[learner]
        venv = make_venv(obs, act, n_envs) if venv is None else venv
        policy = {"dict": "MultiInputPolicy", "image_hwc": "CnnPolicy", "image_chw": "CnnPolicy"}.get(obs, "MlpPolicy")
        arguments = {
            "seed": seed,
            "device": "cpu",
            "buffer_size": 100,
            "batch_size": 8,
            "learning_starts": 4,
            "train_freq": 1,
            "policy_kwargs": {"net_arch": [8]},
        }
        if learner == "DQN":
            arguments["target_update_interval"] = 5
        return SQIL(
            venv=venv,
            demonstrations=make_demonstrations(obs, act) if demonstrations is ... else demonstrations,
            policy=policy,
            custom_logger=quiet,
            rl_algo_class=cls,
            rl_kwargs={**arguments, **kwargs},
        )

    return make


def fill(buffer, steps, n_envs=2, value=0.5):
    for i in range(steps):
        obs = np.full((n_envs, 3), value, np.float32)
        act = np.full((n_envs, 1), 2)
        infos = [{"TimeLimit.truncated": i % 2 == 0} for _ in range(n_envs)]
        buffer.add(obs, obs + 0.25, act, np.full(n_envs, 7.0), np.ones(n_envs, bool), infos)


# The buffer.


def test_half_of_each_with_rewards_one_and_zero():
    demonstrations = make_demonstrations()
    buffer = SQILReplayBuffer(50, OBSERVATIONS["box"], ACTIONS["discrete"], demonstrations, "cpu", 2)
    fill(buffer, 10)
    batch = buffer.sample(9)
    assert isinstance(batch, ReplayBufferSamples)
    assert batch.discounts is None
    assert batch.rewards.flatten().tolist() == [0] * 4 + [1] * 5
    assert (batch.observations[:4] == 0.5).all()
    assert (batch.next_observations[:4] == 0.75).all()
    assert (batch.actions[:4] == 2).all()
    assert batch.actions.dtype == th.int64
    flat = rollout.flatten_trajectories(demonstrations)
    for obs, act, following, done in zip(batch.observations[4:], batch.actions[4:], batch.next_observations[4:],
                                         batch.dones[4:], strict=True):  # fmt: skip
        row = int(np.flatnonzero((flat.obs == obs.numpy()).all(1))[0])
        assert flat.acts[row] == act.item()
        np.testing.assert_array_equal(flat.next_obs[row], following)
        assert flat.dones[row] == done.item()


def test_every_transition_is_drawn_equally_often():
    demonstrations = make_demonstrations(n=2)
    buffer = SQILReplayBuffer(20, OBSERVATIONS["box"], ACTIONS["discrete"], demonstrations, "cpu", 2)
    for i in range(13):  # the ten rows go round once
        obs = np.float32([[i, 0, 0], [i, 1, 0]])
        buffer.add(obs, obs, np.zeros((2, 1), int), np.zeros(2), np.zeros(2, bool), [{}, {}])
    np.random.seed(0)  # noqa: NPY002
    obs = buffer.sample(80_000).observations.numpy()
    drawn, counts = np.unique(obs[:40_000, :2], axis=0, return_counts=True)
    assert len(drawn) == 20
    assert set(drawn[:, 0]) == set(range(3, 13))
    assert counts.min() > 1800  # 2000 expected, with a standard deviation of 44
    _, counts = np.unique(obs[40_000:], axis=0, return_counts=True)
    assert len(counts) == 16
    assert counts.min() > 2300  # 2500 expected


def test_time_limits_do_not_end_an_episode():
    buffer = SQILReplayBuffer(
        50, OBSERVATIONS["box"], ACTIONS["discrete"], make_demonstrations(exclude_infos=False), "cpu", 2
    )
    assert not buffer.expert["dones"].any()
    fill(buffer, 10)
    dones = buffer.sample(2000).dones.flatten()
    assert 0.4 < dones[:1000].mean() < 0.6
    without = SQILReplayBuffer(
        50, OBSERVATIONS["box"], ACTIONS["discrete"], make_demonstrations(exclude_infos=False), "cpu", 2,
        handle_timeout_termination=False,
    )  # fmt: skip
    assert without.expert["dones"].sum() == 6
    fill(without, 10)
    assert without.sample(20).dones[:10].all()


def test_actions_are_stored_scaled():
    demonstrations = make_demonstrations(act="box")
    buffer = SQILReplayBuffer(50, OBSERVATIONS["box"], ACTIONS["box"], demonstrations, "cpu", 2)
    acts = rollout.flatten_trajectories(demonstrations).acts
    # [-2, 2] and [0, 10] become [-1, 1]
    np.testing.assert_allclose(buffer.expert["actions"], np.stack([acts[:, 0] / 2, acts[:, 1] / 5 - 1], 1), atol=1e-6)
    assert buffer.expert["actions"].dtype == np.float32


@pytest.mark.parametrize("full", [False, True])
def test_memory_optimized(full):
    buffer = SQILReplayBuffer(
        20, OBSERVATIONS["box"], ACTIONS["discrete"], make_demonstrations(), "cpu", 2, optimize_memory_usage=True
    )
    assert not buffer.handle_timeout_termination
    for i in range(14 if full else 7):
        obs = np.float32([[i, 0, 0], [i, 1, 0]])
        buffer.add(obs, obs + np.float32([1, 0, 0]), np.zeros((2, 1), int), np.zeros(2), np.zeros(2, bool), [{}, {}])
    batch = buffer.sample(400)
    difference = (batch.next_observations - batch.observations)[:200]
    np.testing.assert_array_equal(difference, np.tile([1, 0, 0], (200, 1)))
    assert set(batch.observations[:200, 0].tolist()) == set(range(5, 14) if full else range(7))


@pytest.mark.parametrize("act", ACTIONS)
@pytest.mark.parametrize("obs", [o for o in OBSERVATIONS if o != "image_hwc"])
def test_all_spaces(obs, act):
    space, act_space = OBSERVATIONS[obs], ACTIONS[act]
    buffer = SQILReplayBuffer(40, space, act_space, make_demonstrations(obs, act), "cpu", 2)
    venv = make_venv(obs, act)
    before = venv.reset()
    width = {"box": 2, "discrete": 1, "multi_discrete": 2, "multi_binary": 2}[act]
    for _ in range(5):
        acts = np.stack([act_space.sample() for _ in range(2)])
        after, rewards, dones, infos = venv.step(acts)
        buffer.add(copy.deepcopy(before), copy.deepcopy(after), acts, rewards, dones, infos)
        before = after
    batch = buffer.sample(10)
    assert isinstance(batch, DictReplayBufferSamples if obs == "dict" else ReplayBufferSamples)
    plain = buffer.replay_buffer.sample(10)
    for name in ("observations", "actions", "next_observations", "dones", "rewards"):
        ours, theirs = getattr(batch, name), getattr(plain, name)
        if isinstance(ours, dict):
            assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {
                k: (v.shape, v.dtype) for k, v in theirs.items()
            }
        else:
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), name
    assert batch.actions.shape == (10, width)


def test_normalized_observations_of_both_halves():
    venv = VecNormalize(make_venv(), norm_obs=True, norm_reward=True)
    for _ in range(20):
        venv.reset()
    buffer = SQILReplayBuffer(50, OBSERVATIONS["box"], ACTIONS["discrete"], make_demonstrations(), "cpu", 2)
    fill(buffer, 10)
    np.random.seed(0)  # noqa: NPY002
    plain = buffer.sample(8)
    np.random.seed(0)  # noqa: NPY002
    normalized = buffer.sample(8, venv)
    np.testing.assert_allclose(normalized.observations, venv.normalize_obs(plain.observations.numpy()), rtol=1e-6)
    assert normalized.rewards.flatten().tolist() == [0] * 4 + [1] * 4


def test_kinds_of_demonstrations_agree():
    demonstrations = make_demonstrations()
    flat = rollout.flatten_trajectories(demonstrations)
    fields = ("obs", "acts", "next_obs", "dones")
    rows = [slice(0, 20), slice(20, 33), slice(33, 48)]
    batches = [{name: getattr(flat, name)[r] for name in fields} for r in rows]
    found = [
        SQILReplayBuffer(10, OBSERVATIONS["box"], ACTIONS["discrete"], given, "cpu").expert
        for given in (demonstrations, iter(demonstrations), flat, batches)
    ]
    for other in found[1:]:
        for name, array in found[0].items():
            np.testing.assert_array_equal(other[name], array)


def test_new_demonstrations_replace_the_old_ones_and_are_copied():
    flat = rollout.flatten_trajectories(make_demonstrations())
    buffer = SQILReplayBuffer(50, OBSERVATIONS["box"], ACTIONS["discrete"], flat, "cpu", 2)
    flat.obs[:] = 9
    assert buffer.expert["observations"].max() <= 1
    buffer.set_demonstrations(make_demonstrations(n=2))
    assert len(buffer.expert["dones"]) == 16


def test_the_buffer_says_what_is_missing():
    space, acts = OBSERVATIONS["box"], ACTIONS["discrete"]
    buffer = SQILReplayBuffer(50, space, acts, None, "cpu", 2)
    fill(buffer, 3)
    with pytest.raises(RuntimeError, match="no demonstrations yet: call set_demonstrations first"):
        buffer.sample(8)
    empty = SQILReplayBuffer(50, space, acts, make_demonstrations(), "cpu", 2)
    with pytest.raises(RuntimeError, match="learner has no transitions yet: let it act first"):
        empty.sample(8)
    with pytest.raises(ValueError, match="batch_size is 1, expected at least 2"):
        empty.sample(1)
    with pytest.raises(ValueError, match="does not work with handle_timeout_termination=True"):
        SQILReplayBuffer(50, space, acts, None, optimize_memory_usage=True, handle_timeout_termination=True)
    with pytest.raises(ValueError, match="does not work with Dict observations"):
        SQILReplayBuffer(50, OBSERVATIONS["dict"], acts, None, optimize_memory_usage=True)
    with pytest.raises(ValueError, match="scales actions to .*which needs bounds"):
        SQILReplayBuffer(50, space, spaces.Box(-np.inf, np.inf, (1,)), None)


# The algorithm.


@pytest.mark.parametrize("obs", OBSERVATIONS)
@pytest.mark.parametrize("learner", LEARNERS)
def test_trains_on_all_observations(build, learner, obs):
    if obs.startswith("image"):
        sqil = build(learner, obs, policy_kwargs={"net_arch": [4], "features_extractor_kwargs": {"features_dim": 4}})
    else:
        sqil = build(learner, obs)
    before = [p.clone() for p in sqil.policy.parameters()]
    sqil.train(total_timesteps=12, progress_bar=False)
    assert sqil.rl_algo.num_timesteps == 12
    assert any(not th.equal(a, b) for a, b in zip(before, sqil.policy.parameters(), strict=True))
    assert not sqil.replay_buffer.rewards.any()  # those of the environment are not kept


@pytest.mark.parametrize("learner", LEARNERS)
def test_same_seed_same_result(build, learner):
    def run(seed):
        sqil = build(learner, seed=seed)
        sqil.train(total_timesteps=40, progress_bar=False)
        return th.cat([p.flatten() for p in sqil.policy.parameters()])

    assert th.equal(run(0), run(0))
    assert not th.equal(run(0), run(1))


@pytest.mark.parametrize("learner", LEARNERS)
def test_memory_optimized_learners(build, learner):
    sqil = build(learner, optimize_memory_usage=True, n_envs=1)
    sqil.train(total_timesteps=130, progress_bar=False)  # more than the buffer holds
    assert sqil.replay_buffer.optimize_memory_usage
    assert sqil.replay_buffer.full


def test_noise_normalization_and_callbacks(build):
    noise = NormalActionNoise(np.zeros(2), np.full(2, 0.1))
    sqil = build("TD3", venv=VecNormalize(make_venv(act="box")), action_noise=noise)
    calls = []
    sqil.train(total_timesteps=100, progress_bar=False, callback=lambda *_: calls.append(1) or len(calls) < 5)
    assert len(calls) == 5
    assert sqil.rl_algo.num_timesteps == 10


def test_logging_goes_to_the_given_logger(build, quiet, monkeypatch):
    keys = set()
    monkeypatch.setattr(quiet, "record", lambda key, *a, **k: keys.add(key))
    sqil = build()
    assert sqil.logger is sqil.rl_algo.logger is quiet
    sqil.train(total_timesteps=80, progress_bar=False, log_interval=1)
    assert {"train/loss", "rollout/ep_len_mean"} <= keys


def test_q_values_are_the_networks(build):
    sqil = build("DQN")
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    acts = np.array([0, 1, 2, 1, 0])
    with th.no_grad():
        expected = sqil.rl_algo.q_net(th.as_tensor(obs)).numpy()[np.arange(5), acts]
    np.testing.assert_allclose(sqil.q_values(obs, acts, obs, np.zeros(5)), expected, rtol=1e-6)
    sac = build("SAC")
    acts = np.tile(np.float32([2, 10]), (5, 1))  # the upper bounds, 1 in the critic's units
    with th.no_grad():
        expected = th.cat(sac.rl_algo.critic(th.as_tensor(obs), th.ones(5, 2)), dim=1).amin(1).numpy()
    np.testing.assert_allclose(sac.q_values(obs, acts), expected, rtol=1e-5)
    assert sac.q_values(obs, acts).shape == (5,)


def test_q_of_one_absorbing_state_in_closed_form(quiet):
    """The expert always takes action 1, at random states: Q(s, 1) and Q(s, 0) have known fixed points."""
    gamma, n = 0.5, 400
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (2, n, 3)).astype(np.float32)
    expert = types.Transitions(
        obs=obs[0], acts=np.ones(n, int), infos=None, next_obs=obs[1], dones=np.zeros(n, dtype=bool)
    )
    sqil = SQIL(
        venv=make_venv(act="discrete", n_envs=1),
        demonstrations=expert,
        policy="MlpPolicy",
        custom_logger=quiet,
        rl_kwargs={
            "seed": 0, "device": "cpu", "gamma": gamma, "learning_rate": 3e-3, "batch_size": 64, "train_freq": 1,
            "learning_starts": 50, "target_update_interval": 20, "exploration_initial_eps": 1.0,
            "exploration_final_eps": 1.0, "policy_kwargs": {"net_arch": [32]},
        },
    )  # fmt: skip
    sqil.train(total_timesteps=1500, progress_bar=False)
    states = obs[0][:100]
    found = [sqil.q_values(states, np.full(100, a)).mean() for a in range(3)]
    # The learner explores at random: per batch, action 1 comes from the expert in 3 of 4 cases, so its mean reward is
    # 3/4. V = Q(1) = 3/4 + γV = 3/2, and Q(0) = Q(2) = 0 + γV = 3/4.
    assert found[1] == pytest.approx(1.5, abs=0.2)
    assert found[0] == pytest.approx(0.75, abs=0.2)
    assert found[2] == pytest.approx(0.75, abs=0.2)


# Mistakes.


def test_learners_that_do_not_fit(quiet):
    def make(cls, act="discrete", venv=None, **kwargs):
        venv = make_venv(act=act) if venv is None else venv
        return SQIL(
            venv=venv, demonstrations=None, policy="MlpPolicy", rl_algo_class=cls, custom_logger=quiet, **kwargs
        )

    with pytest.raises(ValueError, match="DQN needs Discrete actions, but those of venv are Box.*Use SAC or TD3"):
        make(DQN, "box")
    for cls in (SAC, TD3):
        with pytest.raises(ValueError, match=r"needs continuous \(Box\) actions.*are Discrete\(3\)\. Use DQN"):
            make(cls)
    with pytest.raises(TypeError, match="off-policy algorithm of Stable-Baselines3.*got PPO"):
        make(PPO)
    with pytest.raises(TypeError, match="venv must be a Stable-Baselines3 VecEnv"):
        make(DQN, venv=make_venv().envs[0])
    with pytest.raises(ValueError, match="rl_kwargs has 'replay_buffer_class', which SQIL sets itself"):
        make(DQN, rl_kwargs={"replay_buffer_class": SQILReplayBuffer})
    with pytest.raises(ValueError, match="rl_kwargs has 'demonstrations', which SQIL sets itself"):
        make(DQN, rl_kwargs={"replay_buffer_kwargs": {"demonstrations": []}})
    with pytest.raises(ValueError, match="rl_kwargs has n_steps=3"):
        make(DQN, rl_kwargs={"n_steps": 3})
    with pytest.raises(ValueError, match="batch_size is 1, expected at least 2"):
        make(DQN, rl_kwargs={"batch_size": 1})


def test_demonstrations_that_do_not_fit(build):
    with pytest.raises(ValueError, match="acts has shape.*expected"):
        build(demonstrations=make_demonstrations(act="box"))
    with pytest.raises(ValueError, match="acts has shape.*expected"):
        build("SAC", demonstrations=make_demonstrations())
    with pytest.raises(ValueError, match="obs has shape.*expected"):
        build(demonstrations=make_demonstrations("multi_discrete"))
    with pytest.raises(ValueError, match="demonstrations is empty: at least one"):
        build(demonstrations=[])
    with pytest.raises(TypeError, match="demonstrations is a float"):
        build(demonstrations=0.5)
    minimal = types.TransitionsMinimal(np.zeros((4, 3), np.float32), np.zeros(4, int), None)
    with pytest.raises(ValueError, match=r"\['next_obs', 'dones'\] are needed as well"):
        build(demonstrations=minimal)
    flat = rollout.flatten_trajectories(make_demonstrations(act="box"))
    flat.acts[3, 1] = 11
    with pytest.raises(ValueError, match="acts: 1 of 96 values are outside of Box.*np.clip"):
        build("SAC", demonstrations=flat)


def test_no_demonstrations_yet(build):
    sqil = build(demonstrations=None)
    with pytest.raises(RuntimeError, match="no demonstrations yet: call set_demonstrations first"):
        sqil.train(total_timesteps=10)
    sqil.set_demonstrations(make_demonstrations())
    sqil.train(total_timesteps=10, progress_bar=False)


def test_a_warning_of_different_lengths(build, quiet, monkeypatch):
    texts = []
    monkeypatch.setattr(quiet, "warn", lambda text: texts.append(text))
    sqil = build(demonstrations=[*make_demonstrations(n=2), *make_demonstrations(n=2, horizon=5)])
    assert texts == [
        "Demonstrated episodes have from 5 to 8 steps. SQIL's rewards are never negative, so a learner that can end an "
        "episode is paid for not doing so, whatever the expert did."
    ]
    sqil.set_demonstrations(make_demonstrations())
    assert len(texts) == 1


# Checkpoints.


@pytest.mark.parametrize("optimized", [False, True])
@pytest.mark.parametrize("learner", LEARNERS)
def test_a_resumed_run_is_bit_equal(build, quiet, tmp_path, learner, optimized):
    def start():
        extra = {"action_noise": NormalActionNoise(np.zeros(2), np.full(2, 0.1))} if learner == "TD3" else {}
        sqil = build(learner, seed=1, optimize_memory_usage=optimized, **extra)
        sqil.train(total_timesteps=40, progress_bar=False)
        return sqil

    def go_on(sqil):
        sqil.train(total_timesteps=80, reset_num_timesteps=False, progress_bar=False)

    whole = start()
    whole.save(tmp_path / "whole")
    go_on(whole)
    start().save(tmp_path / "part")
    th.manual_seed(12345)
    np.random.seed(12345)  # noqa: NPY002 - what happens in between must not matter
    second = SQIL.load(
        tmp_path / "part", make_venv(act=LEARNERS[learner][1], seed=5), custom_logger=quiet, device="cpu"
    )
    assert second.rl_algo.num_timesteps == 40
    assert second.rl_algo.optimize_memory_usage == optimized
    go_on(second)
    assert second.rl_algo.num_timesteps == 120
    found = second.policy.state_dict()
    for name, value in whole.policy.state_dict().items():
        assert th.equal(value, found[name]), name
    np.testing.assert_array_equal(whole.replay_buffer.observations, second.replay_buffer.observations)


def test_dictionaries_survive(build, quiet, tmp_path):
    sqil = build("SAC", "dict")
    sqil.train(total_timesteps=20, progress_bar=False)
    file = sqil.save(tmp_path)
    assert artifacts.read_header(file).kind == "checkpoint"
    loaded = SQIL.load(tmp_path, make_venv("dict", "box"), custom_logger=quiet, device="cpu")
    for key, array in sqil.replay_buffer.expert["next_observations"].items():
        np.testing.assert_array_equal(loaded.replay_buffer.expert["next_observations"][key], array)
    loaded.train(total_timesteps=10, reset_num_timesteps=False, progress_bar=False)


def test_wrong_checkpoints_are_refused(build, quiet, tmp_path):
    file = build().save(tmp_path)
    with pytest.raises(FileNotFoundError):
        SQIL.load(tmp_path / "nowhere", make_venv())
    found = artifacts.read(file, kind="checkpoint", version=2)
    tensors = {**found.tensors, "expert/actions": found.tensors["expert/actions"][:5]}
    artifacts.write(file, kind="checkpoint", version=2, meta=found.meta, tensors=tensors)
    with pytest.raises(ArtifactError, match=r"'actions' is int64 of shape \(5, 1\), expected.*\(48, 1\)"):
        SQIL.load(tmp_path, make_venv(), custom_logger=quiet)
    text = json.dumps(found.meta).replace('"DQN"', '"PPO"')
    artifacts.write(file, kind="checkpoint", version=2, meta=json.loads(text), tensors=found.tensors)
    with pytest.raises(ArtifactError):
        SQIL.load(tmp_path, make_venv(), custom_logger=quiet)


def test_a_learner_that_is_no_data_must_be_given_again(build, quiet, tmp_path):
    build(learning_rate=lambda left: 1e-3 * left).save(tmp_path)
    venv = make_venv()
    with pytest.raises(ArtifactError, match=r"cannot rebuild rl_kwargs: .*'learning_rate'.*pass rl_kwargs=.*restore"):
        SQIL.load(tmp_path, venv, custom_logger=quiet)
    fresh = build(learning_rate=lambda left: 1e-3 * left)
    assert fresh.restore(tmp_path) is fresh


@pytest.mark.parametrize("name", ["tensorboard_log", "env", "replay_buffer_class"])
def test_a_file_does_not_choose_where_the_learner_writes(build, quiet, tmp_path, name):
    file = build().save(tmp_path)
    found = artifacts.read(file, kind="checkpoint", version=2)
    meta = json.loads(json.dumps(found.meta))
    meta["arguments"]["rl_kwargs"]["data"][name] = str(tmp_path / "chosen")
    artifacts.write(file, kind="checkpoint", version=2, meta=meta, tensors=found.tensors)
    with pytest.raises(ArtifactError, match="which a file may not choose"):
        SQIL.load(tmp_path, make_venv(), custom_logger=quiet)
    assert not (tmp_path / "chosen").exists()
