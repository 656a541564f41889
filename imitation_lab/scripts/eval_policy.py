r"""Evaluates a policy: statistics, videos, saved episodes.

python -m imitation_lab.scripts.eval_policy with cartpole eval_n_episodes=20
python -m imitation_lab.scripts.eval_policy with cartpole video
python -m imitation_lab.scripts.train_rl with cartpole logging.log_dir=output/mine
python -m imitation_lab.scripts.eval_policy with cartpole expert.policy_type=ppo \
    expert.loader_kwargs.path=output/mine/policies/final
"""

# ruff: noqa: B008 (defaults are never changed)
from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from imitation_lab.data import rollout, serialize
from imitation_lab.policies.exploration_wrapper import ExplorationWrapper
from imitation_lab.scripts import _engine, _names
from imitation_lab.scripts._schema import Count, Natural
from imitation_lab.scripts.ingredients import Environment, Expert, Logging
from imitation_lab.scripts.ingredients.policy_evaluation import statistics
from imitation_lab.scripts.ingredients.reward import learned_reward
from imitation_lab.scripts.output import streams
from imitation_lab.util import checks
from imitation_lab.util.video_wrapper import VideoWrapper

__all__ = ["eval_policy", "eval_policy_ex", "main_console"]


def eval_policy(
    *,
    eval_n_timesteps: Count | None = 10_000,
    eval_n_episodes: Count | None = None,
    videos: bool = False,
    video_kwargs: Mapping[str, Any] = {},
    render: bool = False,
    render_fps: float = 60.0,
    reward_type: str | None = None,
    reward_path: str | None = None,
    rollout_save_path: str | None = None,
    explore_kwargs: Mapping[str, Any] | None = None,
    environment: Environment = Environment(),
    expert: Expert = Expert(),
    logging: Logging = Logging(),
    seed: Natural | None = None,
) -> dict[str, float]:
    """Evaluates a policy.

    Args:
        eval_n_timesteps: at least so many steps; None asks for episodes alone.
        eval_n_episodes: at least so many episodes; None asks for steps alone.
        videos: whether to record videos, in videos/<copy>, of every step; the named configuration video records few.
        video_kwargs: for `VideoWrapper`: single_video, format, fps.
        render: whether to show the environments on the screen.
        render_fps: at most so many frames a second then.
        reward_type: a learned reward to count in place of the environment's: a key of `reward_registry`.
        reward_path: its file.
        rollout_save_path: file for the episodes, below the run's folder unless absolute.
        explore_kwargs: acts at random now and then: {"random_prob": …, "switch_prob": …}; None never does.
        environment: see there.
        expert: see there; the policy to evaluate.
        logging: see there.
        seed: of everything random; None draws one.

    Returns:
        Statistics of the episodes.
    """
    if videos and render:
        raise ValueError("videos and render exclude each other: an environment draws either frames or a window.")
    checks.positive(render_fps=render_fps)
    _names.check("video_kwargs", dict(video_kwargs), VideoWrapper)
    until = rollout.make_sample_until(eval_n_timesteps, eval_n_episodes)
    rng, _ = streams(seed)
    changes: dict[str, Any] = {}
    if videos or render:
        mode = "rgb_array" if videos else "human"
        changes["env_make_kwargs"] = {**environment.env_make_kwargs, "render_mode": mode}

    def shown(env: gym.Env, copy: int) -> gym.Env:
        return VideoWrapper(env, out / "videos" / str(copy), **video_kwargs) if videos else _Paced(env, render_fps)

    wrappers = [shown] if changes else []
    with (
        logging.start("eval_policy", environment.gym_id) as out,
        environment.venv(rng, out.folder, wrappers=wrappers, **changes) as venv,
    ):
        policy: Any = expert.load(venv, environment.gym_id)
        acting = venv
        if reward_type is not None:
            acting = learned_reward(venv, reward_type, reward_path)
        if explore_kwargs is not None:
            policy = _names.call("explore_kwargs", ExplorationWrapper, policy, acting, rng=rng, **explore_kwargs)
        trajectories = rollout.generate_trajectories(policy, acting, until, rng)
    if rollout_save_path is not None:
        episodes = [rollout.unwrap_traj(trajectory) for trajectory in trajectories]
        serialize.save(out / rollout_save_path, episodes)
    return statistics(trajectories)


class _Paced(gym.Wrapper):
    """Steps at most so many times a second."""

    def __init__(self, env: gym.Env, fps: float) -> None:
        super().__init__(env)
        self._pause, self._next = 1 / fps, 0.0

    def step(self, action: Any) -> Any:
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = time.monotonic() + self._pause
        return self.env.step(action)


eval_policy_ex, main_console = _engine.script("eval_policy", eval_policy)

if __name__ == "__main__":
    main_console()
