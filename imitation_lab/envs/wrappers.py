"""Two ways to give any environment a fixed horizon.

Why: where episodes end early, their length leaks the true reward to the learner, and a learned reward's sign alone
decides whether living longer pays. `AbsorbAfterDone` suits tasks with an end (fallen, arrived); `AutoReset` suits tasks
where the agent simply starts over.
"""

import copy
from typing import Any, SupportsFloat

import gymnasium as gym

from imitation_lab.util import checks

__all__ = ["AbsorbAfterDone", "AutoReset"]


class _FixedHorizon(gym.Wrapper, gym.utils.RecordConstructorArgs):
    def __init__(self, env: gym.Env, horizon: int, **arguments: Any) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, horizon=horizon, **arguments)
        gym.Wrapper.__init__(self, env)
        checks.integers(1, horizon=horizon)
        self.horizon = int(horizon)
        self._steps = 0


class AbsorbAfterDone(_FixedHorizon):
    """Fills an episode up to `horizon` steps with an absorbing state.

    The step that ends the inner episode, by termination or by truncation, gives its own observation and
    reward. From then on the inner environment is not stepped: each step gives `absorb_obs` and
    `absorb_reward`, with `info["absorbed"]` True. `terminated` is always False; `truncated` is True at step
    `horizon` exactly.

    Args:
        env: the environment.
        horizon: steps per episode, at least 1.
        absorb_reward: reward of each step in the absorbing state.
        absorb_obs: observation in the absorbing state; the last one of the inner episode if None.

    Raises:
        ValueError: `horizon` is not a positive whole number, or `absorb_obs` is outside the observation
            space.
    """

    def __init__(self, env: gym.Env, horizon: int, absorb_reward: float = 0.0, absorb_obs: Any | None = None) -> None:
        super().__init__(env, horizon, absorb_reward=absorb_reward, absorb_obs=absorb_obs)
        if absorb_obs is not None and not env.observation_space.contains(absorb_obs):
            raise ValueError(
                f"absorb_obs {absorb_obs!r} is not in the observation space {env.observation_space}; "
                "check its shape, dtype and bounds."
            )
        self.absorb_reward = float(absorb_reward)
        self.absorb_obs = absorb_obs
        self._absorbed = False
        self._last_obs: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Starts a new episode of `horizon` steps."""
        self._steps, self._absorbed = 0, False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the inner environment, or stays in the absorbing state."""
        self._steps += 1
        truncated = self._steps >= self.horizon
        if self._absorbed:
            return copy.deepcopy(self._last_obs), self.absorb_reward, False, truncated, {"absorbed": True}
        obs, reward, inner_terminated, inner_truncated, info = self.env.step(action)
        self._absorbed = inner_terminated or inner_truncated
        if self._absorbed:
            self._last_obs = copy.deepcopy(obs if self.absorb_obs is None else self.absorb_obs)
        return obs, reward, False, truncated, {**info, "absorbed": self._absorbed}


class AutoReset(_FixedHorizon):
    """Strings inner episodes together into one of `horizon` steps.

    Where the inner episode ends, the step gives its reward with the first observation of the next inner
    episode, and nothing in `terminated` or `truncated` shows it; `info["inner_final_observation"]` keeps the
    observation that the next episode's replaced. Only the first reset is seeded: later ones go on with the
    environment's own generator. `terminated` is always False; `truncated` is True at step `horizon` exactly.

    Args:
        env: the environment.
        horizon: steps per episode, at least 1.

    Raises:
        ValueError: `horizon` is not a positive whole number.
    """

    def __init__(self, env: gym.Env, horizon: int) -> None:
        super().__init__(env, horizon)
        self._options: dict[str, Any] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        """Starts a new episode of `horizon` steps; `options` also go to the resets inside it."""
        self._steps, self._options = 0, options
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the inner environment and resets it where its episode ends."""
        self._steps += 1
        obs, reward, terminated, truncated, info = self.env.step(action)
        at_horizon = self._steps >= self.horizon
        # At the horizon the outer episode ends too: its last observation is the true one, and the caller
        # resets.
        if (terminated or truncated) and not at_horizon:
            final = obs
            obs, reset_info = self.env.reset(options=self._options)
            info = {**info, **reset_info, "inner_final_observation": final}
        return obs, reward, False, at_horizon, info
