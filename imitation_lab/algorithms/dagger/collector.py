"""Collecting DAgger's demonstrations: learner and expert take turns, the expert's actions are kept."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from imitation_lab.data import serialize, types
from imitation_lab.data.recorder import StepRecorder, check_observation, last_observation
from imitation_lab.data.rollout import AnyPolicy, policy_to_callable
from imitation_lab.data.spaces import cast_acts
from imitation_lab.util import util

__all__ = ["demonstration_files", "save_demonstrations", "RobotActs", "InteractiveTrajectoryCollector"]

_FILE = re.compile(r"demo-(\d+)\.safetensors")


def demonstration_files(folder: types.AnyPath) -> list[pathlib.Path]:
    """The demonstrations saved in a folder, in the order of saving; none if it does not exist."""
    path = pathlib.Path(os.fsdecode(folder))
    found = [(int(match[1]), p) for p in path.iterdir() if (match := _FILE.fullmatch(p.name))] if path.is_dir() else []
    return [p for _, p in sorted(found)]


def save_demonstrations(folder: types.AnyPath, trajectories: Sequence[types.Trajectory]) -> pathlib.Path:
    """Saves trajectories beside those in `folder`, as one file in the native format, whole or not at all."""
    files = demonstration_files(folder)
    number = 1 + int(files[-1].stem.removeprefix("demo-")) if files else 0
    path = pathlib.Path(os.fsdecode(folder)) / f"demo-{number:05d}.safetensors"
    serialize.save(path, trajectories)
    return path


class RobotActs:
    """A policy's actions; what they draw comes from a stream of its own, and leaves the global generators as they were.

    Args:
        policy: what acts; if it is no SB3 policy, it may draw from generators of its own.
        venv: where.
        rng: seeds the stream.
    """

    def __init__(self, policy: AnyPolicy, venv: VecEnv, rng: np.random.Generator) -> None:
        self._act = policy_to_callable(policy, venv)
        self._starts = np.zeros(venv.num_envs, dtype=bool)
        device = getattr(policy, "device", th.device("cpu"))
        self._global = th.cuda.default_generators[device.index or 0] if device.type == "cuda" else th.default_generator
        self._stream = th.Generator(device).manual_seed(util.make_seeds(rng)).get_state()

    def __call__(self, obs: Any) -> np.ndarray:
        """Actions `(n_envs, *act_shape)` for observations `(n_envs, *obs_shape)`."""
        before = self._global.get_state()
        self._global.set_state(self._stream)
        try:
            return self._act(obs, None, self._starts)[0]
        finally:
            self._stream = self._global.get_state()
            self._global.set_state(before)


class InteractiveTrajectoryCollector(VecEnvWrapper):
    """Environments that are stepped with the expert's actions, and act with these or the learner's, at random.

    What is recorded is the observation with the expert's action, whoever acted: a label for a state that the mixture
    of both reaches. Each episode is saved when it ends; an interrupt leaves all that were saved whole.

    Args:
        venv: the environments.
        get_robot_acts: the learner: observations `(n_envs, *obs_shape)` to actions `(n_envs, *act_shape)`.
        beta: probability that the expert acts, drawn for each environment and step; in [0, 1].
        save_dir: where episodes are saved, beside those there are.
        rng: draws who acts.

    Attributes:
        beta: as given.
        save_dir: as given, a path.
        rng: as given.
        n_episodes: episodes saved.
        n_timesteps: their steps, each of which carries a label.

    Raises:
        ValueError: `beta` is not a probability.
    """

    def __init__(
        self,
        venv: VecEnv,
        get_robot_acts: Callable[[Any], np.ndarray],
        beta: float,
        save_dir: types.AnyPath,
        rng: np.random.Generator,
    ) -> None:
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is {beta}, expected a probability in [0, 1].")
        super().__init__(venv)
        self.get_robot_acts = get_robot_acts
        self.beta = beta
        self.save_dir = util.parse_path(save_dir)
        self.rng = rng
        self.n_episodes = 0
        self.n_timesteps = 0
        self._recorder: StepRecorder | None = None
        self._last_obs: Any = None
        self._acts: np.ndarray | None = None

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds the environments, from their next reset on, and who acts."""
        self.rng = np.random.default_rng(seed)
        return list(self.venv.seed(seed))

    def reset(self) -> VecEnvObs:
        """Begins new episodes; running ones are dropped (see `save_running`)."""
        self._recorder = StepRecorder(self.num_envs)
        self._last_obs = self.venv.reset()
        check_observation(self._last_obs)
        return self._last_obs

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the expert's actions `(n_envs, *act_shape)`, and steps with these or the learner's.

        Raises:
            ValueError: before a `reset`, or an action is of another shape or not in the action space.
        """
        if self._recorder is None:
            raise ValueError("The collector was stepped before reset(): call reset() first, as in any environment.")
        expert = np.asarray(actions)
        cast_acts("the expert's actions", th.as_tensor(expert), self.action_space)
        if len(expert) != self.num_envs:
            raise ValueError(f"Got {len(expert)} actions of the expert, expected {self.num_envs}, one per environment.")
        robot = self.rng.uniform(size=self.num_envs) >= self.beta
        executed = expert
        if robot.any():
            executed = np.where(
                robot.reshape(-1, *[1] * (expert.ndim - 1)), self.get_robot_acts(self._last_obs), expert
            ).astype(expert.dtype, copy=False)
        self._acts = expert
        self.venv.step_async(executed)

    def step_wait(self) -> VecEnvStepReturn:
        """Records the step and saves the episodes that ended with it."""
        obs, rews, dones, infos = self.venv.step_wait()
        assert self._recorder is not None
        assert self._acts is not None
        self._recorder.add(self._last_obs, self._acts, rews, infos)
        self._last_obs = obs
        for env in np.flatnonzero(dones).tolist():
            self._save(env, last_observation(env, infos), terminal=True)
        return obs, rews, dones, infos

    def save_running(self) -> int:
        """Saves the episodes that are running, as fragments, and goes on; how many labels that were.

        For labels that are precious, such as a human's, where collecting ends before an episode does.
        """
        before = self.n_timesteps
        for env in range(self.num_envs):
            if self._recorder is not None and self._recorder.length(env):
                obs = self._last_obs
                last = {key: part[env] for key, part in obs.items()} if isinstance(obs, dict) else obs[env]
                self._save(env, last, terminal=False)
        return self.n_timesteps - before

    def _save(self, env: int, last_obs: Any, *, terminal: bool) -> None:
        assert self._recorder is not None
        trajectory = self._recorder.cut(env, last_obs, terminal=terminal)
        # Infos can hold anything, also what is no data, and nothing here reads them.
        save_demonstrations(self.save_dir, [dataclasses.replace(trajectory, infos=None)])
        self.n_episodes += 1
        self.n_timesteps += len(trajectory)
