"""Wrappers: normalization, potential shaping, and a bonus or penalty on disagreement."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from imitation_lab.rewards.reward_nets.base import (
    ForwardWrapper,
    PredictProcessedWrapper,
    RewardNet,
    RewardNetWithVariance,
    float_parameter,
    to_numpy,
)
from imitation_lab.rewards.reward_nets.basic import BasicPotentialMLP, BasicRewardNet
from imitation_lab.rewards.reward_nets.evaluation import Plan, Steps, planner, remember, untouched
from imitation_lab.util import checks, tree
from imitation_lab.util.networks import BaseNorm, EMANorm, RunningNorm, evaluating
from imitation_lab.util.util import safe_to_tensor

__all__ = ["NormalizedRewardNet", "ShapedRewardNet", "BasicShapedRewardNet", "AddSTDRewardWrapper", "normalize_scalars"]


class NormalizedRewardNet(PredictProcessedWrapper):
    """Normalizes `predict_processed` with a layer such as `RunningNorm` or `EMANorm`.

    A batch is normalized under the statistics from before it, and moves them afterwards.

    Args:
        base: the network to normalize.
        normalize_output_layer: class of a layer that keeps shapes, called with the number of features, 1: a
            `util.networks.BaseNorm`, or one without running statistics, such as `torch.nn.Identity`.

    Raises:
        TypeError: if the layer cannot be made or does not keep the shape `(batch, 1)`.
    """

    def __init__(self, base: RewardNet, normalize_output_layer: Callable[[int], nn.Module]):
        super().__init__(base)
        try:
            layer = normalize_output_layer(1).to(base.device)
            with evaluating(layer), th.no_grad():
                shape = tuple(layer(th.zeros(2, 1, device=base.device)).shape)
        except Exception as error:
            raise TypeError(
                "normalize_output_layer must be a layer class that is called with the number of features and keeps the "
                f"shape (batch, 1), such as RunningNorm; {normalize_output_layer!r} failed: {error}"
            ) from error
        if shape != (2, 1):
            raise TypeError(
                f"normalize_output_layer must keep shapes; {normalize_output_layer!r} turns (2, 1) into {shape}."
            )
        self.normalize_output_layer = layer

    def predict_processed(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any,
        update_stats: bool = True,
        **kwargs: Any,
    ) -> np.ndarray:
        """The base's processed rewards, normalized.

        Args:
            state: arguments as in `RewardNet.preprocess`.
            action: see there.
            next_state: see there.
            done: see there.
            update_stats: whether this batch moves the statistics, here and in every wrapper and ensemble member
                underneath.
            **kwargs: passed to the base.

        Returns:
            float32 array `(batch,)`.

        Raises:
            ValueError: if the rewards hold NaN or infinity while statistics are updated; they would spoil them.
        """
        if not update_stats:  # a network of the user's own need not know the word
            kwargs["update_stats"] = False
        rewards = self.base.predict_processed(state, action, next_state, done, **kwargs)
        return self.normalize(rewards, update_stats)

    def normalize(self, rewards: np.ndarray, update_stats: bool) -> np.ndarray:
        """Normalizes rewards `(batch,)` under the present statistics, then updates these if asked."""
        layer: Any = self._modules["normalize_output_layer"]
        rewards = np.asarray(rewards, np.float32)
        if (
            type(layer) in (RunningNorm, EMANorm)
            and layer.eps
            and untouched(layer)
            and _is_at_hand(layer._buffers["running_mean"])
        ):
            return normalize_scalars(layer, rewards, update_stats)
        column, parameter = safe_to_tensor(rewards, device=self.device)[:, None], float_parameter(layer)
        with evaluating(layer), th.no_grad():
            normalized = to_numpy(layer(column if parameter is None else column.to(parameter.dtype))[:, 0])
        if update_stats and callable(update := getattr(layer, "update_stats", None)):
            update(column)
        return normalized


def _is_at_hand(statistics: th.Tensor) -> bool:
    return statistics.is_cpu and statistics.dtype is th.float64


def normalize_scalars(layer: BaseNorm, rewards: np.ndarray, update_stats: bool) -> np.ndarray:
    """What `layer` does to `(batch, 1)`, then `layer.update_stats`: the same formulas, on numbers in place of tensors.

    A dozen torch operations on a single feature take longer than the network before them.
    """
    stores: dict[str, Any] = layer._buffers
    # Arrays share the buffers' memory: writing moves the buffers.
    running_mean, running_var = stores["running_mean"].numpy(), stores["running_var"].numpy()
    old_mean, old_var = running_mean.item(), running_var.item()
    wide = rewards.astype(np.float64)
    normalized = ((wide - old_mean) * (1 / math.sqrt(old_var + layer.eps))).astype(np.float32)
    size = len(wide)
    if not (update_stats and size):
        return normalized
    mean = np.add.reduce(wide).item() / size
    centred = wide - mean
    var = centred.dot(centred).item() / size
    if not math.isfinite(var):
        layer.update_stats(th.from_numpy(rewards)[:, None])  # raises, and says why
    count = stores["count"].numpy()
    count += size
    weight = layer.weight_of_newest(size, count.item())
    delta = mean - old_mean
    running_mean[0] = old_mean + weight * delta
    running_var[0] = old_var + weight * (var + (1 - weight) * delta * delta - old_var)
    return normalized


class ShapedRewardNet(ForwardWrapper):
    """Adds potential-based shaping, which leaves optimal policies as they are (Ng, Harada and Russell, 1999).

    R′(s, a, s′) = R(s, a, s′) + γ (1 − done) Φ(s′) − Φ(s)

    `done` is the vectorized environment's flag, terminated or truncated. A truncated episode would have gone on, and
    its Φ(s′) belongs in the sum: who knows which episodes were cut passes `truncated`.

    Args:
        base: the network to shape.
        potential: Φ, from preprocessed states to `(batch,)` or `(batch, 1)`. A plain function works, but cannot be
            saved.
        discount_factor: γ, in [0, 1].

    Raises:
        TypeError: if `potential` is not callable.
        ValueError: if γ lies elsewhere, or as in `ForwardWrapper`.
    """

    def __init__(self, base: RewardNet, potential: Callable[[th.Tensor], th.Tensor], discount_factor: float):
        super().__init__(base)
        if not callable(potential):
            raise TypeError(f"potential must be callable, from states to (batch,), got {potential!r}.")
        checks.between(0, 1, discount_factor=discount_factor)
        self.potential = potential
        self.discount_factor = discount_factor

    def forward(
        self,
        state: th.Tensor,
        action: th.Tensor,
        next_state: th.Tensor,
        done: th.Tensor,
        truncated: th.Tensor | np.ndarray | None = None,
    ) -> th.Tensor:
        """Shaped rewards, `(batch,)`; arguments as in `RewardNet.forward`.

        Args:
            state: see there.
            action: see there.
            next_state: see there.
            done: see there.
            truncated: shape `(batch,)`, true where `done` is a time limit and not a true end: Φ(s′) stays.
        """
        base = self.base
        if truncated is not None and isinstance(base, ShapedRewardNet):
            rewards = base(state, action, next_state, done, truncated=truncated)
        else:
            rewards = base(state, action, next_state, done)
        ended = done if truncated is None else done * (1 - th.as_tensor(truncated).to(done))
        return _shape(rewards, self.potential, self.discount_factor, state, next_state, ended)

    def predict_processed(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """As `RewardNet.predict_processed`; `truncated` as in `forward`, which `predict` and `predict_th` take too."""
        known = {} if kwargs.get("truncated") is None else {"truncated": kwargs["truncated"]}
        return self.predict(state, action, next_state, done, **known)


def _shape(
    rewards: Any, potential: Callable[[Any], Any], discount: Any, state: Any, next_state: Any, ended: Any
) -> Any:
    """Shapes rewards `(batch,)`, or `(networks, batch)` where `potential` stands for several alike."""
    # One call for both states: half the layers run, and a norm layer in training sees both alike.
    potentials = potential(tree.cat([next_state, state]))
    size = rewards.shape[-1]
    if math.prod(potentials.shape) != 2 * math.prod(rewards.shape):
        raise ValueError(
            f"The potential returned shape {tuple(potentials.shape)} for {2 * size} states; expected ({2 * size},), "
            "one potential per state."
        )
    potentials = potentials.reshape((*rewards.shape[:-1], 2 * size))
    return rewards + discount * (1 - ended) * potentials[..., :size] - potentials[..., size:]


class BasicShapedRewardNet(ShapedRewardNet):
    """A `BasicRewardNet` shaped by a `BasicPotentialMLP`, as in AIRL (Fu, Luo and Levine, 2018).

    Args:
        observation_space: as in `BasicRewardNet`.
        action_space: as in `BasicRewardNet`.
        reward_hid_sizes: hidden layers of the reward.
        potential_hid_sizes: hidden layers of the potential.
        use_state: as in `BasicRewardNet`, and so are the three that follow.
        use_action: see there.
        use_next_state: see there.
        use_done: see there.
        discount_factor: γ of the shaping.
        **kwargs: for both networks' `util.networks.build_mlp`.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        *,
        reward_hid_sizes: tuple[int, ...] = (32,),
        potential_hid_sizes: tuple[int, ...] = (32, 32),
        use_state: bool = True,
        use_action: bool = True,
        use_next_state: bool = False,
        use_done: bool = False,
        discount_factor: float = 0.99,
        **kwargs: Any,
    ):
        base = BasicRewardNet(
            observation_space,
            action_space,
            use_state=use_state,
            use_action=use_action,
            use_next_state=use_next_state,
            use_done=use_done,
            hid_sizes=reward_hid_sizes,
            **kwargs,
        )
        potential = BasicPotentialMLP(observation_space, potential_hid_sizes, **kwargs)
        super().__init__(base, potential, discount_factor)


