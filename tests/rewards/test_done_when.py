"""The examples that users copy first work as written, on PyTorch's defaults."""

from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.envs.classic import FixedHorizonCartPole
from imitation_lab.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet, RewardNet, ShapedRewardNet
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper
from imitation_lab.rewards.serialize import load_reward
from imitation_lab.util.networks import RunningNorm


class Upright(RewardNet):
    """A user's own network: the scale is learned, the angle is the third state."""

    def __init__(self, observation_space, action_space, scale=2.0):
        super().__init__(observation_space, action_space)
        self.scale = th.nn.Parameter(th.tensor(scale))

    def forward(self, state, action, next_state, done):
        return 1 - self.scale * state[:, 2].abs()


@pytest.fixture
def venv():
    venv = DummyVecEnv([FixedHorizonCartPole] * 4)
    venv.seed(0)
    return venv


@pytest.fixture
def batch(rng):
    obs = rng.normal(size=(2, 16, 4)).astype(np.float32)
    return obs[0], rng.integers(2, size=16), obs[1], np.zeros(16, bool)


@pytest.fixture
def normalized(venv, batch):
    base = Upright(venv.observation_space, venv.action_space)
    net = NormalizedRewardNet(base, RunningNorm)
    net.predict_processed(*batch)
    return net


def test_an_own_forward_is_all_it_takes(venv, batch):
    net = Upright(venv.observation_space, venv.action_space)
    wanted = 1 - 2 * np.abs(batch[0][:, 2])
    np.testing.assert_allclose(net.predict(*batch), wanted, rtol=1e-6)
    np.testing.assert_allclose(net.predict_processed(*batch), wanted, rtol=1e-6)
    net(*net.preprocess(*batch)).sum().backward()
    assert net.scale.grad == pytest.approx(-np.abs(batch[0][:, 2]).sum(), rel=1e-5)


@pytest.mark.parametrize("cls", [Upright, BasicRewardNet])
def test_an_environment_rewarded_by_a_network(cls, venv):
    net = cls(venv.observation_space, venv.action_space)
    venv = RewardVecEnvWrapper(venv, net.predict_processed)
    first = venv.reset()
    actions = np.array([0, 1, 0, 1])
    second, rewards, dones, infos = venv.step(actions)
    np.testing.assert_allclose(rewards, net.predict(first, actions, second, dones), rtol=1e-5)
    assert [info["original_env_rew"] for info in infos] == [1.0] * 4


def test_normalization_pays_old_statistics_and_then_moves(venv, batch):
    base = Upright(venv.observation_space, venv.action_space)
    net = NormalizedRewardNet(base, RunningNorm)
    raw = base.predict(*batch)
    np.testing.assert_allclose(net.predict_processed(*batch), raw, rtol=1e-4)  # mean 0, variance 1 at first
    np.testing.assert_allclose(net.predict_processed(*batch), (raw - raw.mean()) / raw.std(), atol=1e-3)


def test_a_partial_freezes_the_statistics(normalized, batch, venv):
    reward_fn = partial(normalized.predict_processed, update_stats=False)
    before = normalized.normalize_output_layer.running_mean.clone()
    np.testing.assert_array_equal(reward_fn(*batch), reward_fn(*batch))
    RewardVecEnvWrapper(venv, reward_fn).step(np.zeros(4, int))
    assert normalized.normalize_output_layer.count == 16
    assert th.equal(normalized.normalize_output_layer.running_mean, before)


def test_torch_save_and_plain_torch_load(normalized, batch, venv, tmp_path):
    path = tmp_path / "reward.pt"
    th.save(normalized, path)
    loaded = th.load(path)
    assert type(loaded) is NormalizedRewardNet
    assert type(loaded.base) is Upright
    assert loaded.normalize_output_layer.count == 16
    wanted = normalized.predict_processed(*batch, update_stats=False)
    np.testing.assert_array_equal(loaded.predict_processed(*batch, update_stats=False), wanted)

    frozen = load_reward("RewardNet_normalized", path, venv)
    np.testing.assert_array_equal(frozen(*batch), wanted)
    np.testing.assert_array_equal(frozen(*batch), wanted)

    plain = load_reward("RewardNet_unnormalized", path, venv)
    np.testing.assert_allclose(plain(*batch), normalized.predict(*batch), rtol=1e-6)

    moving = load_reward("RewardNet_normalized", path, venv, update_stats=True)
    shifted = (batch[0] + 5, *batch[1:])
    np.testing.assert_array_equal(moving(*batch), wanted)
    first, second = moving(*shifted), moving(*shifted)
    assert abs(second.mean()) < abs(first.mean())
    np.testing.assert_array_equal(frozen(*batch), wanted)  # each load has statistics of its own


def test_the_whole_way_through_every_wrapper(venv, batch, tmp_path):
    potential = BasicRewardNet(venv.observation_space, spaces.Discrete(2), use_action=False).mlp
    shaped = ShapedRewardNet(Upright(venv.observation_space, venv.action_space), potential, 0.99)
    net = NormalizedRewardNet(shaped, RunningNorm)
    net.predict_processed(*batch)
    th.save(net, tmp_path / "r.pt")
    venv = RewardVecEnvWrapper(venv, load_reward("RewardNet_normalized", tmp_path / "r.pt", venv))
    venv.reset()
    assert venv.step(np.zeros(4, int))[1].shape == (4,)
    assert th.load(tmp_path / "r.pt").normalize_output_layer.count == 16
