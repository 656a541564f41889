"""Environment wrappers that keep what passes through them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from imitation_lab.data import rollout, types
from imitation_lab.data.recorder import (
    RolloutInfoWrapper,
    StepRecorder,
    as_vec_env,
    check_observation,
    last_observation,
)

__all__ = ["BufferingWrapper", "RolloutInfoWrapper"]


class BufferingWrapper(VecEnvWrapper):
    """Keeps every transition of a vectorized environment until it is popped.

    A step costs one array assignment per field; trajectories are built when an episode ends or is popped.

    Args:
        venv: the environment to wrap; a single one is vectorized.
        error_on_premature_reset: whether `reset` raises while transitions are waiting to be popped, instead of keeping
            the interrupted episodes as fragments.
    """

    def __init__(self, venv: VecEnv | gym.Env, error_on_premature_reset: bool = True) -> None:
        super().__init__(as_vec_env(venv))
        self.error_on_premature_reset = error_on_premature_reset
        self.n_transitions = 0
        self._recorder = StepRecorder(self.num_envs)
        self._finished: list[types.TrajectoryWithRew] = []
        self._finished_lengths: list[int] = []
        self._episode_steps = np.zeros(self.num_envs, dtype=np.int64)
        self._obs: Any = None
        self._acts: np.ndarray | None = None

    def reset(self, **kwargs: Any) -> VecEnvObs:
        """Resets the environments.

        Raises:
            RuntimeError: if transitions are waiting and `error_on_premature_reset` is set.
        """
        if self.n_transitions > 0:
            if self.error_on_premature_reset:
                raise RuntimeError(
                    f"reset() with {self.n_transitions} transitions not popped yet: call pop_transitions() or "
                    "pop_trajectories() first, or construct BufferingWrapper with error_on_premature_reset=False."
                )
            self._finished += self._cut_running()
        self._episode_steps[:] = 0
        self._obs = self.venv.reset(**kwargs)
        check_observation(self._obs)
        return self._obs

    def step_async(self, actions: np.ndarray) -> None:
        """Sends the actions.

        Raises:
            RuntimeError: before the first `reset`.
        """
        if self._obs is None:
            raise RuntimeError("step() before reset(): call reset() first.")
        self._acts = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Receives the step and keeps it."""
        assert self._acts is not None, "step_wait() without step_async()"
        obs, rews, dones, infos = self.venv.step_wait()
        self._recorder.add(self._obs, np.asarray(self._acts), rews, infos)
        self._acts = None
        self._obs = obs
        self.n_transitions += self.num_envs
        self._episode_steps += 1
        if dones.any():
            for env in np.flatnonzero(dones).tolist():
                self._finished.append(self._recorder.cut(env, last_observation(env, infos), terminal=True))
                self._finished_lengths.append(int(self._episode_steps[env]))
                self._episode_steps[env] = 0
        return obs, rews, dones, infos

    def pop_finished_trajectories(self) -> tuple[list[types.TrajectoryWithRew], list[int]]:
        """Takes out the episodes that have ended, and their lengths; running ones stay.

        Returns:
            The trajectories (those whose beginning was popped earlier hold only the rest), and the length of each ended
            episode from its beginning.
        """
        trajectories, lengths = self._finished, self._finished_lengths
        self._finished, self._finished_lengths = [], []
        self.n_transitions -= sum(map(len, trajectories))
        return trajectories, lengths

    def pop_trajectories(self) -> tuple[list[types.TrajectoryWithRew], list[int]]:
        """Like `pop_finished_trajectories`, and takes running episodes so far too, as fragments (`terminal=False`)."""
        self._finished += self._cut_running()
        return self.pop_finished_trajectories()

    def pop_transitions(self) -> types.TransitionsWithRew:
        """Takes out everything, as transitions.

        Raises:
            RuntimeError: if there is nothing.
        """
        if self.n_transitions == 0:
            raise RuntimeError("There are no transitions to pop: step the environment first.")
        return rollout.flatten_trajectories_with_rew(self.pop_trajectories()[0])

    def _cut_running(self) -> list[types.TrajectoryWithRew]:
        obs = types.maybe_wrap_in_dictobs(self._obs)
        return [
            self._recorder.cut(env, obs[env], terminal=False)
            for env in range(self.num_envs)
            if self._recorder.length(env)
        ]
