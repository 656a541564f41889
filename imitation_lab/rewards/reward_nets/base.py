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
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch as th
from torch import nn

from imitation_lab.rewards.reward_nets import _encoding, _fast
from imitation_lab.rewards.reward_nets._recording import Recorded


class eval_mode:  # noqa: N801 - reads as the context manager that it is
    """Evaluation mode within the context; each submodule gets its own mode back.

    Same effect as `util.networks.evaluating`. This one runs at each environment step: it walks the tree once, without
    generators, and touches only modules that are in training mode.
    """

    __slots__ = ("active", "module")

    def __init__(self, module: nn.Module):
        self.module = module

    def __enter__(self) -> None:
        self.active: list[nn.Module] = []
        _collect_training(self.module, self.active)
        for module in self.active:
            _set_mode(module, False)

    def __exit__(self, *exc: object) -> None:
        for module in self.active:
            _set_mode(module, True)


def _collect_training(module: nn.Module, into: list[nn.Module]) -> None:
    if module.training:
        into.append(module)
    for child in module._modules.values():
        if child is not None:
            _collect_training(child, into)


def _set_mode(module: nn.Module, mode: bool) -> None:
    if "training" in module.__dict__:
        module.__dict__["training"] = mode  # past nn.Module.__setattr__, which costs ten times as much
    else:  # a ScriptModule keeps it elsewhere
        module.training = mode


_OVERRIDABLE = frozenset({"forward", "preprocess", "predict_th"})  # on an instance, as tests do


def _first_parameter(module: nn.Module) -> th.Tensor | None:
    for parameter in module._parameters.values():
        if parameter is not None and parameter.is_floating_point():
            return parameter
    for child in module._modules.values():
        if child is not None and (found := _first_parameter(child)) is not None:
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
    _transient: tuple[str, ...] = ("_encoders", "_fast_plan")
    _encoders: tuple[_encoding.Encoder, _encoding.Encoder] | None = None
    _fast_plan: _fast.Fast | None = None
    _anchor: th.Tensor

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        normalize_images: bool = True,
    ):
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
    def forward(
        self,
        state: th.Tensor,
        action: th.Tensor,
        next_state: th.Tensor,
        done: th.Tensor,
    ) -> th.Tensor:
        """Rewards of preprocessed transitions, differentiable.

        Args:
            state: what `preprocess` gave: `(batch, *obs_shape)`, one-hot `(batch, n)`, or a dict of these.
            action: likewise.
            next_state: likewise.
            done: shape `(batch,)`, 1 where the episode ended.

        Returns:
            Tensor of shape `(batch,)`.
        """

    def preprocess(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any,
    ) -> tuple[Any, Any, Any, th.Tensor]:
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
        encode_obs, encode_action = self._encoders or self._make_encoders()
        tensor = _first_parameter(self)
        if tensor is None:
            tensor = self._anchor
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

    def _make_encoders(self) -> tuple[_encoding.Encoder, _encoding.Encoder]:
        observation, action = (
            _encoding.make_encoder(space, self.normalize_images)
            for space in (self.observation_space, self.action_space)
        )
        self._encoders = (observation, action)
        return self._encoders

    def predict_th(self, state: Any, action: Any, next_state: Any, done: Any) -> th.Tensor:
        """Rewards without gradients, shape `(batch,)`, on the network's device; arguments as in `preprocess`.

        Raises:
            ValueError: as in `preprocess`, or if `forward` returns another shape.
        """
        fast = self._fast_current()
        if fast is not None and fast.evaluate is not None:
            with th.no_grad():
                return fast.evaluate(*self.preprocess(state, action, next_state, done))
        with eval_mode(self), th.no_grad():
            inputs = self.preprocess(state, action, next_state, done)
            rewards = self(*inputs)
        if rewards.shape != inputs[3].shape:
            raise ValueError(
                f"{type(self).__name__}.forward returned shape {tuple(rewards.shape)}; expected "
                f"{tuple(inputs[3].shape)}, one reward per transition. A trailing axis goes with .squeeze(-1)."
            )
        return rewards.detach()

    def _fast_current(self) -> _fast.Fast | None:
        if type(self) not in _fast.builders or not _OVERRIDABLE.isdisjoint(self.__dict__):
            return None
        if self._fast_plan is None or self._fast_plan.stale():
            self._fast_plan = _fast.Fast([self])
        return None if self._fast_plan.hooked() else self._fast_plan

    def _predict_arrays(
        self, evaluate: _fast.ArrayEvaluator | None, state: Any, action: Any, next_state: Any, done: Any
    ) -> np.ndarray | None:
        """Calls `evaluate` on a small batch of arrays, encoded; None where the usual way must be taken."""
        if evaluate is None or type(done) is not np.ndarray or done.ndim != 1 or not 0 < len(done) <= _fast.SMALL:
            return None
        encode_obs, encode_action = self._encoders or self._make_encoders()
        try:
            states = encode_obs.array(state, "state")
            actions = encode_action.array(action, "action")
            next_states = encode_obs.array(next_state, "next_state")
            size = len(done)
            if not (_encoding.batch_size(states) == len(actions) == _encoding.batch_size(next_states) == size):
                return None  # let `preprocess` say what is wrong
            with np.errstate(all="ignore"):  # as torch, which does not warn of infinities
                return evaluate(states, actions, next_states, done.astype(np.float32))
        except _encoding.NotAtHand:
            return None

    def predict(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        """Rewards as a float32 array `(batch,)`; arguments as in `preprocess`."""
        if (fast := self._fast_current()) is not None:
            rewards = self._predict_arrays(fast.evaluate_arrays, state, action, next_state, done)
            if rewards is not None:
                return rewards
        return to_numpy(self.predict_th(state, action, next_state, done))

    def predict_processed(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any,
        **kwargs: Any,
    ) -> np.ndarray:
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

    @property
    def device(self) -> th.device:
        """Where the network's parameters are."""
        tensor = _first_parameter(self)
        return (self._anchor if tensor is None else tensor).device

    @property
    def dtype(self) -> th.dtype:
        """Floating-point type of the network's parameters."""
        tensor = _first_parameter(self)
        return (self._anchor if tensor is None else tensor).dtype


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

    @property
    def device(self) -> th.device:
        """Where the base's parameters are."""
        return self.base.device

    @property
    def dtype(self) -> th.dtype:
        """Floating-point type of the base's parameters."""
        return self.base.dtype

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
    def predict_processed(
        self,
        state: Any,
        action: Any,
        next_state: Any,
        done: Any,
        **kwargs: Any,
    ) -> np.ndarray:
        """The base's processed rewards, changed. Pass `**kwargs` on to the base."""

    def predict(self, state: Any, action: Any, next_state: Any, done: Any) -> np.ndarray:
        """The base's `predict`."""
        return self.base.predict(state, action, next_state, done)

    def predict_th(self, state: Any, action: Any, next_state: Any, done: Any) -> th.Tensor:
        """The base's `predict_th`."""
        return self.base.predict_th(state, action, next_state, done)


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
