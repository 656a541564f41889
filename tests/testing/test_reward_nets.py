"""Mock reward networks and ensembles."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th

from imitation_lab.rewards import reward_nets
from imitation_lab.testing import hypothesis_strategies as strategies
from imitation_lab.testing.reward_nets import MockRewardNet, make_ensemble

OBS = gym.spaces.Box(-1, 1, (3,), np.float32)
ACT = gym.spaces.Discrete(2)


def transitions(n, obs_space=OBS, act_space=ACT):
    states, actions = (gym.vector.utils.batch_space(space, n) for space in (obs_space, act_space))
    return states.sample(), actions.sample(), states.sample(), np.zeros(n, dtype=bool)


@pytest.mark.parametrize("obs_space", strategies.OBSERVATION_SPACES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("act_space", strategies.ACTION_SPACES, ids=lambda s: type(s).__name__)
def test_mock_gives_its_value_for_every_space(obs_space, act_space):
    net = MockRewardNet(obs_space, act_space, value=2.5)
    rewards = net.predict_processed(*transitions(4, obs_space, act_space))
    assert rewards.shape == (4,)
    assert rewards.dtype == np.float32
    assert rewards.tolist() == [2.5] * 4
    net.value = -1.0
    assert net.predict(*transitions(1, obs_space, act_space)).tolist() == [-1.0]


def test_mock_is_zero_by_default_and_has_no_parameters():
    net = MockRewardNet(OBS, ACT)
    assert net.predict(*transitions(2)).tolist() == [0.0, 0.0]
    assert list(net.parameters()) == []
    assert net.predict_th(*transitions(3)).device == th.device("cpu")


def test_ensemble_members_differ_and_take_the_arguments():
    ensemble = make_ensemble(OBS, ACT, num_members=3, hid_sizes=[5], use_next_state=True)
    assert isinstance(ensemble, reward_nets.RewardEnsemble)
    assert ensemble.num_members == 3
    assert all(isinstance(member, reward_nets.BasicRewardNet) for member in ensemble.members)
    assert all(member.use_next_state for member in ensemble.members)
    predictions = ensemble.predict_processed_all(*transitions(4))
    assert predictions.shape == (4, 3)
    assert (predictions.std(axis=1) > 1e-4).all()


def test_ensemble_of_two_by_default():
    assert make_ensemble(OBS, ACT).num_members == 2
