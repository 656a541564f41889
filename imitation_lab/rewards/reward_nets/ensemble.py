"""An ensemble of reward networks, whose disagreement measures how uncertain the reward is."""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from imitation_lab.rewards.reward_nets import _fast
from imitation_lab.rewards.reward_nets.base import RewardNet, RewardNetWithVariance, eval_mode
from imitation_lab.rewards.reward_nets.wrappers import NormalizedRewardNet

_KNOWN_KEYWORDS = {"update_stats", "alpha"}
_PREDICTIONS = {"predict", "predict_th", "predict_processed", "preprocess", "normalize", "forward"}


class _Together:
    """Evaluates members that are alike, inside their normalizations, all at once."""

    def __init__(self, ensemble: "RewardEnsemble"):
        self.fast = _fast.Fast([ensemble])  # notices changes anywhere below; has no evaluator of its own
        self.members = [vars(member) for member in ensemble.members]
        peeled = [_peel(member) for member in ensemble.members]  # type: ignore[arg-type]
        self.cores = [core for core, _ in peeled]
        self.norms = [norms for _, norms in peeled]
        self.core_values, self.core_arrays, self.vmapped = None, None, False
        if not any(vars(core).keys() & _PREDICTIONS for core in self.cores):
            self.core_values = _fast.build(self.cores, _fast.builders)
            self.core_arrays = _fast.build(self.cores, _fast.array_builders)
            self.vmapped = self.core_values is None
            if self.vmapped:
                self.core_values = _fast.build_vmap(self.cores)

    def usable(self) -> bool:
        if self.core_values is None or any(self.fast.hooks):
            return False
        if self.vmapped and self.cores[0].device.type == "cpu":
            return False  # vmap saves kernel launches; without any to save it is slower than a loop
        return not any("predict_processed" in member for member in self.members)

    def evaluate(self, state: Any, action: Any, next_state: Any, done: Any, update_stats: bool) -> np.ndarray:
        """Processed rewards `(batch, members)`."""
        values = self.cores[0]._predict_arrays(self.core_arrays, state, action, next_state, done)
        if values is None:
            values = self._values(state, action, next_state, done).cpu().numpy()
        rewards = values.T.astype(np.float32, order="C")
        for i, norms in enumerate(self.norms):
            for norm in norms:
                rewards[:, i] = norm.normalize(rewards[:, i], update_stats)
        return rewards

    @th.no_grad()
    def _values(self, *transition: Any) -> th.Tensor:
        assert self.core_values is not None
        inputs = self.cores[0].preprocess(*transition)
        if not self.vmapped:
            return self.core_values(*inputs)
        with eval_mode(nn.ModuleList(self.cores)):
            return self.core_values(*inputs)


def _peel(member: RewardNet) -> tuple[RewardNet, list[NormalizedRewardNet]]:
    """The member inside its normalizations, and these, innermost first."""
    norms = []
    while type(member) is NormalizedRewardNet and not vars(member).keys() & _PREDICTIONS:
        norms.append(member)
        member = member.base
    return member, norms[::-1]


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
    _transient = ("_encoders", "_fast_plan", "_planned")
    _planned: _Together | None = None
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

    def predict_th(self, state: Any, action: Any, next_state: Any, done: Any) -> NoReturn:
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
        together = self._together() if kwargs.keys() <= _KNOWN_KEYWORDS else None
        if together is not None:
            return together(state, action, next_state, done, kwargs.get("update_stats", True))
        members: Iterable[Any] = self.members
        return np.stack(
            [member.predict_processed(state, action, next_state, done, **kwargs) for member in members], axis=1
        )

    def _together(self) -> Callable[..., np.ndarray] | None:
        if self._planned is None or self._planned.fast.stale():
            self._planned = _Together(self)
        return self._planned.evaluate if self._planned.usable() else None

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
