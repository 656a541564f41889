import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from stable_baselines3.common.env_checker import check_env as check_sb3

import imitation_lab  # noqa: F401
from imitation_lab.envs.classic import FixedHorizonCartPole, FixedHorizonMountainCar

IDS = ["imitation_lab/CartPole-v0", "imitation_lab/MountainCar-v0"]
STANDARD = {"imitation_lab/CartPole-v0": "CartPole-v1", "imitation_lab/MountainCar-v0": "MountainCar-v0"}
HORIZON = {"imitation_lab/CartPole-v0": 500, "imitation_lab/MountainCar-v0": 200}


def run(env, policy, seed):
    """One episode; returns observations, rewards and the two flags of each step."""
    obs, _ = env.reset(seed=seed)
    observations, rewards, flags = [obs], [], []
    while not flags or not any(flags[-1]):
        obs, reward, terminated, truncated, _ = env.step(policy(obs))
        observations.append(obs)
        rewards.append(reward)
        flags.append((terminated, truncated))
    return np.array(observations), np.array(rewards), flags


def left(obs):
    return 0


def swing(obs):
    """Pushes with the car's motion: reaches the goal of MountainCar in about 120 steps."""
    return 2 if obs[1] >= 0 else 0


@pytest.mark.parametrize("env_id", IDS)
def test_checkers_accept_the_environment(env_id):
    with warnings.catch_warnings():
        # CartPole's velocities are unbounded, in Gymnasium's own environment too.
        warnings.filterwarnings("ignore", message=".*A Box observation space m.+um value is -?infinity")
        check_gymnasium(gym.make(env_id, render_mode="rgb_array").unwrapped, skip_close_check=True)
    with gym.make(env_id) as env:
        check_sb3(env)


@pytest.mark.parametrize("env_id", IDS)
def test_every_episode_has_the_horizon_and_is_truncated(env_id):
    with gym.make(env_id) as env:
        for seed in range(3):
            _, rewards, flags = run(env, left, seed)
            assert len(rewards) == HORIZON[env_id]
            assert flags == [(False, False)] * (HORIZON[env_id] - 1) + [(False, True)]


@pytest.mark.parametrize(("env_id", "policy"), [(IDS[0], left), (IDS[1], swing)])
def test_return_and_live_steps_equal_the_standard_environment(env_id, policy):
    with gym.make(env_id) as fixed, gym.make(STANDARD[env_id]) as standard:
        for seed in range(3):
            obs, rewards, _ = run(fixed, policy, seed)
            standard_obs, standard_rewards, _ = run(standard, policy, seed)
            live = len(standard_rewards)
            assert live < HORIZON[env_id]
            np.testing.assert_array_equal(obs[: live + 1], standard_obs)
            np.testing.assert_array_equal(rewards[:live], standard_rewards)
            assert not rewards[live:].any()
            # Absorbed: the state stands still.
            np.testing.assert_array_equal(obs[live:], np.broadcast_to(obs[live], obs[live:].shape))
            assert fixed.observation_space.contains(obs[-1])


def test_absorbed_flag_and_reset_lift_the_absorption():
    env = FixedHorizonCartPole()
    env.reset(seed=0)
    absorbed = [env.step(0)[4]["absorbed"] for _ in range(20)]
    assert absorbed == sorted(absorbed)
    assert absorbed[-1]
    env.reset(seed=0)
    assert env.step(0)[1:] == (1.0, False, False, {"absorbed": False})


def test_one_step_of_longer_pole_matches_the_equations():
    # From rest, upright: x'' = F/M - m·l·θ''/M and θ'' = -F/M / (l(4/3 - m/M)), F = 10, m = 0.1, M = 1.1.
    for length in (0.5, 1.0):
        env = FixedHorizonCartPole(dynamics={"length": length})
        env.reset(options={"low": 0.0, "high": 0.0})
        obs = env.step(1)[0]
        theta_acc = -(10 / 1.1) / (length * (4 / 3 - 0.1 / 1.1))
        x_acc = 10 / 1.1 - 0.1 * length * theta_acc / 1.1
        np.testing.assert_allclose(obs, [0, 0.02 * x_acc, 0, 0.02 * theta_acc], rtol=1e-6)


def test_dynamics_update_what_follows_from_them():
    env = FixedHorizonCartPole(dynamics={"masscart": 2.0, "masspole": 0.5, "length": 0.8})
    assert env.total_mass == 2.5
    assert env.polemass_length == 0.4


def test_mountain_car_force_changes_the_velocity():
    env = gym.make(IDS[1], dynamics={"force": 0.002})
    env.reset(seed=0)
    position = env.unwrapped.state[0]
    obs = env.step(2)[0]
    np.testing.assert_allclose(obs[1], 0.002 - 0.0025 * np.cos(3 * position), rtol=1e-5)
    env.close()


@pytest.mark.parametrize(
    ("cls", "dynamics", "message"),
    [
        (FixedHorizonCartPole, {"lenght": 1.0}, "no dynamics parameter 'lenght'; it has gravity, masscart"),
        (
            FixedHorizonCartPole,
            {"length": -1.0},
            r"dynamics\['length'\] must be a positive finite number, got -1.0",
        ),
        (FixedHorizonCartPole, {"gravity": float("nan")}, "must be a finite number, got nan"),
        (FixedHorizonMountainCar, {"force": "strong"}, "must be a finite number, got 'strong'"),
    ],
)
def test_wrong_dynamics_are_refused(cls, dynamics, message):
    with pytest.raises(ValueError, match=message):
        cls(dynamics=dynamics)


@pytest.mark.parametrize("env_id", IDS)
def test_renders_frames_also_after_absorption(env_id):
    with gym.make(env_id, render_mode="rgb_array", max_episode_steps=30) as env:
        env.reset(seed=0)
        for _ in range(15):
            env.step(0)
        frame = env.render()
    assert frame.shape == (400, 600, 3)
    assert frame.dtype == np.uint8
    assert frame.min() < 100 < frame.max()
