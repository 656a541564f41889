import copy
import pickle

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN, SAC
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.her import HerReplayBuffer

from imitation_lab.policies.replay_buffer_wrapper import ReplayBufferRewardWrapper

OBS = spaces.Box(-10, 10, (2,), np.float32)
ACT = spaces.Box(-4, 8, (1,), np.float32)


def obs_plus_action(state, action, next_state, done):
    return 100 * state[:, 0] + action[:, 0]


def make(obs=OBS, act=ACT, size=8, cls=ReplayBuffer, reward_fn=obs_plus_action, **kwargs):
    return ReplayBufferRewardWrapper(
        size, obs, act, replay_buffer_class=cls, reward_fn=reward_fn, device="cpu", **kwargs
    )


def fill(buffer, n=4):
    for i in range(n):
        obs = np.array([[i, 0]], np.float32)
        buffer.add(obs, obs + 1, np.array([[i / 10]], np.float32), np.array([-1.0]), np.array([False]), [{}])


def test_rewards_come_from_the_function_with_actions_in_their_units():
    buffer = make()
    fill(buffer)
    samples = buffer.sample(64)
    i = samples.observations[:, 0]
    # A stored action a means -4 + (a + 1) / 2 · 12 in the environment.
    expected = 100 * i + (-4 + (i / 10 + 1) * 6)
    assert samples.rewards.shape == (64, 1)
    assert samples.rewards.dtype == th.float32
    th.testing.assert_close(samples.rewards[:, 0], expected)
    th.testing.assert_close(samples.actions[:, 0], i / 10)  # what the algorithm gets stays as stored


def test_actions_stay_as_stored_where_told_so():
    buffer = make(actions_are_scaled=False)
    fill(buffer)
    samples = buffer.sample(16)
    th.testing.assert_close(samples.rewards[:, 0], 100 * samples.observations[:, 0] + samples.actions[:, 0])


def test_rewards_are_never_stale():
    scale = [1.0]
    buffer = make(reward_fn=lambda s, a, n, d: np.full(len(s), scale[0]))
    fill(buffer)
    assert set(buffer.sample(8).rewards.flatten().tolist()) == {1.0}
    scale[0] = 2.0
    assert set(buffer.sample(8).rewards.flatten().tolist()) == {2.0}


def test_other_sample_fields_pass_through():
    class Discounting(ReplayBuffer):
        def sample(self, *args, **kwargs):
            samples = super().sample(*args, **kwargs)
            return ReplayBufferSamples(*samples[:5], discounts=th.full_like(samples.rewards, 0.5))

    buffer = make(cls=Discounting)
    fill(buffer)
    assert set(buffer.sample(8).discounts.flatten().tolist()) == {0.5}
    buffer = make()
    fill(buffer)
    assert buffer.sample(8).discounts is None


def test_done_is_termination_only_unless_timeouts_are_not_handled():
    seen = []

    def remember(state, action, next_state, done):
        assert done.dtype == bool
        seen.append(dict(zip(state[:, 0].tolist(), done.tolist(), strict=True)))
        return np.zeros(len(state))

    for kwargs in ({}, {"handle_timeout_termination": False}):
        buffer = make(reward_fn=remember, **kwargs)
        for i, info in enumerate([{}, {"TimeLimit.truncated": True}]):
            obs = np.array([[i, 0]], np.float32)
            buffer.add(obs, obs, np.zeros((1, 1)), np.zeros(1), np.array([True]), [info])
        buffer.sample(64)
    assert seen == [{0: True, 1: False}, {0: True, 1: True}]


def test_discrete_spaces_reach_the_function_without_extra_axis():
    shapes = {}

    def reward(state, action, next_state, done):
        shapes.update(state=state.shape, action=action.shape, next_state=next_state.shape, done=done.shape)
        return np.zeros(len(state))

    buffer = make(obs=spaces.Discrete(5), act=spaces.Discrete(3), reward_fn=reward)
    buffer.add(np.array([1]), np.array([2]), np.array([2]), np.zeros(1), np.zeros(1), [{}])
    buffer.sample(6)
    assert set(shapes.values()) == {(6,)}


def test_dict_observations():
    space = spaces.Dict({"a": OBS, "b": spaces.Discrete(3)})
    buffer = make(obs=space, cls=DictReplayBuffer, reward_fn=lambda s, a, n, d: s["a"][:, 0] - n["a"][:, 0])
    obs = {"a": np.array([[3, 0]], np.float32), "b": np.array([1])}
    nxt = {"a": np.array([[5, 0]], np.float32), "b": np.array([1])}
    buffer.add(obs, nxt, np.zeros((1, 1)), np.zeros(1), np.zeros(1), [{}])
    samples = buffer.sample(4)
    assert samples.rewards.flatten().tolist() == [-2] * 4
    assert set(samples.observations) == {"a", "b"}


