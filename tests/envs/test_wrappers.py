import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

from imitation_lab.envs.wrappers import AbsorbAfterDone, AutoReset


class Countdown(gym.Env):
    """Counts 1, 2, 3, …, its reward the count; ends at `end` by the flag `how`."""

    observation_space = gym.spaces.Box(0, 100, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, end=3, how="terminated"):
        self.end, self.how, self.count, self.resets = end, how, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        self.resets += 1
        self.seed_given = seed
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.count += 1
        done = self.count >= self.end
        obs = np.full(1, self.count, np.float32)
        return obs, float(self.count), done and self.how == "terminated", done and self.how == "truncated", {}


def episode(env, seed=0):
    env.reset(seed=seed)
    obs, rewards, ends = [], [], []
    while not ends or not ends[-1]:
        o, r, terminated, truncated, _ = env.step(0)
        assert not terminated
        obs.append(float(o[0]))
        rewards.append(r)
        ends.append(truncated)
    return obs, rewards


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_absorb_keeps_the_last_observation(how):
    env = AbsorbAfterDone(Countdown(how=how), horizon=6, absorb_reward=-0.5)
    for _ in range(2):
        assert episode(env) == ([1, 2, 3, 3, 3, 3], [1, 2, 3, -0.5, -0.5, -0.5])


def test_absorb_into_a_given_observation_after_the_true_last_one():
    env = AbsorbAfterDone(Countdown(), horizon=5, absorb_obs=np.array([50], np.float32))
    assert episode(env) == ([1, 2, 3, 50, 50], [1, 2, 3, 0, 0])


def test_absorb_hands_out_copies():
    env = AbsorbAfterDone(Countdown(end=1), horizon=4)
    env.reset(seed=0)
    env.step(0)
    env.step(0)[0][0] = 99
    assert env.step(0)[0][0] == 1


@pytest.mark.parametrize("wrapper", [AbsorbAfterDone, AutoReset])
def test_horizon_cuts_longer_episodes(wrapper):
    assert episode(wrapper(Countdown(end=10), horizon=4)) == ([1, 2, 3, 4], [1, 2, 3, 4])


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_auto_reset_strings_episodes_together(how):
    env = AutoReset(Countdown(how=how), horizon=7)
    for _ in range(2):
        assert episode(env) == ([1, 2, 0, 1, 2, 0, 1], [1, 2, 3, 1, 2, 3, 1])


def test_auto_reset_shows_the_true_observation_at_the_horizon_and_in_info():
    env = AutoReset(Countdown(), horizon=6)
    assert episode(env)[0] == [1, 2, 0, 1, 2, 3]
    env.reset(seed=5)
    assert env.unwrapped.seed_given == 5
    infos = [env.step(0)[4] for _ in range(3)]
    assert infos[2]["inner_final_observation"] == [3]
    assert env.unwrapped.seed_given is None  # inner resets go on with the generator


@pytest.mark.parametrize("wrapper", [AbsorbAfterDone, AutoReset])
def test_checkers_accept_wrapped_environments(wrapper):
    # Acrobot's space is bounded, so that the checkers have nothing to warn of but the wrapper itself.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_gymnasium(wrapper(gym.make("Acrobot-v1").unwrapped, horizon=50), skip_render_check=True)
    check_sb3(wrapper(gym.make("Acrobot-v1"), horizon=50))


@pytest.mark.parametrize("wrapper", [AbsorbAfterDone, AutoReset])
def test_wrapped_environment_can_be_made_again_from_its_spec(wrapper):
    env = wrapper(gym.make("Acrobot-v1"), horizon=5)
    again = gym.make(env.spec)
    assert type(again) is wrapper
    assert again.horizon == 5


@pytest.mark.parametrize("wrapper", [AbsorbAfterDone, AutoReset])
@pytest.mark.parametrize("horizon", [0, -1, 2.5, True])
def test_wrong_horizon_is_refused(wrapper, horizon):
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1, got"):
        wrapper(Countdown(), horizon=horizon)


def test_absorb_obs_outside_the_space_is_refused():
    with pytest.raises(ValueError, match="is not in the observation space"):
        AbsorbAfterDone(Countdown(), horizon=5, absorb_obs=np.array([500], np.float32))
