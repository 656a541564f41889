"""`RewardNet`, the root of all reward networks, and the two kinds of wrapper.

| call | differentiable | wrappers applied | returns |
|---|---|---|---|
| `forward` | yes | `ForwardWrapper`s | Tensor `(batch,)` |
| `predict_th` | no | `ForwardWrapper`s | Tensor `(batch,)` |
| `predict` | no | `ForwardWrapper`s | float32 array `(batch,)` |
| `predict_processed` | no | all | float32 array `(batch,)` |

Every `predict*` runs in evaluation mode and puts each submodule's mode back as it was.
"""

import abc
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from imitation_lab.rewards.reward_nets import _encoding, evaluation
from imitation_lab.rewards.reward_nets.constructor import Recorded
from imitation_lab.util.networks import evaluating

__all__ = [
    "RewardNet", "RewardNetWrapper", "ForwardWrapper", "PredictProcessedWrapper", "RewardNetWithVariance",
    "wrapper_chain", "to_numpy", "float_parameter",
]  # fmt: skip


def float_parameter(module: nn.Module) -> th.Tensor | None:
    """The first floating-point parameter of a module, in whose dtype its inputs come."""
    for parameter in module._parameters.values():
        if parameter is not None and parameter.is_floating_point():
            return parameter
    for child in module._modules.values():
        if child is not None and (found := float_parameter(child)) is not None:
            return found
    return None


def to_numpy(rewards: th.Tensor) -> np.ndarray:
    """A float32 copy in host memory: a reward never shares memory with a network or its inputs."""
    if rewards.dtype is not th.float32 or rewards.device.type != "cpu":
        rewards = rewards.to("cpu", th.float32)
    return rewards.detach().numpy().copy()


