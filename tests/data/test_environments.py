"""Each way in takes the same environments, and says the same of those it cannot take, before anything is stepped."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.data import demonstrations, rollout, wrappers

UNTIL = rollout.make_min_episodes(2)
WAYS_IN = {
    "rollout": lambda env, rng: rollout.rollout(None, env, UNTIL, rng),
    "generate_trajectories": lambda env, rng: rollout.generate_trajectories(None, env, UNTIL, rng),
    "generate_transitions": lambda env, rng: rollout.generate_transitions(None, env, 5, rng),
    "policy_to_callable": lambda env, rng: rollout.policy_to_callable(None, env),
    "from_policy": lambda env, rng: demonstrations.from_policy(None, env, 2, rng),
    "BufferingWrapper": lambda env, rng: wrappers.BufferingWrapper(env),
}


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("enter", [*WAYS_IN.values(), lambda env, rng: wrappers.RolloutInfoWrapper(env)])
def test_gymnasiums_own_vector_environments_are_refused(enter, mode, rng):
    env = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=mode)
    with pytest.raises(TypeError, match=r"is a SyncVectorEnv of Gymnasium's, .*make_vec_env\(.*DummyVecEnv\(\["):
        enter(env, rng)


@pytest.mark.parametrize("enter", [*WAYS_IN.values(), lambda env, rng: wrappers.RolloutInfoWrapper(env)])
def test_what_is_no_environment(enter, rng):
    with pytest.raises(TypeError, match="env is a int, expected an environment"):
        enter(3, rng)


def test_an_environment_by_itself(counting_venv, check_counting, rng):
    def one():
        return counting_venv([3, 2]).envs[0]

    for found in (
        rollout.generate_trajectories(None, one(), UNTIL, rng),
        rollout.rollout(None, one(), UNTIL, rng, exclude_infos=False),
        rollout.rollout(None, wrappers.RolloutInfoWrapper(one()), UNTIL, rng, exclude_infos=False),
        rollout.rollout(None, one(), UNTIL, rng, unwrap=False, exclude_infos=False),
        demonstrations.from_policy(None, wrappers.RolloutInfoWrapper(one()), 2, rng),
    ):
        assert sorted(map(len, found)) == [2, 3]
    assert [check_counting(t)[2] for t in sorted(rollout.generate_trajectories(None, one(), UNTIL, rng), key=len)] == [
        2,
        3,
    ]
    assert len(rollout.generate_transitions(None, one(), 4, rng)) == 4
    assert rollout.policy_to_callable(lambda obs: np.zeros(len(obs), int), one())(np.zeros((1, 3)), None, None)[0] == [
        0
    ]


def test_a_buffering_wrapper_around_an_environment_by_itself(counting_venv):
    venv = wrappers.BufferingWrapper(counting_venv([3]).envs[0])
    venv.reset()
    for _ in range(3):
        venv.step(np.array([1]))
    assert [len(t) for t in venv.pop_trajectories()[0]] == [3]


def test_wrappers_around_an_environment_show_in_its_rollout(rng):
    """The original observations come from below the wrappers that were there before the record was."""

    class Doubled(gym.ObservationWrapper):
        def observation(self, observation):
            return 2 * observation

    inner = wrappers.RolloutInfoWrapper(gym.make("CartPole-v1"))
    for env in (Doubled(inner), DummyVecEnv([lambda: Doubled(inner)])):
        unwrapped, seen = (
            rollout.rollout(lambda obs: np.zeros(len(obs), int), env, rollout.make_min_episodes(20), rng, unwrap=unwrap)
            for unwrap in (True, False)
        )
        assert all(np.abs(t.obs[0]).max() <= 0.05 for t in unwrapped)
        assert max(np.abs(t.obs[0]).max() for t in seen) > 0.05
