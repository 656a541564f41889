"""A vectorized environment whose rewards come from a function, and the callback that logs them."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from imitation_lab.rewards.reward_function import RewardFn
from imitation_lab.util import checks

__all__ = ["RewardVecEnvWrapper", "WrappedRewardCallback"]


class WrappedRewardCallback(BaseCallback):
    """Logs the mean episode return under the wrapped reward, `rollout/ep_rew_wrapped_mean`.

    Args:
        episode_rewards: returns of the latest episodes, shared with the wrapper that fills it.
        *args: for `BaseCallback`.
        **kwargs: for `BaseCallback`.
    """

    def __init__(self, episode_rewards: deque[float], *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.episode_rewards = episode_rewards

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.episode_rewards:
            mean = sum(self.episode_rewards) / len(self.episode_rewards)
            self.logger.record("rollout/ep_rew_wrapped_mean", mean)


class RewardVecEnvWrapper(VecEnvWrapper):
    """Replaces the rewards of `venv` by `reward_fn(state, action, next_state, done)`, called once per vector step.

    At an episode's end `next_state` is the true last observation, not the first of the next episode. Each step's infos
    hold the replaced reward as `original_env_rew`.

    Args:
        venv: the environments.
        reward_fn: a `RewardFn`, such as `net.predict_processed`.
        ep_history: how many episode returns the callback of `make_log_callback` averages over.

    Raises:
        TypeError: if `reward_fn` is not callable.
        ValueError: if `ep_history` is not positive.

    Attributes:
        episode_rewards: returns under `reward_fn` of the latest `ep_history` episodes.
    """

    def __init__(self, venv: VecEnv, reward_fn: RewardFn, ep_history: int = 100):
        if not callable(reward_fn):
            raise TypeError(
                f"reward_fn must be callable as (state, action, next_state, done), got {reward_fn!r}. Of a reward "
                "network pass the method: net.predict_processed."
            )
        checks.at_least(1, ep_history=ep_history)
        super().__init__(venv)
        self.reward_fn = reward_fn
        self.episode_rewards: deque[float] = deque(maxlen=ep_history)
        self._returns = np.zeros(venv.num_envs)
        self._old_obs: Any = None
        self._actions: np.ndarray | None = None

    def make_log_callback(self) -> WrappedRewardCallback:
        """A callback for `learn(callback=...)` that logs the mean return under the wrapped reward."""
        return WrappedRewardCallback(self.episode_rewards)

    @property
    def envs(self) -> Sequence[Any]:
        """The single environments, where the innermost `VecEnv` has them in this process."""
        return self.unwrapped.envs  # type: ignore[attr-defined] # DummyVecEnv has them

    def reset(self) -> VecEnvObs:
        """Resets all environments; returns of unfinished episodes are dropped."""
        self._old_obs = self.venv.reset()
        self._returns[:] = 0
        return self._old_obs

    def step_async(self, actions: np.ndarray) -> None:
        """Starts a step; resets before if nobody did."""
        if self._old_obs is None:
            self.reset()
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Ends the step.

        Returns:
            Observations, wrapped rewards `(num_envs,)`, dones, infos.

        Raises:
            ValueError: if `reward_fn` returns another shape, or an info lacks the last observation of an episode.
        """
        obs, original_rewards, dones, infos = self.venv.step_wait()
        next_obs = _with_last_observations(obs, dones, infos) if dones.any() else obs
        rewards = self.reward_fn(self._old_obs, self._actions, next_obs, dones)  # type: ignore[arg-type]
        if np.shape(rewards) != (self.num_envs,):
            raise ValueError(
                f"reward_fn returned shape {np.shape(rewards)} for {self.num_envs} environments; expected "
                f"({self.num_envs},)."
            )
        for info, original in zip(infos, original_rewards, strict=True):
            info["original_env_rew"] = original
        self._returns += rewards
        for i in np.flatnonzero(dones):
            self.episode_rewards.append(float(self._returns[i]))
            self._returns[i] = 0
        self._old_obs = obs
        return obs, rewards, dones, infos


def _with_last_observations(obs: Any, dones: np.ndarray, infos: Sequence[Mapping[str, Any]]) -> Any:
    """`obs`, with the first observations of new episodes replaced by the last ones of those that ended."""
    next_obs = {key: value.copy() for key, value in obs.items()} if isinstance(obs, dict) else obs.copy()
    for i in np.flatnonzero(dones).tolist():
        try:
            last = infos[i]["terminal_observation"]
        except KeyError:
            raise ValueError(
                f"Environment {i} ended its episode without 'terminal_observation' in its info, which every "
                "Stable-Baselines3 VecEnv gives: the reward of its last step is unknown without it."
            ) from None
        if isinstance(next_obs, dict):
            for key, value in next_obs.items():
                value[i] = last[key]
        else:
            next_obs[i] = last
    return next_obs
