"""The strategies give what they say, for every space."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from imitation_lab.data import types
from imitation_lab.testing import hypothesis_strategies as strategies

few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def single(batch, i):
    element = types.maybe_unwrap_dictobs(batch[i])
    return {k: np.asarray(v)[()] for k, v in element.items()} if isinstance(element, dict) else element


def contains(space, batch):
    return all(space.contains(single(batch, i)) for i in range(len(batch)))


@pytest.mark.parametrize("obs_space", strategies.OBSERVATION_SPACES, ids=lambda s: type(s).__name__)
def test_observations_belong_to_their_space(obs_space):
    @few
    @given(strategies.trajectories(observation_space=obs_space))
    def check(trajectory):
        assert type(trajectory) is types.Trajectory
        assert len(trajectory.obs) == len(trajectory.acts) + 1
        assert isinstance(trajectory.obs, types.DictObs) == isinstance(obs_space, gym.spaces.Dict)
        assert contains(obs_space, trajectory.obs)

    check()


@pytest.mark.parametrize("act_space", strategies.ACTION_SPACES, ids=lambda s: type(s).__name__)
def test_actions_belong_to_their_space(act_space):
    @few
    @given(strategies.trajectories_with_rew(action_space=act_space))
    def check(trajectory):
        assert contains(act_space, trajectory.acts)
        assert trajectory.rews.shape == (len(trajectory),)
        assert trajectory.rews.dtype == np.float32
        assert np.isfinite(trajectory.rews).all()

    check()


@few
@given(
    strategies.trajectories_with_rew(
        min_length=3, max_length=5, terminal=True, with_infos=True, rewards=st.sampled_from([0.0, 1.0])
    )
)
def test_arguments_are_obeyed(trajectory):
    assert 3 <= len(trajectory) <= 5
    assert trajectory.terminal
    assert len(trajectory.infos) == len(trajectory)
    assert all(isinstance(info, dict) for info in trajectory.infos)
    assert set(trajectory.rews) <= {0.0, 1.0}


@few
@given(strategies.trajectories(with_infos=False, terminal=False))
def test_without_infos(trajectory):
    assert trajectory.infos is None
    assert not trajectory.terminal


@pytest.mark.parametrize("with_rewards", [True, False])
def test_lists_share_their_spaces(with_rewards):
    @few
    @given(strategies.trajectory_lists(with_rewards=with_rewards, min_size=2, max_size=3, max_length=5))
    def check(trajectories):
        assert 2 <= len(trajectories) <= 3
        assert max(map(len, trajectories)) <= 5
        assert len({(str(t.obs.dtype), str(t.acts.dtype), t.acts.shape[1:]) for t in trajectories}) == 1
        assert all(isinstance(t, types.TrajectoryWithRew) == with_rewards for t in trajectories)

    check()


def test_lengths_shrink():
    assert len(find(strategies.trajectories(), lambda t: len(t) >= 3)) == 3


@pytest.mark.parametrize("strategy", [strategies.trajectories, strategies.trajectories_with_rew])
def test_refuses_impossible_lengths(strategy):
    for bounds in ({"min_length": 0}, {"min_length": 5, "max_length": 4}):
        with pytest.raises(ValueError, match="expected 1 <= min_length <= max_length, got min_length="):
            strategy(**bounds)
