"""Policies that need no training, two network sizes, and input normalization inside the policy."""

import abc
from operator import itemgetter
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

from imitation_lab.util import tree
from imitation_lab.util.codec import register_class
from imitation_lab.util.networks import RunningNorm

__all__ = [
    "NonTrainablePolicy", "RandomPolicy", "ZeroPolicy", "FeedForward32Policy", "SAC1024Policy",
    "NormalizeFeaturesExtractor", "Obs",
]  # fmt: skip

Obs = np.ndarray | dict[str, np.ndarray]


class NonTrainablePolicy(BasePolicy, abc.ABC):
    """Base of policies that are rules, not networks; they have no parameters.

    A subclass defines `_choose_action` for one observation, or `_choose_actions` for a batch where that is
    faster. Observations arrive as the environment gave them: arrays, or dicts of arrays, unnormalized and
    untransposed.
    """

    @abc.abstractmethod
    def _choose_action(self, obs: Obs) -> np.ndarray | int:
        """Chooses the action for one observation, of shape `obs_shape` without batch dimension."""

    def _choose_actions(self, obs: Obs, n: int) -> np.ndarray:
        """Chooses `(n, *action_shape)` actions for `n` observations, with batch dimension."""
        rows = [self._choose_action(tree.map(itemgetter(i), obs)) for i in range(n)]
        return np.array(rows, dtype=self.action_space.dtype)

    def predict(
        self,
        observation: Obs,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Chooses actions for one observation or a batch; no tensor is made on the way.

        Args:
            observation: `obs_shape` or `(batch, *obs_shape)`; a dict of such for `Dict` spaces.
            state: handed back unchanged.
            episode_start: unused.
            deterministic: unused.

        Returns:
            Actions of shape `action_shape` or `(batch, *action_shape)`, and `state`.
        """
        obs: Obs = tree.map(np.asarray, observation)
        if self.is_vectorized_observation(obs):
            return self._choose_actions(obs, tree.length(obs)), state
        return self._choose_actions(tree.map(lambda part: part[None], obs), 1)[0], state

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        obs: Obs = tree.map(lambda part: part.cpu().numpy(), observation)
        return th.as_tensor(self._choose_actions(obs, tree.length(obs)))

    def forward(self, *args: Any) -> Any:
        """Does not exist: there is nothing to train.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no parameters and cannot be trained; call predict() for its actions."
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {"observation_space": self.observation_space, "action_space": self.action_space}


@register_class
class RandomPolicy(NonTrainablePolicy):
    """Actions drawn from the action space, whatever the observation.

    Args:
        observation_space: any space.
        action_space: any space.
        rng: where the policy's seed comes from; the action space's own generator if None, so that
            `action_space.seed(0)` before makes the policy repeatable.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__(observation_space, action_space)
        source = action_space.np_random if rng is None else rng
        self._seeds = np.random.default_rng(int(source.integers(2**63)))
        self._batched: dict[int, spaces.Space] = {}

    def _choose_action(self, obs: Obs) -> np.ndarray | int:
        return self._choose_actions(obs, 1)[0]

    def _choose_actions(self, obs: Obs, n: int) -> np.ndarray:
        if n not in self._batched:
            self._batched[n] = batch_space(self.action_space, n)
            self._batched[n].seed(int(self._seeds.integers(2**31)))
        return np.asarray(self._batched[n].sample(), dtype=self.action_space.dtype)


@register_class
class ZeroPolicy(NonTrainablePolicy):
    """The action of all zeros, whatever the observation.

    Raises:
        ValueError: the action space does not contain zeros.
    """

    def __init__(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        super().__init__(observation_space, action_space)
        zero = np.zeros(action_space.shape or (), dtype=action_space.dtype)
        if not action_space.contains(zero if action_space.shape else zero[()]):
            raise ValueError(
                f"ZeroPolicy needs an action space that contains zeros, got {action_space}. "
                "Shift the space, or use RandomPolicy."
            )
        self._zero = zero

    def _choose_action(self, obs: Obs) -> np.ndarray | int:
        return self._zero.copy()


@register_class
class FeedForward32Policy(ActorCriticPolicy):
    """Actor-critic policy with two hidden layers of 32 units each for actor and critic.

    Takes the arguments of SB3's `ActorCriticPolicy`; `net_arch` defaults to `[32, 32]`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"net_arch": [32, 32], **kwargs})


@register_class
class SAC1024Policy(SACPolicy):
    """SAC policy with two hidden layers of 1024 units each for actor and critics.

    Takes the arguments of SB3's `SACPolicy`; `net_arch` defaults to `[1024, 1024]`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"net_arch": [1024, 1024], **kwargs})


@register_class
class NormalizeFeaturesExtractor(FlattenExtractor):
    """Flattens the observation and normalizes it, so that the statistics travel with the policy.

    The statistics move in training mode only: `predict` and rollouts leave them as they are, each training batch counts
    once. Unlike SB3's `VecNormalize`, nothing has to be saved beside the policy.

    Args:
        observation_space: any space but `Dict` and `Tuple`; `n` features when flattened.
        normalize_class: made with `n`; it maps `(batch, n)` to `(batch, n)`.

    Raises:
        TypeError: the observation space is a `Dict` or a `Tuple`.
    """

    def __init__(self, observation_space: spaces.Space, normalize_class: type[nn.Module] = RunningNorm) -> None:
        if isinstance(observation_space, spaces.Dict | spaces.Tuple):
            raise TypeError(
                f"NormalizeFeaturesExtractor normalizes one flat vector, got {observation_space}. "
                "Flatten it first (gymnasium.wrappers.FlattenObservation) or use SB3's CombinedExtractor."
            )
        super().__init__(observation_space)
        self.normalize = normalize_class(self.features_dim)

    def forward(self, observations: th.Tensor) -> th.Tensor:
        """Maps observations `(batch, *obs_shape)` to normalized features `(batch, n)`."""
        return self.normalize(super().forward(observations))
