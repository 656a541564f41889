from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.viz import episodes


def test_recording_keeps_states_actions_rewards_and_pictures():
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    seen = []

    def policy(obs):
        seen.append(obs[0].copy())
        return (obs[:, 2] > 0).astype(int)

    episode = episodes.record_episode(env, policy, seed=3, frame_width=100)
    assert episode.total == len(episode) == len(seen)
    np.testing.assert_array_equal(episode.obs, seen)
    np.testing.assert_array_equal(episode.acts, (episode.obs[:, 2] > 0).astype(int))
    assert episode.frames.shape[2] == 100
    np.testing.assert_array_equal(episode.frame_steps, np.arange(len(episode)))
    first, _ = gym.make("CartPole-v1").reset(seed=3)
    np.testing.assert_array_equal(episode.obs[0], first)


def test_pictures_are_bounded_and_evenly_spaced():
    env = gym.make("Pendulum-v1", render_mode="rgb_array")
    episode = episodes.record_episode(env, seed=0, max_frames=10, frame_width=64)
    assert len(episode) == 200
    assert len(episode.frames) <= 10
    assert set(np.diff(episode.frame_steps)) == {32}
    assert episode.frames.dtype == np.uint8


def test_recording_repeats_under_its_seed_and_takes_vec_envs():
    first = episodes.record_episode(gym.make("Pendulum-v1"), seed=5, max_steps=20)
    venv = DummyVecEnv([lambda: gym.make("Pendulum-v1")] * 2)
    assert first.frames is None
    assert len(first) == 20
    again = episodes.record_episode(gym.make("Pendulum-v1"), seed=5, max_steps=20)
    np.testing.assert_array_equal(first.acts, again.acts)
    zero = lambda obs: np.zeros((len(obs), 1), np.float32)
    single = episodes.record_episode(gym.make("Pendulum-v1"), zero, seed=5, max_steps=20)
    np.testing.assert_array_equal(episodes.record_episode(venv, zero, seed=5, max_steps=20).obs, single.obs)


def test_recording_refuses_what_is_no_environment():
    with pytest.raises(TypeError, match="must be a gymnasium.Env or an SB3 VecEnv, got str"):
        episodes.record_episode("CartPole-v1")
    with pytest.raises(ValueError, match="max_frames must be at least 2"):
        episodes.record_episode(gym.make("CartPole-v1"), max_frames=1)


def test_episodes_are_checked():
    with pytest.raises(ValueError, match="one entry per step"):
        episodes.Episode(acts=np.zeros(3), rews=np.zeros(2))
    with pytest.raises(ValueError, match=r"shape \(n, height, width, 3\)"):
        episodes.Episode(frames=np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="at least frames"):
        episodes.Episode()
    with pytest.raises(ValueError, match="give one step each"):
        episodes.Episode(frames=np.zeros((3, 4, 4, 3)), frame_steps=np.arange(2))


def test_trajectories_lose_their_last_observation():
    trajectory = SimpleNamespace(obs=np.zeros((4, 2)), acts=np.zeros(3), rews=np.array([1.0, 2.0, 3.0]))
    episode = episodes.Episode.of(trajectory)
    assert (len(episode.obs), len(episode), episode.total) == (3, 3, 6)
    assert len(episodes.Episode.of(np.zeros((5, 8, 8, 3), np.uint8))) == 5


def test_figure_shows_the_step_and_the_return_so_far():
    episode = episodes.Episode(obs=np.zeros((4, 2)), acts=np.array([0, 1, 0, 1]), rews=np.array([1.0, 2.0, -4.0, 8.0]))
    figure = episodes.episode_figure(episode, 2)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "step 3 of 4: reward −4, return so far −1" in texts
    texts = [t.get_text() for axes in episodes.episode_figure(episode, -1).axes for t in axes.texts]
    assert "step 4 of 4: reward 8, return so far 7" in texts


def test_shorter_episodes_stay_at_their_end():
    short = episodes.Episode(rews=np.ones(2))
    long = episodes.Episode(rews=np.ones(5), acts=np.zeros((5, 2)))
    panel = episodes.EpisodePanel({"learner": short, "expert": long})
    panel.show(4)
    texts = [t.get_text() for axes in panel.figure.axes for t in axes.texts]
    assert "step 2 of 2: reward 1, return so far 2" in texts
    assert episodes.films([panel], 3, 10**6)[0] == [0, 2, 4]
    pngs = panel.pngs([0, 4])
    assert pngs[0] != pngs[1]
    with pytest.raises(ValueError, match="one to three episodes"):
        episodes.EpisodePanel({})


def test_the_picture_is_the_latest_one_taken():
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[1] = 200
    panel = episodes.EpisodePanel(episodes.Episode(frames=frames, frame_steps=np.array([0, 3]), rews=np.ones(6)))
    shown = lambda: int(panel.figure.axes[0].images[0].get_array().max())
    panel.show(2)
    assert shown() == 0
    panel.show(5)
    assert shown() == 200
