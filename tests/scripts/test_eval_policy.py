"""Evaluation: statistics, videos, saved episodes, learned rewards, exploration."""

import pytest

from imitation_lab.data import serialize
from imitation_lab.rewards.reward_nets import BasicRewardNet
from imitation_lab.rewards.serialize import save_reward
from imitation_lab.scripts import eval_policy
from imitation_lab.scripts.ingredients.environment import Environment


def run(*named, **updates):
    return eval_policy.eval_policy_ex.run(
        None, {"seed": 0, **updates}, [*named, "logging.quiet"], options={"--loglevel": "CRITICAL"}
    )


def test_the_bundled_expert_reaches_its_return(tmp_path):
    result = run("fixed_cartpole", eval_n_timesteps=None, eval_n_episodes=4, environment={"num_vec": 2}).result
    assert result["n_traj"] >= 4
    assert result["return_mean"] > 490
    assert result["monitor_return_mean"] == result["return_mean"]


def test_videos_and_episodes_are_saved(tmp_path):
    updates = {"rollout_save_path": "episodes.safetensors", "logging": {"log_dir": "here"}}
    done = run("cartpole", "fast", videos=True, video_kwargs={"format": "gif"}, **updates)
    assert {path.name for path in (tmp_path / "here/videos").iterdir()} == {"0", "1"}
    assert (tmp_path / "here/videos/0/video.000000.gif").read_bytes().startswith(b"GIF")
    episodes = serialize.load_with_rewards(tmp_path / "here/episodes.safetensors")
    assert sum(episode.rews.sum() for episode in episodes) == done.result["return_mean"] * done.result["n_traj"]


def test_a_learned_reward_is_counted_beside_the_environments_own(tmp_path, rng):
    with Environment(gym_id="CartPole-v1", num_vec=1).venv(rng) as venv:
        save_reward(BasicRewardNet(venv.observation_space, venv.action_space), tmp_path / "net.safetensors")
    updates = {"reward_type": "RewardNet_unshaped", "reward_path": str(tmp_path / "net.safetensors")}
    result = run("cartpole", "fast", **updates).result
    assert result["monitor_return_mean"] == 20
    assert result["return_mean"] != 20
    with pytest.raises(ValueError, match="needs reward_path=FILE"):
        run("cartpole", "fast", reward_type="RewardNet_unshaped")
    with pytest.raises(FileNotFoundError):
        run("cartpole", "fast", reward_type="RewardNet_unshaped", reward_path="missing")


def test_exploration_makes_the_expert_worse():
    updates = {"eval_n_timesteps": None, "eval_n_episodes": 4}
    random = run("pendulum", explore_kwargs={"random_prob": 1.0, "switch_prob": 1.0}, **updates).result
    assert random["return_mean"] < run("pendulum", **updates).result["return_mean"] - 300
    with pytest.raises(ValueError, match="explore_kwargs.random: ExplorationWrapper has no argument 'random'"):
        run("cartpole", "fast", explore_kwargs={"random": 1})


def test_contradictions_are_told():
    with pytest.raises(ValueError, match="videos and render exclude each other"):
        run("cartpole", "fast", videos=True, render=True)
    with pytest.raises(ValueError, match="render_fps must be positive"):
        run("cartpole", "fast", render=True, render_fps=0)
    with pytest.raises(ValueError, match="video_kwargs.formt: .* has no argument 'formt'. Did you mean 'format'"):
        run("cartpole", "fast", videos=True, video_kwargs={"formt": "gif"})