class AddSTDRewardWrapper(PredictProcessedWrapper):
    """Adds α standard deviations to the mean reward: a bonus for uncertainty (α > 0) or a penalty (α < 0).

    Args:
        base: a network that predicts moments, such as `RewardEnsemble`.
        default_alpha: α where a call does not give its own.

    Raises:
        TypeError: if `base` predicts no moments.
    """

    def __init__(self, base: RewardNetWithVariance, default_alpha: float = 0.0):
        if not isinstance(base, RewardNetWithVariance):
            raise TypeError(
                f"AddSTDRewardWrapper needs the variance of a RewardNetWithVariance, such as RewardEnsemble, got a "
                f"{type(base).__name__}. Wrap the ensemble itself, and normalize outside: "
                "NormalizedRewardNet(AddSTDRewardWrapper(ensemble), RunningNorm)."
            )
        super().__init__(base)
        self.default_alpha = default_alpha

    def predict_processed(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any,
        alpha: float | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Mean + α · standard deviation, float32 `(batch,)`.

        Args:
            state: arguments as in `RewardNet.preprocess`.
            action: see there.
            next_state: see there.
            done: see there.
            alpha: α for this call, here and in any such wrapper underneath.
            **kwargs: passed to the base.
        """
        if alpha is not None:
            kwargs["alpha"] = alpha
        base = self.base
        assert isinstance(base, RewardNetWithVariance)
        mean, variance = base.predict_reward_moments(state, action, next_state, done, **kwargs)
        return mean + np.float32(self.default_alpha if alpha is None else alpha) * np.sqrt(variance)


@planner(ShapedRewardNet, BasicShapedRewardNet)
def _plan_shaped(plan: Plan, networks: Sequence[ShapedRewardNet]) -> Steps:
    base = plan.build([network._modules["_base"] for network in networks])
    potential = plan.build([network._modules.get("potential") for network in networks])
    discount = np.float32(plan.numbers(networks, "discount_factor"))

    def evaluate(state: Any, action: Any, next_state: Any, done: np.ndarray) -> np.ndarray:
        return _shape(base(state, action, next_state, done), potential, discount, state, next_state, done)

    return evaluate


remember(NormalizedRewardNet)