def test_position_and_fullness_are_those_of_the_wrapped_buffer():
    buffer = make(size=3)
    fill(buffer, 2)
    assert (buffer.pos, buffer.full, buffer.size()) == (2, False, 2)
    fill(buffer, 2)
    assert (buffer.pos, buffer.full, buffer.size()) == (1, True, 3)
    buffer.pos, buffer.full = 0, False
    assert (buffer.replay_buffer.pos, buffer.replay_buffer.full) == (0, False)
    assert buffer.observations is buffer.replay_buffer.observations
    assert copy.deepcopy(buffer).buffer_size == 3
    buffer.reset()
    assert buffer.size() == 0


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="replay_buffer_class must be a ReplayBuffer class"):
        make(cls=RolloutBuffer)
    with pytest.raises(TypeError, match="reward_fn must be callable"):
        make(reward_fn=3)
    with pytest.raises(ValueError, match="sums of several steps' rewards.*Use ReplayBuffer and n_steps=1"):
        make(cls=NStepReplayBuffer)
    with pytest.raises(ValueError, match="ReplayBuffer does not suit the observation space Dict.*use DictReplayBuffer"):
        make(obs=spaces.Dict({"a": OBS}))
    buffer = make(reward_fn=lambda s, a, n, d: np.zeros((len(s), 1)))
    fill(buffer)
    with pytest.raises(ValueError, match=r"reward_fn returned shape \(4, 1\) for a batch of 4, expected \(4,\)"):
        buffer.sample(4)


@pytest.mark.parametrize(("algorithm", "env_id"), [(SAC, "Pendulum-v1"), (DQN, "CartPole-v1")])
def test_algorithms_train_on_it(algorithm, env_id):
    calls = []

    def reward(state, action, next_state, done):
        calls.append(action)
        return np.zeros(len(state))

    model = algorithm(
        "MlpPolicy",
        env_id,
        buffer_size=200,
        batch_size=16,
        learning_starts=20,
        train_freq=10,
        replay_buffer_class=ReplayBufferRewardWrapper,
        replay_buffer_kwargs={"replay_buffer_class": ReplayBuffer, "reward_fn": reward},
        policy_kwargs={"net_arch": [8]},
        device="cpu",
    )
    model.learn(60)
    assert calls
    if algorithm is SAC:
        assert np.abs(np.concatenate(calls)).max() > 1  # torques reach 2
    else:
        assert calls[0].shape == (16,)


def test_hindsight_goes_on_after_its_buffer_was_saved(tmp_path):
    venv = DummyVecEnv([lambda: BitFlippingEnv(n_bits=4, continuous=False)])
    kwargs = {"replay_buffer_class": HerReplayBuffer, "reward_fn": three, "env": venv}

    def learner():
        return DQN(
            "MultiInputPolicy", venv, buffer_size=200, batch_size=8, learning_starts=8, device="cpu",
            replay_buffer_class=ReplayBufferRewardWrapper, replay_buffer_kwargs=kwargs,
        )  # fmt: skip

    model = learner()
    model.learn(40)
    model.save_replay_buffer(tmp_path / "replay")
    other = learner()
    other.load_replay_buffer(tmp_path / "replay", truncate_last_traj=False)
    other.learn(40)
    samples = other.replay_buffer.sample(8)
    assert set(samples.rewards.flatten().tolist()) == {3.0}
    assert type(copy.deepcopy(other.replay_buffer)) is type(other.replay_buffer)


def three(state, action, next_state, done):
    return np.full(len(done), 3.0)


def test_around_a_buffer_that_exists():
    inner = ReplayBuffer(8, OBS, ACT, device="cpu")
    fill(inner)
    buffer = ReplayBufferRewardWrapper.around(inner, obs_plus_action)
    assert buffer.replay_buffer is inner
    assert buffer.size() == inner.size() == 4
    samples = buffer.sample(16)
    expected = 100 * samples.observations[:, 0] + (-4 + (samples.actions[:, 0] + 1) * 6)
    th.testing.assert_close(samples.rewards[:, 0], expected)
    again = ReplayBufferRewardWrapper.around(buffer, lambda s, a, n, d: np.ones(len(s)))
    assert again.replay_buffer is inner
    assert set(again.sample(8).rewards.flatten().tolist()) == {1.0}
    assert ReplayBufferRewardWrapper.released(again) is again  # nobody holds it
    with pytest.raises(TypeError, match="reward_fn must be callable"):
        ReplayBufferRewardWrapper.around(inner, 3)
    with pytest.raises(ValueError, match="sums of several steps' rewards"):
        ReplayBufferRewardWrapper.around(NStepReplayBuffer(8, OBS, ACT, device="cpu"), three)


def test_it_is_in_force_as_long_as_it_is_held():
    inner = ReplayBuffer(8, OBS, ACT, device="cpu")
    held = [True]
    buffer = ReplayBufferRewardWrapper.around(inner, three, held=lambda: held[0])
    step = (np.zeros((1, 2)), np.zeros((1, 2)), np.zeros((1, 1)), np.array([9.0]), np.zeros(1))
    buffer.add(*step, [{"original_env_rew": 0.5}])
    assert set(buffer.sample(8).rewards.flatten().tolist()) == {3.0}
    held[0] = False
    assert set(buffer.sample(8).rewards.flatten().tolist()) == {0.5}
    buffer.add(*step, [{}])
    assert inner.rewards.flatten()[:2].tolist() == [0.5, 9.0]
    assert ReplayBufferRewardWrapper.released(buffer) is inner
    assert type(pickle.loads(pickle.dumps(buffer))) is ReplayBuffer
