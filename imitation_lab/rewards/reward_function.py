"""The protocol of a reward: four arrays in, one array out."""

from typing import Protocol

import numpy as np

__all__ = ["RewardFn"]


class RewardFn(Protocol):
    """Anything callable as `reward_fn(state, action, next_state, done)`."""

    def __call__(self, state: np.ndarray, action: np.ndarray, next_state: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Rewards a batch of transitions.

        Args:
            state: shape `(batch, *obs_shape)`, or a mapping of such arrays for `Dict` observations.
            action: shape `(batch, *action_shape)`.
            next_state: like `state`.
            done: shape `(batch,)`; 1 or True where the episode ended, terminated or truncated.

        Returns:
            Rewards, shape `(batch,)`.
        """
        ...
