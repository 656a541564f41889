"""MuJoCo's runners: always 1,000 steps, Gymnasium's physics and rewards, nothing written to the current folder."""

import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

import imitation_lab  # noqa: F401 registers the environments
from imitation_lab.envs import mujoco


@pytest.mark.parametrize("name", mujoco.NAMES)
def test_episodes_have_one_length(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    env = gym.make(f"imitation_lab/{name}-v0")
    env.reset(seed=0)
    env.action_space.seed(0)
    for step in range(1, 1001):
        obs, _, terminated, truncated, _ = env.step(env.action_space.sample())
        assert not terminated
        assert truncated == (step == 1000)
    assert np.isfinite(obs).all()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", mujoco.NAMES)
def test_physics_and_rewards_are_gymnasiums(name: str) -> None:
    ours, theirs = gym.make(f"imitation_lab/{name}-v0"), gym.make(f"{name}-v5")
    a, b = ours.reset(seed=3)[0], theirs.reset(seed=3)[0]
    np.testing.assert_array_equal(a, b)
    ours.action_space.seed(1)
    for _ in range(100):
        action = 0.3 * ours.action_space.sample()
        (a, reward_a, *_), (b, reward_b, ended, *_) = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(a, b)
        if ended:  # Gymnasium's pays 0 for health in this step, too
            break
        assert reward_a == reward_b


def test_a_fallen_hopper_earns_no_healthy_reward() -> None:
    env = gym.make("imitation_lab/Hopper-v0")
    env.reset(seed=0)
    rewards = [float(env.step(np.ones(3, np.float32))[1]) for _ in range(300)]
    assert not env.unwrapped.is_healthy
    assert rewards[0] > 0.9  # healthy: 1 a step, less the cost of control
    assert np.mean(rewards[-50:]) < 0.5


def test_bad_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"There is no environment 'Humanoid'; there are Ant, HalfCheetah"):
        mujoco.make("Humanoid")
    with pytest.raises(ValueError, match=r"variable horizon. Use gymnasium.make\(\"Hopper-v5\"\)"):
        mujoco.make("Hopper", terminate_when_unhealthy=True)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ImportError, match=r'pip install "imitation-lab\[mujoco\]"'):
        mujoco.make("Hopper")
