"""Reward networks and potentials made of an MLP or a CNN."""

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import torch as th
from gymnasium import spaces
from torch import nn

from imitation_lab.rewards.reward_nets._encoding import flat_size, flatten, join
from imitation_lab.rewards.reward_nets.base import RewardNet
from imitation_lab.rewards.reward_nets.constructor import Recorded
from imitation_lab.rewards.reward_nets.evaluation import Plan, Steps, planner
from imitation_lab.util.networks import build_cnn, build_mlp

__all__ = ["BasicRewardNet", "CnnRewardNet", "CNNRewardNet", "BasicPotentialMLP", "BasicPotentialCNN", "cnn_transpose"]

_USES = ("use_state", "use_action", "use_next_state", "use_done")


class BasicRewardNet(RewardNet):
    """MLP over any of state, action, next state and done, flattened and joined in this order.

    Args:
        observation_space: as in `RewardNet`; keys of a `Dict` are joined in the space's order.
        action_space: as in `RewardNet`.
        use_state: whether the current state is an input.
        use_action: whether the action is.
        use_next_state: whether the next state is.
        use_done: whether the done flag is.
        **kwargs: for `util.networks.build_mlp`, beside `hid_sizes`, by default `(32, 32)`.

    Raises:
        ValueError: if nothing is used, or a space is not supported.
    """

    _bypassed = (*RewardNet._bypassed, "join")

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        use_state: bool = True,
        use_action: bool = True,
        use_next_state: bool = False,
        use_done: bool = False,
        **kwargs: Any,
    ):
        super().__init__(observation_space, action_space)
        self.use_state = use_state
        self.use_action = use_action
        self.use_next_state = use_next_state
        self.use_done = use_done
        obs_size = flat_size(observation_space)
        sizes = (obs_size, flat_size(action_space), obs_size, 1)
        used = (use_state, use_action, use_next_state, use_done)
        if not any(used):
            raise ValueError(
                "A reward of nothing cannot be learned: set one of use_state, use_action, use_next_state, use_done."
            )
        in_size = sum(size for size, use in zip(sizes, used, strict=True) if use)
        options = {"hid_sizes": (32, 32), **kwargs, "in_size": in_size, "out_size": 1, "squeeze_output": True}
        self.mlp = build_mlp(**options)

    def join(self, state: Any, action: Any, next_state: Any, done: Any) -> Any:
        """The MLP's input, `(batch, in_size)`; arguments as in `forward`, tensors or arrays."""
        parts = []
        if self.use_state:
            parts.append(flatten(state))
        if self.use_action:
            parts.append(flatten(action))
        if self.use_next_state:
            parts.append(flatten(next_state))
        if self.use_done:
            parts.append(done[:, None])
        return parts[0] if len(parts) == 1 else join(parts)

    def forward(self, state: th.Tensor, action: th.Tensor, next_state: th.Tensor, done: th.Tensor) -> th.Tensor:
        """Rewards, `(batch,)`; arguments as in `RewardNet.forward`."""
        return self.mlp(self.join(state, action, next_state, done))


def cnn_transpose(tens: th.Tensor) -> th.Tensor:
    """Images `(batch, height, width, channels)` as `(batch, channels, height, width)`.

    Raises:
        ValueError: if `tens` has not four axes.
    """
    if tens.ndim != 4:
        raise ValueError(f"Images have shape (batch, height, width, channels), got {tuple(tens.shape)}.")
    return tens.permute(0, 3, 1, 2)


def _image_channels(space: gym.Space, hwc_format: bool) -> int:
    if not (isinstance(space, spaces.Box) and len(space.shape) == 3):
        raise ValueError(
            f"A CNN needs image observations, a Box with three axes, got {space}. Use BasicRewardNet or "
            "BasicPotentialMLP for other observations."
        )
    return space.shape[-1] if hwc_format else space.shape[0]


