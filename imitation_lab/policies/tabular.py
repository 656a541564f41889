"""A policy given by a table of probabilities for each time step."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from imitation_lab.envs.tabular import check_distributions

__all__ = ["TabularPolicy"]


class TabularPolicy(BasePolicy):
    """A policy that is a table of probabilities for each time step, state and action.

    Its recurrent state is the time: `predict` starts at 0 and returns what to pass to the next call.

    Args:
        state_space: `Discrete(S)`; it acts on states, see `envs.tabular.StateObservation`.
        action_space: `Discrete(A)`.
        pi: probabilities, `(T, S, A)`.
        rng: draws the actions.

    Attributes:
        pi: as given.
        rng: as given.

    Raises:
        TypeError: if a space is not `Discrete`.
        ValueError: as in `set_pi`.
    """

    def __init__(
        self, state_space: spaces.Space, action_space: spaces.Space, pi: np.ndarray, rng: np.random.Generator
    ) -> None:
        for name, space in (("state_space", state_space), ("action_space", action_space)):
            if not isinstance(space, spaces.Discrete):
                raise TypeError(
                    f"{name} is {space}, expected Discrete: a TabularPolicy acts on states by number. Around an "
                    "environment with other observations put imitation_lab.envs.tabular.StateObservation."
                )
        super().__init__(observation_space=state_space, action_space=action_space)
        self.rng = rng
        self.set_pi(pi)

    def set_pi(self, pi: np.ndarray) -> None:
        """Sets the table.

        Raises:
            ValueError: if `pi` is not `(T, S, A)`, or its rows are no distributions.
        """
        pi = np.asarray(pi, dtype=np.float64)
        expected = (int(self.observation_space.n), int(self.action_space.n))  # type: ignore[attr-defined]
        if pi.ndim != 3 or pi.shape[1:] != expected or len(pi) == 0:
            raise ValueError(f"pi has shape {pi.shape}, expected (horizon, {expected[0]}, {expected[1]}).")
        check_distributions("pi", pi)
        self.pi = pi

    def forward(self, observation: Any, deterministic: bool = False) -> Any:
        """Does not exist: a table has no gradient.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("TabularPolicy is a table that depends on time; call predict() for its actions.")

    _predict = forward

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Draws actions.

        Args:
            observation: states, `(n,)` integers, or one.
            state: what the last call returned, `(steps (n,),)`, or None at step 0.
            episode_start: `(n,)`, where an episode begins and the step is 0 again.
            deterministic: take the most probable action, the first of equals, instead.

        Returns:
            Actions `(n,)`, or one, and `(steps + 1,)`.

        Raises:
            ValueError: if the observations are no states, or an episode goes on beyond the table.
        """
        given = np.asarray(observation)
        if given.ndim > 1 or given.dtype.kind not in "iu":
            raise ValueError(
                f"observation has shape {given.shape} and dtype {given.dtype}, expected states: integers (n,). Around "
                "an environment with other observations put imitation_lab.envs.tabular.StateObservation."
            )
        states = np.atleast_1d(given)
        steps = np.zeros(len(states), dtype=np.int64) if state is None else np.array(state[0])
        if episode_start is not None:
            steps[np.atleast_1d(episode_start).astype(bool)] = 0
        if len(steps) and steps.max() >= len(self.pi):
            raise ValueError(
                f"The policy is asked for step {steps.max()}, but has a table for {len(self.pi)} steps: pass "
                "episode_start where an episode begins, and use it with the horizon that it was made for."
            )
        chances = self.pi[steps, states]
        if deterministic:
            actions = chances.argmax(axis=1)
        else:
            cumulative = chances.cumsum(axis=1)
            draws = self.rng.random((len(states), 1)) * cumulative[:, -1:]
            actions = np.minimum((cumulative <= draws).sum(axis=1), chances.shape[1] - 1)
        return (actions if given.ndim else actions[0]), (steps + 1,)
