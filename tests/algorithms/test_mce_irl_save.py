"""Checkpoints of maximum entropy IRL: bit-equal resume, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch as th

from imitation_lab.algorithms import mce_irl
from imitation_lab.algorithms.checkpoint import State
from imitation_lab.envs import grid_worlds
from imitation_lab.rewards import reward_nets
from imitation_lab.util import logger
from imitation_lab.util.artifacts import ArtifactError
from imitation_lab.util.networks import RunningNorm


@pytest.fixture
def log(tmp_path):
    return logger.configure(tmp_path / "log", [])


def world(n_states=4):
    return grid_worlds.RandomMDP(n_states, 2, 2, 5, generator_seed=1)


def make(log, env, **kwargs):
    th.manual_seed(0)
    kwargs = {"use_action": False, "hid_sizes": [4], **kwargs}
    net = kwargs.pop("net", None) or reward_nets.BasicRewardNet(env.observation_space, env.action_space, **kwargs)
    occupancy = mce_irl.mce_occupancy_measures(env)[1]
    if kwargs["use_action"]:
        pi = mce_irl.mce_partition_fh(env)[2]
        occupancy = (mce_irl.mce_occupancy_measures(env)[0][:-1, :, None] * pi).sum(0)
    return mce_irl.MCEIRL(
        occupancy, env, net, np.random.default_rng(0), optimizer_kwargs={"lr": 0.05}, discount=1.0, log_interval=4,
        custom_logger=log,
    )  # fmt: skip


@pytest.mark.parametrize("kwargs", [{}, {"use_action": True}, {"normalize_input_layer": RunningNorm}])
def test_a_resumed_training_is_bit_equal(kwargs, tmp_path, log):
    env = world()
    whole = make(log, env, **kwargs)
    whole.train(10, progress_bar=False)
    whole.save(tmp_path)
    resumed = mce_irl.MCEIRL.load(tmp_path, env, custom_logger=log)
    np.testing.assert_array_equal(resumed.reward, whole.reward)
    np.testing.assert_array_equal(resumed.policy.pi, whole.policy.pi)
    for trainer in (whole, resumed):
        trainer.train(10, progress_bar=False)
    assert resumed.iteration == whole.iteration == 20
    assert resumed.linf_deltas == whole.linf_deltas
    for name in ("reward", "state_om", "demo_state_om"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    np.testing.assert_array_equal(resumed.policy.pi, whole.policy.pi)
    assert resumed.rng.bit_generator.state == whole.rng.bit_generator.state
    assert len(resumed.history) == len(whole.history) > 3
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        np.testing.assert_equal(dataclasses.asdict(ours), dataclasses.asdict(theirs))


def test_an_untrained_one_can_be_saved(tmp_path, log):
    make(log, world()).save(tmp_path)
    loaded = mce_irl.MCEIRL.load(tmp_path, world(), custom_logger=log)
    assert loaded.reward is None
    assert loaded.train(2, progress_bar=False).shape == (4,)


def test_what_does_not_fit_is_refused(tmp_path, log):
    with pytest.raises(FileNotFoundError):
        mce_irl.MCEIRL.load(tmp_path / "nowhere", world())
    file = make(log, world()).save(tmp_path)
    with pytest.raises(ArtifactError, match=r"occupancy has shape .* give the environment of the run"):
        mce_irl.MCEIRL.load(tmp_path, grid_worlds.RandomMDP(4, 2, 2, 6, generator_seed=1), custom_logger=log)
    state = State.read(file, 2)
    state.meta["arguments"]["discount"] = {}
    state.write(file, 2)
    with pytest.raises(ArtifactError, match="cannot rebuild discount"):
        mce_irl.MCEIRL.load(tmp_path, world(), custom_logger=log)


def test_a_network_that_is_no_data_is_given_again(tmp_path, log):
    class Own(reward_nets.RewardNet):
        def __init__(self, observation_space, action_space, scale=None):
            super().__init__(observation_space, action_space)
            self.scale = scale
            self.weight = th.nn.Parameter(th.zeros(4))

        def forward(self, state, action, next_state, done):
            return self.scale(state @ self.weight)

    def scale(values):
        return 2 * values

    env = world()
    whole = make(log, env, net=Own(env.observation_space, env.action_space, scale))
    whole.train(3, progress_bar=False)
    whole.save(tmp_path)
    with pytest.raises(ArtifactError, match=r"cannot rebuild reward_net: .* pass reward_net="):
        mce_irl.MCEIRL.load(tmp_path, env, custom_logger=log)
    net = Own(env.observation_space, env.action_space, scale)
    loaded = mce_irl.MCEIRL.load(tmp_path, env, reward_net=net, custom_logger=log)
    np.testing.assert_array_equal(loaded.reward, whole.reward)