class CnnRewardNet(RewardNet):
    """Convolutional network over images: state, next state or both, stacked along the channels.

    How the other inputs enter:

    1. A `Discrete` action selects one of the network's outputs, one per action.
    2. Any other action is spread over the image as constant channels, one per feature, so that every convolution can
       combine it with what it sees. (Joined to the last layer, it could only add a term that ignores the image.)
    3. `done` selects one of two sets of outputs.

    Args:
        observation_space: image, `(height, width, channels)` or `(channels, height, width)`.
        action_space: as in `RewardNet`.
        use_state: whether the current image is an input.
        use_action: whether the action is.
        use_next_state: whether the next image is.
        use_done: whether the done flag is.
        hwc_format: whether the channels are the last axis of the observations, else the first.
        **kwargs: for `util.networks.build_cnn`, beside `hid_channels`, by default `(32, 32)`.

    Raises:
        ValueError: if observations are no images, or neither state nor next state is used.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        use_state: bool = True,
        use_action: bool = True,
        use_next_state: bool = False,
        use_done: bool = False,
        hwc_format: bool = True,
        **kwargs: Any,
    ):
        super().__init__(observation_space, action_space)
        self.use_state = use_state
        self.use_action = use_action
        self.use_next_state = use_next_state
        self.use_done = use_done
        self.hwc_format = hwc_format
        if not (use_state or use_next_state):
            raise ValueError("CnnRewardNet needs an image: set use_state or use_next_state.")
        self._selects = use_action and isinstance(action_space, spaces.Discrete)
        channels = _image_channels(observation_space, hwc_format) * (int(use_state) + int(use_next_state))
        if use_action and not self._selects:
            channels += flat_size(action_space)
        outputs = flat_size(action_space) if self._selects else 1
        options = {"hid_channels": (32, 32), **kwargs}
        self.cnn = build_cnn(**{**options, "in_channels": channels, "out_size": outputs * (2 if use_done else 1)})

    def get_num_channels_obs(self, space: spaces.Box) -> int:
        """Channels of one image of `space`."""
        return _image_channels(space, self.hwc_format)

    def forward(self, state: th.Tensor, action: th.Tensor, next_state: th.Tensor, done: th.Tensor) -> th.Tensor:
        """Rewards, `(batch,)`; arguments as in `RewardNet.forward`."""
        planes = []
        for image, used in ((state, self.use_state), (next_state, self.use_next_state)):
            if used:
                planes.append(cnn_transpose(image) if self.hwc_format else image)
        if self.use_action and not self._selects:
            features = flatten(action)
            planes.append(features[:, :, None, None].expand(-1, -1, *planes[0].shape[2:]))
        outputs = self.cnn(planes[0] if len(planes) == 1 else th.cat(planes, dim=1))
        if self.use_done:
            running, ended = outputs.chunk(2, dim=1)
            outputs = th.where(done.bool()[:, None], ended, running)
        return (outputs * action).sum(dim=1) if self._selects else outputs.squeeze(1)


CNNRewardNet = CnnRewardNet


class BasicPotentialMLP(Recorded):
    """Potential Φ(s) as an MLP.

    Args:
        observation_space: any that `BasicRewardNet` supports.
        hid_sizes: width of each hidden layer.
        **kwargs: for `util.networks.build_mlp`.
    """

    def __init__(self, observation_space: gym.Space, hid_sizes: Iterable[int], **kwargs: Any):
        super().__init__()
        options = {**kwargs, "in_size": flat_size(observation_space), "hid_sizes": hid_sizes}
        self._potential_net = build_mlp(**{**options, "out_size": 1, "squeeze_output": True})

    def forward(self, state: th.Tensor) -> th.Tensor:
        """Potentials, `(batch,)`, of states as `RewardNet.preprocess` gives them."""
        return self._potential_net(flatten(state))


class BasicPotentialCNN(Recorded):
    """Potential Φ(s) of images as a CNN.

    Args:
        observation_space: image, as for `CnnRewardNet`.
        hid_sizes: channels of each convolution.
        hwc_format: whether the channels are the last axis of the observations, else the first.
        **kwargs: for `util.networks.build_cnn`.

    Raises:
        ValueError: if observations are no images.
    """

    def __init__(self, observation_space: gym.Space, hid_sizes: Iterable[int], hwc_format: bool = True, **kwargs: Any):
        super().__init__()
        self.hwc_format = hwc_format
        channels = _image_channels(observation_space, hwc_format)
        options = {**kwargs, "in_channels": channels, "hid_channels": hid_sizes}
        self._potential_net: nn.Module = build_cnn(**{**options, "out_size": 1, "squeeze_output": True})

    def forward(self, state: th.Tensor) -> th.Tensor:
        """Potentials, `(batch,)`, of images as `RewardNet.preprocess` gives them."""
        return self._potential_net(cnn_transpose(state) if self.hwc_format else state)


@planner(BasicRewardNet)
def _plan_basic(plan: Plan, networks: Sequence[BasicRewardNet]) -> Steps:
    for name in ("observation_space", "action_space", "normalize_images", *_USES):
        plan.agreed(networks, name)
    steps, first = plan.build([network._modules["mlp"] for network in networks]), networks[0]
    plan.encode = first._array_encoder()
    return lambda *inputs: steps(first.join(*inputs))


@planner(BasicPotentialMLP)
def _plan_potential(plan: Plan, networks: Sequence[BasicPotentialMLP]) -> Steps:
    steps = plan.build([network._modules["_potential_net"] for network in networks])
    return lambda state: steps(flatten(state))