class RewardNet(Recorded, abc.ABC):
    """A reward R(s, a, s′, done) as a module. Subclasses define `forward`; the rest follows from it.

    Subclasses can be saved without further ado: their constructor arguments are recorded, and `torch.load` with its
    default `weights_only=True` knows them as soon as they are defined.

    NaN in the inputs gives NaN rewards; nothing is checked but shapes and discrete ranges.

    Args:
        observation_space: `Box`, `Discrete`, `MultiDiscrete`, `MultiBinary` or `Dict` of these, unless `preprocess`
            is overridden.
        action_space: likewise.
        normalize_images: scales image observations, `Box` of uint8 from 0 to 255, to [0, 1].

    Attributes:
        has_forward: False for a class that is no function to differentiate, such as an ensemble.
    """

    has_forward: ClassVar[bool] = True
    _transient: tuple[str, ...] = ("_encoders", "_plan")
    _bypassed: tuple[str, ...] = ("forward", "preprocess", "predict_th", "predict", "predict_processed")
    _encoders: tuple[tuple[Any, ...], tuple[_encoding.Encoder, _encoding.Encoder]] | None = None
    _plan: evaluation.Plan | None = None
    _anchor: th.Tensor

    def __init__(self, observation_space: gym.Space, action_space: gym.Space, normalize_images: bool = True):
        super().__init__()
        for name, space in (("observation_space", observation_space), ("action_space", action_space)):
            if not isinstance(space, gym.Space):
                raise TypeError(f"{name} must be a gymnasium Space, got {space!r}.")
        self.observation_space = observation_space
        self.action_space = action_space
        self.normalize_images = normalize_images
        # Follows `.to(...)`, so that a network without parameters has a device and a dtype too.
        self.register_buffer("_anchor", th.empty(0), persistent=False)

    @abc.abstractmethod
    def forward(self, state: th.Tensor, action: th.Tensor, next_state: th.Tensor, done: th.Tensor) -> th.Tensor:
        """Rewards of preprocessed transitions, differentiable.

        Args:
            state: what `preprocess` gave: `(batch, *obs_shape)`, one-hot `(batch, n)`, or a dict of these.
            action: likewise.
            next_state: likewise.
            done: shape `(batch,)`, 1 where the episode ended.

        Returns:
            Tensor of shape `(batch,)`.
        """

    def preprocess(self, state: Any, action: Any, next_state: Any, done: Any) -> tuple[Any, Any, Any, th.Tensor]:
        """Turns a batch of transitions into network inputs on the network's device, in its dtype.

        Arrays are shared, not copied, where dtype and device allow. Discrete values become one-hot, images lie in
        [0, 1]. Tensors are taken too.

        Args:
            state: array `(batch, *obs_shape)`, or a mapping of arrays for `Dict` spaces.
            action: array `(batch, *action_shape)`.
            next_state: like `state`.
            done: array `(batch,)`.

        Returns:
            The four inputs of `forward`.

        Raises:
            ValueError: if shapes do not fit the spaces, batch sizes differ, or a discrete value is out of range.
        """
        encode_obs, encode_action = self._current_encoders()
        tensor = self._like()
        device, dtype = tensor.device, tensor.dtype
        state_th = encode_obs(state, device, dtype, "state")
        action_th = encode_action(action, device, dtype, "action")
        next_state_th = encode_obs(next_state, device, dtype, "next_state")
        done_th = _encoding.to_float(done, device, dtype)
        size = _encoding.batch_size(state_th)
        if not (action_th.shape[0] == size == _encoding.batch_size(next_state_th) and done_th.shape == (size,)):
            raise ValueError(
                f"Batch sizes differ: state {size}, action {_encoding.batch_size(action_th)}, next_state "
                f"{_encoding.batch_size(next_state_th)}, and done has shape {tuple(done_th.shape)}; expected ({size},)."
            )
        return state_th, action_th, next_state_th, done_th

    def _current_encoders(self) -> tuple[_encoding.Encoder, _encoding.Encoder]:
        made_for = (self.observation_space, self.action_space, self.normalize_images)
        if self._encoders is None or not all(map(operator.is_, self._encoders[0], made_for)):
            encode_obs, encode_action = (_encoding.make_encoder(s, self.normalize_images) for s in made_for[:2])
            self._encoders = (made_for, (encode_obs, encode_action))
        return self._encoders[1]

    def _array_encoder(self) -> Callable[..., tuple[Any, ...]]:
        """As `preprocess`, from arrays to float32 arrays; raises `NotAtHand` where `preprocess` should look at them."""
        encode_obs, encode_action = self._current_encoders()

        def encode(state: Any, action: Any, next_state: Any, done: np.ndarray) -> tuple[Any, ...]:
            states, actions = encode_obs.array(state, "state"), encode_action.array(action, "action")
            next_states = encode_obs.array(next_state, "next_state")
            if not (_encoding.batch_size(states) == len(actions) == _encoding.batch_size(next_states) == len(done)):
                raise _encoding.NotAtHand
            return states, actions, next_states, done.astype(np.float32)

        return encode

    def _evaluated(self) -> Sequence[nn.Module]:
        """What `evaluation.evaluate` evaluates."""
        return [self]

    def predict_th(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> th.Tensor:
        """Rewards without gradients, shape `(batch,)`, on the network's device; arguments as in `preprocess`.

        Args:
            state: see there.
            action: see there.
            next_state: see there.
            done: see there.
            **kwargs: what the `forward` of a class takes besides.

        Raises:
            ValueError: as in `preprocess`, or if `forward` returns another shape.
        """
        with evaluating(self), th.no_grad():
            inputs = self.preprocess(state, action, next_state, done)
            rewards = self(*inputs, **kwargs)
        if rewards.shape != inputs[3].shape:
            raise ValueError(
                f"{type(self).__name__}.forward returned shape {tuple(rewards.shape)}; expected "
                f"{tuple(inputs[3].shape)}, one reward per transition. A trailing axis goes with .squeeze(-1)."
            )
        return rewards.detach()

    def predict(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """Rewards as a float32 array `(batch,)`; arguments as in `predict_th`."""
        rewards = None if kwargs else evaluation.evaluate(self, (state, action, next_state, done))
        return to_numpy(self.predict_th(state, action, next_state, done, **kwargs)) if rewards is None else rewards

    def predict_processed(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """Rewards to train a policy on: those of `predict` after every `PredictProcessedWrapper`.

        Args:
            state: arguments as in `preprocess`.
            action: see there.
            next_state: see there.
            done: see there.
            **kwargs: for the wrappers and ensemble members underneath, such as `update_stats`; ignored here.

        Returns:
            float32 array `(batch,)`.
        """
        del kwargs
        return self.predict(state, action, next_state, done)

    def _like(self) -> th.Tensor:
        tensor = float_parameter(self)
        return self._anchor if tensor is None else tensor

    @property
    def device(self) -> th.device:
        """Where the parameters of the network, or of what it wraps, are."""
        return self._like().device

    @property
    def dtype(self) -> th.dtype:
        """Floating-point type of these parameters."""
        return self._like().dtype


class RewardNetWrapper(RewardNet):
    """A reward network around another, `base`. Derive from one of the two kinds below, not from this class."""

    def __init__(self, base: RewardNet):
        if not isinstance(base, RewardNet):
            raise TypeError(f"{type(self).__name__} wraps a RewardNet, got a {type(base).__name__}: {base!r}.")
        super().__init__(base.observation_space, base.action_space, base.normalize_images)
        self._base = base

    @property
    def base(self) -> RewardNet:
        """The network that is wrapped."""
        base = self._modules["_base"]
        assert isinstance(base, RewardNet)
        return base

    def _like(self) -> th.Tensor:
        return self.base._like()

    def preprocess(self, state: Any, action: Any, next_state: Any, done: Any) -> tuple[Any, Any, Any, th.Tensor]:
        """What the base makes of the inputs."""
        return self.base.preprocess(state, action, next_state, done)


class ForwardWrapper(RewardNetWrapper):
    """Changes `forward`, differentiably, and with it everything that is predicted. Goes inside.

    Raises:
        ValueError: if `base` is a `PredictProcessedWrapper`, whose effect would be lost in `forward`, or an ensemble,
            which has no `forward`.
    """

    def __init__(self, base: RewardNet):
        if isinstance(base, PredictProcessedWrapper):
            inner, outer = type(self).__name__, type(base).__name__
            raise ValueError(
                f"{inner} is a ForwardWrapper and cannot wrap {outer}, a PredictProcessedWrapper, which does not act "
                f"in forward(). Move {outer} outside: {outer}({inner}(base, ...), ...)."
            )
        if isinstance(base, RewardNet) and not base.has_forward:
            inner, outer = type(base).__name__, type(self).__name__
            raise ValueError(f"{inner} has no forward() for {outer} to change: wrap each of its members instead.")
        super().__init__(base)


class PredictProcessedWrapper(RewardNetWrapper):
    """Changes `predict_processed` alone: `forward`, `predict_th` and `predict` are the base's. Goes outside."""

    def forward(self, state: th.Tensor, action: th.Tensor, next_state: th.Tensor, done: th.Tensor) -> th.Tensor:
        """The base's `forward`."""
        return self.base(state, action, next_state, done)

    @abc.abstractmethod
    def predict_processed(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """The base's processed rewards, changed. Pass `**kwargs` on to the base."""

    def predict(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> np.ndarray:
        """The base's `predict`."""
        return self.base.predict(state, action, next_state, done, **kwargs)

    def predict_th(self, state: Any, action: Any, next_state: Any, done: Any, **kwargs: Any) -> th.Tensor:
        """The base's `predict_th`."""
        return self.base.predict_th(state, action, next_state, done, **kwargs)


class RewardNetWithVariance(RewardNet):
    """A reward network that knows how uncertain it is."""

    @abc.abstractmethod
    def predict_reward_moments(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any,
        **kwargs: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the reward, each `(batch,)`; arguments as in `RewardNet.predict_processed`."""


def wrapper_chain(net: RewardNet) -> list[RewardNet]:
    """The network and all it wraps, outermost first. An ensemble ends the chain."""
    chain = [net]
    while isinstance(chain[-1], RewardNetWrapper):
        chain.append(chain[-1].base)
    return chain
