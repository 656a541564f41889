from collections import deque

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet
from imitation_lab.rewards.reward_wrapper import RewardVecEnvWrapper, WrappedRewardCallback
from imitation_lab.util.networks import RunningNorm


class Count(gym.Env):
    """Observes the time step; ends after `length` steps; reward 10."""

    action_space = spaces.Discrete(2)

    def __init__(self, length: int, mapping: bool = False):
        box = spaces.Box(0, 100, (1,), np.float32)
        self.observation_space = spaces.Dict(t=box, n=spaces.Discrete(100)) if mapping else box
        self.length, self.mapping = length, mapping

    def _obs(self):
        obs = np.array([self.t], np.float32)
        return {"t": obs, "n": self.t} if self.mapping else obs

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._obs(), {}

    def step(self, action):
        self.t += 1
        return self._obs(), 10.0, self.t >= self.length, False, {}


class Spy:
    """Reward: the next state's time step; keeps what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, state, action, next_state, done):
        copied = [
            {k: v.copy() for k, v in x.items()} if isinstance(x, dict) else np.array(x)
            for x in (state, action, next_state, done)
        ]
        self.calls.append(copied)
        return (next_state["t"] if isinstance(next_state, dict) else next_state)[:, 0]


def make(*lengths, mapping=False):
    return DummyVecEnv([lambda length=length: Count(length, mapping) for length in lengths])


@pytest.mark.parametrize("mapping", [False, True])
def test_rewards_are_replaced_and_the_last_observation_is_true(mapping):
    spy = Spy()
    venv = RewardVecEnvWrapper(make(2, 3, mapping=mapping), spy)
    read = lambda obs: (obs["t"] if mapping else obs)[:, 0].tolist()
    assert read(venv.reset()) == [0, 0]
    seen = []
    for step in range(3):
        obs, rewards, _, infos = venv.step(np.array([step % 2, 1]))
        seen.append((read(obs), rewards.tolist()))
        assert [info["original_env_rew"] for info in infos] == [10, 10]
    assert seen == [([1, 1], [1, 1]), ([0, 2], [2, 2]), ([1, 0], [1, 3])]
    assert len(spy.calls) == 3  # once per vector step
    assert [read(call[0]) for call in spy.calls] == [[0, 0], [1, 1], [0, 2]]
    assert [read(call[2]) for call in spy.calls] == [[1, 1], [2, 2], [1, 3]]
    assert [call[1].tolist() for call in spy.calls] == [[0, 1], [1, 1], [0, 1]]
    assert [call[3].tolist() for call in spy.calls] == [[0, 0], [1, 0], [0, 1]]
    assert list(venv.episode_rewards) == [1 + 2, 1 + 2 + 3]
    if mapping:
        assert spy.calls[1][2]["n"].tolist() == [2, 2]


def test_history_keeps_the_latest_episodes():
    venv = RewardVecEnvWrapper(make(1), lambda s, a, n, d: np.array([next(numbers)]), ep_history=3)
    numbers = iter(range(10))
    venv.reset()
    for _ in range(5):
        venv.step(np.array([0]))
    assert list(venv.episode_rewards) == [2, 3, 4]


def test_a_reset_drops_unfinished_returns():
    venv = RewardVecEnvWrapper(make(2), Spy())
    venv.reset()
    venv.step(np.array([0]))
    venv.reset()
    venv.step(np.array([0]))
    venv.step(np.array([0]))
    assert list(venv.episode_rewards) == [3]


def test_stepping_without_reset_resets():
    venv = RewardVecEnvWrapper(make(2), Spy())
    assert venv.step(np.array([0]))[0].tolist() == [[1]]


def test_callback_logs_the_mean(tmp_path):
    net = BasicRewardNet(make(1).observation_space, spaces.Discrete(2))
    venv = RewardVecEnvWrapper(make(4, 4), net.predict_processed)
    algo = PPO("MlpPolicy", venv, n_steps=8, batch_size=16, n_epochs=1, seed=0, device="cpu")
    algo.set_logger(configure(str(tmp_path), ["csv"]))
    algo.learn(32, callback=venv.make_log_callback())
    algo.logger.close()
    header, *rows = (tmp_path / "progress.csv").read_text().splitlines()
    column = header.split(",").index("rollout/ep_rew_wrapped_mean")
    # Logged at the start of the second rollout: the four episodes of the first.
    assert float(rows[-1].split(",")[column]) == pytest.approx(np.mean(list(venv.episode_rewards)[:4]), rel=1e-4)


def test_callback_without_episodes_logs_nothing():
    callback = WrappedRewardCallback(deque())
    callback._on_rollout_start()  # has no logger yet: would raise if it tried to record
    assert callback._on_step()


def test_networks_serve_as_reward_functions():
    venv = make(3, 3)
    net = NormalizedRewardNet(BasicRewardNet(venv.observation_space, venv.action_space), RunningNorm)
    wrapped = RewardVecEnvWrapper(venv, net.predict_processed)
    wrapped.reset()
    _, rewards, _, _ = wrapped.step(np.array([0, 1]))
    assert rewards.shape == (2,)
    assert net.normalize_output_layer.count.item() == 2
    assert len(wrapped.envs) == 2
    wrapped.close()


def test_mistakes_are_named():
    venv = make(1, 1)
    with pytest.raises(TypeError, match=r"reward_fn must be callable.*net.predict_processed"):
        RewardVecEnvWrapper(venv, 3)
    with pytest.raises(ValueError, match="ep_history must be at least 1, got 0"):
        RewardVecEnvWrapper(venv, Spy(), ep_history=0)
    wrong = RewardVecEnvWrapper(venv, lambda s, a, n, d: np.zeros((2, 1)))
    wrong.reset()
    with pytest.raises(ValueError, match=r"returned shape \(2, 1\) for 2 environments; expected \(2,\)"):
        wrong.step(np.array([0, 0]))


def test_a_missing_last_observation_is_named():
    class Forgetful(DummyVecEnv):
        def step_wait(self):
            obs, rewards, dones, infos = super().step_wait()
            return obs, rewards, dones, [{} for _ in infos]

    venv = RewardVecEnvWrapper(Forgetful([lambda: Count(1)]), Spy())
    venv.reset()
    with pytest.raises(ValueError, match="without 'terminal_observation'"):
        venv.step(np.array([0]))
