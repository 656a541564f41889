"""An ensemble of reward networks, whose disagreement measures how uncertain the reward is."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from imitation_lab.rewards.reward_nets import evaluation
from imitation_lab.rewards.reward_nets.base import RewardNet, RewardNetWithVariance
from imitation_lab.rewards.reward_nets.wrappers import NormalizedRewardNet

__all__ = ["RewardEnsemble"]

_KNOWN_KEYWORDS = {"update_stats", "alpha"}


def _peel(member: Any) -> tuple[nn.Module, list[NormalizedRewardNet]]:
    """What is inside a member's normalizations, and these, innermost first."""
    norms: list[NormalizedRewardNet] = []
    while type(member) is NormalizedRewardNet:
        norms.insert(0, member)
        member = member._modules["_base"]  # `base` asks for its class each time
    return member, norms


class RewardEnsemble(RewardNetWithVariance):
    """Two or more reward networks with the same spaces; predicts the mean and variance of their rewards.

    A member is trained, not the mean: `forward` and `predict_th` raise `NotImplementedError`. Members that are alike
    are evaluated together, with the same result up to rounding.

    Args:
        observation_space: as in `RewardNet`.
        action_space: as in `RewardNet`.
        members: the networks, wrapped or not.

    Raises:
        ValueError: if there are fewer than two members, or one has other spaces.
        TypeError: if a member is no `RewardNet`.
    """

    has_forward = False
    members: nn.ModuleList

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, members: Iterable[RewardNet]):
        super().__init__(observation_space, action_space)
        members = list(members)
        if len(members) < 2:
            raise ValueError(f"An ensemble needs at least two members, got {len(members)}.")
        for i, member in enumerate(members):
            if not isinstance(member, RewardNet):
                raise TypeError(f"Member {i} is a {type(member).__name__}; expected a RewardNet.")
            theirs = (member.observation_space, member.action_space)
            if theirs != (observation_space, action_space):
                raise ValueError(
                    f"Member {i} has the spaces {theirs}; the ensemble has {(observation_space, action_space)}."
                )
        if type(self) is RewardEnsemble:  # a generator is used up by now: record the list
            self.__dict__["_init_args"] = ((observation_space, action_space, members), {})
        self.members = nn.ModuleList(members)

    @property
    def num_members(self) -> int:
        """Number of networks."""
        return len(self.members)

    def forward(self, *args: Any) -> NoReturn:
        """Raises `NotImplementedError`: there is no one network to train."""
        raise NotImplementedError(
            "A RewardEnsemble has no forward(): train each of its members, or call predict, predict_processed or "
            "predict_reward_moments."
        )

    def predict_th(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `NotImplementedError`, as `forward`."""
        raise NotImplementedError(
            "A RewardEnsemble has no predict_th(): members are combined after processing. Call predict, "
            "predict_processed or predict_reward_moments."
        )

    def predict_processed_all(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """Each member's processed reward; arguments as in `RewardNet.predict_processed`.

        Returns:
            float32 array `(batch, num_members)`.
        """
        values = None
        if kwargs.keys() <= _KNOWN_KEYWORDS:
            values = evaluation.evaluate(self, (state, action, next_state, done))
        members: Iterable[Any] = self._modules["members"]._modules.values()  # type: ignore[union-attr]
        if values is None:
            return np.stack([m.predict_processed(state, action, next_state, done, **kwargs) for m in members], axis=1)
        rewards = values.T.copy()
        for i, member in enumerate(members):
            if type(member) is NormalizedRewardNet:
                for norm in _peel(member)[1]:
                    rewards[:, i] = norm.normalize(rewards[:, i], kwargs.get("update_stats", True))
        return rewards

    def _evaluated(self) -> Sequence[nn.Module]:
        return [_peel(member)[0] for member in self.members]

    def predict_reward_moments(
        self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance over the members, each float32 `(batch,)`; arguments as in `predict_processed`.

        The variance is the unbiased estimate, with divisor `num_members − 1`.
        """
        all_rewards = self.predict_processed_all(state, action, next_state, done, **kwargs)
        variance, mean = th.var_mean(th.from_numpy(all_rewards), dim=1, correction=1)
        return mean.numpy(), variance.numpy()

    def predict_processed(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """Mean of the members' processed rewards, float32 `(batch,)`."""
        all_rewards = self.predict_processed_all(state, action, next_state, done, **kwargs)
        return np.add.reduce(all_rewards, axis=1) / np.float32(all_rewards.shape[1])

    def predict(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """As `predict_processed`, but moves no statistics unless `update_stats=True` is given."""
        return self.predict_processed(state, action, next_state, done, **{"update_stats": False, **kwargs})
