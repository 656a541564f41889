"""A human and a policy at one environment."""

import threading

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms.dagger import InteractiveSession

HORIZON = 5
RIGHT, LEFT = 1, 0


class Walk(gym.Env):
    """Walks right or left, and is blown about."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = self.np_random.normal(), 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x += 10 * (2 * int(action) - 1) + self.np_random.normal()
        self.t += 1
        return np.array([self.x], np.float32), float(action), False, self.t == HORIZON, {}


class Forgetful(Walk):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None)


def left(obs):
    return np.zeros(len(obs), np.int64)


@pytest.fixture
def session():
    return InteractiveSession(DummyVecEnv([Walk]), left, np.random.default_rng(0))


def counts(session):
    return tuple(session.counts().values())


def test_demonstrations_labels_and_watching(session):
    session.act(RIGHT)
    session.hand_back()
    session.act(RIGHT)
    assert session.watch() == 1
    session.take_over()
    session.act(RIGHT)
    assert session.position == (0, 4)
    assert counts(session) == (2, 1, 1, 3)
    first, second = session.trajectories()
    np.testing.assert_array_equal(first.acts, [RIGHT, RIGHT])
    assert first.infos == [{"by_human": True}, {"by_human": False}]
    np.testing.assert_allclose(np.diff(first.obs[:, 0]), [10, -10], atol=4)  # the second was the policy's
    np.testing.assert_array_equal(first.rews, [1, 0])
    np.testing.assert_array_equal(second.acts, [RIGHT])
    np.testing.assert_array_equal(second.obs[-1], session.obs)
    assert [first.terminal, second.terminal] == [False, False]


def test_an_episode_ends_and_the_next_begins(session):
    for _ in range(HORIZON + 1):
        session.act(RIGHT)
    assert session.position == (1, 1)
    whole, begun = session.trajectories()
    assert (len(whole), whole.terminal) == (HORIZON, True)
    assert whole.obs[-1, 0] > 40  # its own last observation, not the next episode's first
    assert (len(begun), begun.terminal) == (1, False)
    session.restart()
    assert session.position == (2, 0)
    assert counts(session) == (HORIZON + 1, 0, 0, HORIZON + 1)
    assert session.watch(100) == HORIZON


def test_undo_repeats_the_episode_up_to_before_the_last_action(session):
    session.act(RIGHT)
    session.act(LEFT)
    here = session.obs.copy()
    session.act(RIGHT)
    there = session.obs.copy()
    session.watch(1)
    assert session.undo()
    np.testing.assert_array_equal(session.obs, here)
    assert session.position == (0, 2)
    session.take_over()
    session.act(RIGHT)
    np.testing.assert_array_equal(session.obs, there)  # the wind is the same, too
    assert session.repeatable


def test_undo_goes_back_into_the_episode_before(session):
    for _ in range(HORIZON):
        session.act(RIGHT)
    assert session.position == (1, 0)
    session.watch(2)
    assert session.undo()
    assert session.position == (0, HORIZON - 1)
    session.take_over()
    session.act(LEFT)
    assert session.position == (1, 0)
    (whole,) = session.trajectories()
    assert whole.acts.tolist() == [1, 1, 1, 1, 0]
    assert whole.terminal
    for _ in range(HORIZON):
        assert session.undo()
    assert not session.undo()
    assert session.position == (0, 0)


def test_what_is_saved_stays(session):
    session.act(RIGHT)
    session.mark_saved()
    assert not session.undo()
    assert session.trajectories() == []
    session.act(LEFT)
    (fresh,) = session.trajectories()
    assert fresh.acts.tolist() == [LEFT]
    assert session.undo()
    assert session.position == (0, 1)
    assert not session.undo()


def test_an_environment_that_does_not_repeat_itself():
    session = InteractiveSession(DummyVecEnv([Forgetful]), left, np.random.default_rng(0))
    session.act(RIGHT)
    session.act(RIGHT)
    assert session.undo()
    assert not session.repeatable
    assert session.position == (1, 0)
    (kept,) = session.trajectories()
    assert len(kept) == 1


def test_sb3_policies_act_as_a_copy_until_refreshed():
    venv = DummyVecEnv([Walk])
    policy = ActorCriticPolicy(venv.observation_space, venv.action_space, lambda _: 1.0)

    def always(action):
        with th.no_grad():
            policy.action_net.weight.zero_()
            policy.action_net.bias.copy_(th.tensor([[50.0, 0.0], [0.0, 50.0]][action]))

    always(RIGHT)
    session = InteractiveSession(venv, policy, np.random.default_rng(0))
    policy.set_training_mode(True)
    always(LEFT)
    session.watch(2)
    assert policy.training  # somebody trains it, and is not disturbed
    session.refresh()
    session.watch(2)
    assert [int(step.executed) for step in session.episodes[0]] == [RIGHT, RIGHT, LEFT, LEFT]


def test_dict_observations_and_continuous_actions():
    class Both(Walk):
        observation_space = spaces.Dict({"x": Walk.observation_space, "t": spaces.Box(0, 9, (1,), np.float32)})
        action_space = spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, **kwargs):
            obs, info = super().reset(**kwargs)
            return {"x": obs, "t": np.zeros(1, np.float32)}, info

        def step(self, action):
            obs, *rest = super().step(action[0] > 0)
            return {"x": obs, "t": np.array([self.t], np.float32)}, *rest

    session = InteractiveSession(DummyVecEnv([Both]), None, np.random.default_rng(0))
    for _ in range(HORIZON):
        session.act([0.5])
    session.undo()
    (trajectory,) = session.trajectories()
    assert trajectory.obs.get("t")[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert trajectory.acts.shape == (HORIZON - 1, 1)
    with pytest.raises(ValueError, match=r"The action \[2.0\] is not in Box"):
        session.act([2.0])


def test_two_threads(session):
    threads = [threading.Thread(target=lambda: [session.act(RIGHT) for _ in range(50)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(map(len, session.trajectories())) == 100
    assert {len(t) for t in session.trajectories()} == {HORIZON}


def test_mistakes(session):
    with pytest.raises(ValueError, match=r"The action 2 is not in Discrete\(2\)"):
        session.act(2)
    alone = InteractiveSession(DummyVecEnv([Walk]), None, np.random.default_rng(0))
    assert not alone.has_policy
    for call in (alone.hand_back, alone.watch):
        with pytest.raises(ValueError, match="There is no policy to hand back to.*trainer.policy"):
            call()
    with pytest.raises(ValueError, match="venv has 2 environments, expected 1"):
        InteractiveSession(DummyVecEnv([Walk, Walk]), None, np.random.default_rng(0))
