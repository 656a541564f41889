"""Classic control with a fixed horizon: an episode's length says nothing about its reward.

An environment that ends early tells a learner through the episode's length how well it does, whatever reward
it is given. Here the episode goes on to its horizon, and what would have ended it is an absorbing state
instead: the state is frozen there and the reward is 0. The return is therefore that of Gymnasium's
environment of the same name.

`gymnasium.make` adds the horizon (500 and 200 steps) as a truncation; `terminated` is always False. The
keyword `dynamics` changes constants of the physics, for transfer experiments:
`gymnasium.make("imitation_lab/CartPole-v0", dynamics={"length": 1.0})`.
"""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv

__all__ = ["FixedHorizonCartPole", "FixedHorizonMountainCar"]


class _Absorbing(gym.Env):
    """Stands still once the environment has ended, with nothing more to win."""

    DYNAMICS: tuple[str, ...]  # constants of the physics that may be changed
    _POSITIVE: tuple[str, ...] = ()  # those that must be positive
    state: Any
    _absorbed = False

    def _set_dynamics(self, dynamics: Mapping[str, float] | None) -> None:
        for name, value in (dynamics or {}).items():
            if name not in self.DYNAMICS:
                raise ValueError(
                    f"{type(self).__name__} has no dynamics parameter {name!r}; it has {', '.join(self.DYNAMICS)}. "
                    "Remove or rename the key in `dynamics`."
                )
            number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or (name in self._POSITIVE and value <= 0):
                kind = "positive finite" if name in self._POSITIVE else "finite"
                raise ValueError(f"dynamics[{name!r}] must be a {kind} number, got {value!r}.")
            setattr(self, name, float(value))

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts a new episode; `options` may hold `low` and `high` of the initial state as in Gymnasium."""
        self._absorbed = False
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advances one step, or stands still."""
        if self._absorbed:
            if self.render_mode == "human":
                self.render()
            return np.array(self.state, dtype=np.float32), 0.0, False, False, {"absorbed": True}
        obs, reward, self._absorbed, truncated, info = super().step(action)
        return obs, float(reward), False, truncated, {**info, "absorbed": self._absorbed}


class FixedHorizonCartPole(_Absorbing, CartPoleEnv):
    """CartPole that goes on after the fall, with nothing more to win.

    Reward 1 for each step begun upright and in range, the step that falls included, and 0 ever after; the
    observation after a fall is the one in which it fell. Observation `(4,)` float32: position, velocity,
    angle, angular velocity.

    Args:
        dynamics: any of `gravity`, `masscart`, `masspole`, `length` (half the pole's), `force_mag`, `tau`.
        render_mode: as in Gymnasium.

    Raises:
        ValueError: an unknown name in `dynamics`, or a value that is not finite or, for masses, length and
            tau, not positive.
    """

    DYNAMICS = ("gravity", "masscart", "masspole", "length", "force_mag", "tau")
    _POSITIVE = ("masscart", "masspole", "length", "tau")

    def __init__(self, dynamics: Mapping[str, float] | None = None, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._set_dynamics(dynamics)
        self.total_mass = self.masscart + self.masspole
        self.polemass_length = self.masspole * self.length


class FixedHorizonMountainCar(_Absorbing, MountainCarEnv):
    """MountainCar that stays at the goal once there.

    Reward −1 for each step begun away from the goal, the step that reaches it included, and 0 ever after; the
    observation stays the one at the goal. Observation `(2,)` float32: position, velocity.

    Args:
        dynamics: any of `force`, `gravity`.
        goal_velocity: least speed at the goal, as in Gymnasium.
        render_mode: as in Gymnasium.

    Raises:
        ValueError: an unknown name in `dynamics`, or a value that is not finite.
    """

    DYNAMICS = ("force", "gravity")

    def __init__(
        self,
        dynamics: Mapping[str, float] | None = None,
        goal_velocity: float = 0.0,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(render_mode=render_mode, goal_velocity=goal_velocity)
        self._set_dynamics(dynamics)
