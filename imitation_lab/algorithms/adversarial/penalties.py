"""What keeps a discriminator smooth: gradient penalties, added to its loss, and spectral normalization of its layers.

Orsini et al. (2021), "What matters for adversarial imitation learning?", compare these: each of them helps.

Pass `penalties=[R1Penalty(1.0)]` to a trainer. Any callable with the signature of `Penalty` serves as well.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch as th
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from imitation_lab.algorithms.adversarial._pool import cut
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.util import codec
from imitation_lab.util.networks import evaluating

__all__ = [
    "Inputs", "Network", "ModuleT", "Penalty", "R1Penalty", "WGANGPPenalty", "penalties_of", "squared_gradient",
    "spectral_normalize", "bake_spectral_norm",
]  # fmt: skip

Inputs = tuple[Any, Any, Any, th.Tensor]
"""State, action, next state, done, as `RewardNet.forward` takes them; a state may be a dict of tensors."""
Network = Callable[[Any, Any, Any, th.Tensor], th.Tensor]
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Penalty(Protocol):
    """A term of the discriminator's loss."""

    def __call__(self, network: Network, expert: Inputs, generated: Inputs) -> th.Tensor:
        """A scalar with its graph.

        Args:
            network: from inputs to `(batch,)`. For AIRL this is f; log π does not depend on what is trained.
            expert: a batch of the expert's transitions, preprocessed.
            generated: as many of the learner's.
        """
        ...


@codec.register_class
@dataclasses.dataclass(frozen=True)
class R1Penalty:
    """Weight / 2 · E over the expert's data of |∇ D|², with D the logit (Mescheder et al. 2018).

    Attributes:
        weight: of the penalty.
    """

    weight: float = 1.0

    def __call__(self, network: Network, expert: Inputs, generated: Inputs) -> th.Tensor:
        """See `Penalty`."""
        return 0.5 * self.weight * squared_gradient(network, expert).mean()


@codec.register_class
@dataclasses.dataclass(frozen=True)
class WGANGPPenalty:
    """Weight · E (|∇ D| − 1)², between an expert's and a learner's transition (Gulrajani et al. 2017).

    Each pair is mixed at a point drawn uniformly between both. One-hot actions are mixed like numbers.

    Attributes:
        weight: of the penalty.
        target: the slope that costs nothing.
    """

    weight: float = 10.0
    target: float = 1.0

    def __call__(self, network: Network, expert: Inputs, generated: Inputs) -> th.Tensor:
        """See `Penalty`."""
        share = th.rand(len(expert[3]), device=expert[3].device, dtype=expert[3].dtype)
        mixed = tuple(_mix(e, g, share) for e, g in zip(expert, generated, strict=True))
        # The root has no gradient at 0, where a network that ignores its inputs begins.
        norm = (squared_gradient(network, mixed) + 1e-12).sqrt()
        return self.weight * (norm - self.target).square().mean()


def penalties_of(penalties: Sequence[Penalty], network: RewardNet, inputs: Inputs) -> th.Tensor:
    """The sum of penalties on a batch whose first half is the expert's.

    The network is in evaluation mode for it: its norms have met these transitions already, and shall not meet mixtures.
    """
    half = len(inputs[3]) // 2
    expert, learner = (tuple(cut(x, rows) for x in inputs) for rows in (slice(0, half), slice(half, None)))
    with evaluating(network):
        return sum((p(network, expert, learner) for p in penalties), start=inputs[3].new_zeros(()))


def squared_gradient(network: Network, inputs: Inputs) -> th.Tensor:
    """|∇ network|² with respect to state, action and next state, `(batch,)`, differentiable once more."""
    leaves: list[th.Tensor] = []
    state, action, next_state = (_leaves(part, leaves) for part in inputs[:3])
    output = network(state, action, next_state, inputs[3])
    gradients = th.autograd.grad(output.sum(), leaves, create_graph=True, allow_unused=True)
    return sum((g.square().flatten(1).sum(1) for g in gradients if g is not None), start=th.zeros_like(output))


def _leaves(part: Any, found: list[th.Tensor]) -> Any:
    if isinstance(part, dict):
        return {key: _leaves(value, found) for key, value in part.items()}
    found.append(part.detach().requires_grad_())
    return found[-1]


def _mix(a: Any, b: Any, share: th.Tensor) -> Any:
    if isinstance(a, dict):
        return {key: _mix(a[key], b[key], share) for key in a}
    weight = share.reshape(-1, *[1] * (a.ndim - 1))
    return weight * a + (1 - weight) * b


def spectral_normalize(network: ModuleT) -> ModuleT:
    """Divides the weights of all linear and convolutional layers by their largest singular value (Miyato et al. 2018).

    The network is changed in place. Apply it before the trainer is built, and `bake_spectral_norm` before the
    network is saved.

    Returns:
        `network`.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d) and not parametrize.is_parametrized(module, "weight"):
            parametrizations.spectral_norm(module)
    return network


def bake_spectral_norm(network: ModuleT) -> ModuleT:
    """Makes the normalized weights of `spectral_normalize` plain weights again; returns `network`."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            module.eval()  # in training mode, reading the weight estimates the singular value anew
            parametrize.remove_parametrizations(module, "weight")
    return network
