"""Evaluation in NumPy, for batches so small that modules and tensors cost far more than the arithmetic.

What a reward is, `forward` says. For the library's own classes it is put together once more as steps on views of the
parameters' memory, in evaluation mode, for one network or for several alike ones, with one product per layer for all.

A `Plan` watches all that it took from the networks. Before each use it looks everything up again where it was found,
and a plan that finds anything else is made anew. Where a method was replaced or a hook waits to be called, where a
class is not the library's, or tensors are not float32 in host memory, the modules themselves run.
"""

import contextlib
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, starmap
from typing import Any

import numpy as np
import torch as th
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as nn_module

from imitation_lab.rewards.reward_nets._encoding import NotAtHand
from imitation_lab.util.networks import EMANorm, RunningNorm, SqueezeLayer

__all__ = ["Plan", "SMALL", "Steps", "alike", "evaluate", "planner", "remember", "stack_mlps", "untouched"]

SMALL = 1024
"""Largest batch for which the steps are used: above, torch's kernels and threads win."""

Steps = Callable[..., np.ndarray]
"""From arrays `(batch, ...)` to `(batch,)`, or to `(networks, batch)` where there are several networks."""

_GLOBAL_HOOKS: list[dict[int, Any]] = [nn_module._global_forward_hooks, nn_module._global_forward_pre_hooks]
_planners: dict[type[nn.Module], Callable[["Plan", Sequence[Any]], Any]] = {}
_originals: dict[type[nn.Module], dict[str, Any]] = {}


def _bypassed(cls: type) -> tuple[str, ...]:
    """Methods that are not called where the steps run."""
    return getattr(cls, "_bypassed", ("forward",))


def remember(*classes: type[nn.Module]) -> None:
    """Keeps the methods that steps stand for, so that it is noticed when a class is patched."""
    for cls in classes:
        _originals[cls] = {name: getattr(cls, name) for name in _bypassed(cls)}


def planner(*classes: type[nn.Module]) -> Callable[[Callable[["Plan", Sequence[Any]], Any]], Any]:
    """Decorates what makes steps, from a plan and networks or layers of exactly one of these classes."""
    remember(*classes)

    def register(make: Callable[["Plan", Sequence[Any]], Any]) -> Any:
        _planners.update(dict.fromkeys(classes, make))
        return make

    return register


def untouched(module: nn.Module) -> bool:
    """Whether a module's class is one of those remembered, and neither it nor the module was patched or hooked."""
    cls, own = type(module), vars(module)
    if cls not in _originals or own["_forward_hooks"] or own["_forward_pre_hooks"] or any(_GLOBAL_HOOKS):
        return False
    for name, method in _originals[cls].items():  # noqa: SIM110 - a generator would cost more than all that it does
        if name in own or getattr(cls, name) is not method:
            return False
    return True


class Plan:
    """Steps that evaluate `networks`, and all that has to stay as it is for them to be right.

    Args:
        root: the network that is evaluated; a change anywhere below it is noticed.
        networks: `root` alone, or several inside it.

    Attributes:
        steps: the steps; None where there are none.
        encode: turns a batch of transitions into what the steps take.
    """

    encode: Callable[..., Sequence[Any]]

    def __init__(self, root: nn.Module, networks: Sequence[nn.Module]):
        self._modules = list(root.modules())
        self._children = [m._modules for m in self._modules if m._modules or type(m) not in _LEAVES]
        self._hooks = [*_GLOBAL_HOOKS, *chain(*((m._forward_hooks, m._forward_pre_hooks) for m in self._modules))]
        own = [(vars(module), name) for module in self._modules for name in _bypassed(type(module))]
        self._owners, self._names = zip(*own, strict=True)
        classes = {type(module) for module in self._modules} & _originals.keys()
        self._methods = [(cls, name) for cls in classes for name in _originals[cls]]
        self._original = list(chain.from_iterable(_originals[cls].values() for cls in classes))
        self._stores: list[dict[str, Any]] = []
        self._keys: list[str] = []
        self._taken: list[Any] = []
        self._tensors: list[th.Tensor] = []
        self.steps: Steps | None = None
        with contextlib.suppress(NotAtHand):
            self.steps = self.build(networks)
        self._matrices = [tensor for tensor in self._tensors if tensor.ndim > 1]
        self._known = self._facts()

    def build(self, networks: Sequence[Any]) -> Any:
        """Steps of one or several networks, of the kind that the planner of their class makes.

        Raises:
            NotAtHand: if there are none.
        """
        kind = type(networks[0])
        if kind not in _planners or any(type(network) is not kind for network in networks):
            raise NotAtHand
        return _planners[kind](self, networks)

    def take(self, store: dict[str, Any], name: str) -> Any:
        """What a dict holds under a name, watched from now on; None where there is nothing."""
        self._stores.append(store)
        self._keys.append(name)
        self._taken.append(store.get(name))
        return self._taken[-1]

    def agreed(self, networks: Iterable[nn.Module], name: str) -> Any:
        """The attribute that all networks have under a name.

        Raises:
            NotAtHand: if they differ.
        """
        first, *others = [self.take(vars(network), name) for network in networks]
        if any(type(other) is not type(first) or other != first for other in others):
            raise NotAtHand
        return first

    def numbers(self, networks: Sequence[nn.Module], name: str) -> Any:
        """A number that each network has as an attribute: that number, or an array `(networks, 1)`.

        Raises:
            NotAtHand: if one is something else.
        """
        values = [self.take(vars(network), name) for network in networks]
        if not all(isinstance(value, int | float) for value in values):
            raise NotAtHand
        return float(values[0]) if len(values) == 1 else np.array(values, np.float64)[:, None]

    def arrays(self, stores: Iterable[dict[str, Any]], name: str, dtype: th.dtype = th.float32) -> list[Any]:
        """Views of the tensors of one name, all of one shape; Nones where none has it.

        Raises:
            NotAtHand: if one cannot be viewed, or is not like the others.
        """
        tensors = [self.take(store, name) for store in stores]
        if all(tensor is None for tensor in tensors):
            return tensors
        if any(type(tensor) not in (th.Tensor, nn.Parameter) for tensor in tensors):
            raise NotAtHand
        self._tensors += tensors
        if any(t.device.type != "cpu" or t.dtype is not dtype or not t.is_contiguous() for t in tensors):
            raise NotAtHand
        if any(tensor.shape != tensors[0].shape for tensor in tensors):
            raise NotAtHand
        return [tensor.detach().numpy() for tensor in tensors]

    def _facts(self) -> list[Any]:
        """What is compared by value: the tree of modules, and where the tensors are and how they lie there."""
        return [
            *map(type, self._modules),
            *chain.from_iterable(map(dict.values, self._children)),
            *map(th.Tensor.data_ptr, self._tensors),  # `tensor.data = other` keeps the tensor
            *map(th.Tensor.numel, self._tensors),
            *map(th.Tensor.is_contiguous, self._matrices),  # of a vector there is no other view of that start and size
        ]

    def holds(self) -> bool:
        """Whether everything is still where it was found. Else the steps are of no use, and must not be run."""
        same = all(map(operator.is_, map(dict.get, self._stores, self._keys), self._taken))
        return same and self._facts() == self._known

    def usable(self) -> bool:
        """Whether the steps do all that the modules would."""
        return (
            self.steps is not None
            and not any(self._hooks)
            and not any(map(operator.contains, self._owners, self._names))
            and all(map(operator.is_, starmap(getattr, self._methods), self._original))
        )


@np.errstate(all="ignore")  # as torch, which does not warn of infinities; entering it here costs half
def _quietly(plan: Plan, transition: Sequence[Any]) -> np.ndarray:
    assert plan.steps is not None
    return plan.steps(*plan.encode(*transition))


def evaluate(root: Any, transition: Sequence[Any]) -> np.ndarray | None:
    """Rewards of a small batch of arrays: `(batch,)`, or `(networks, batch)`; None where the modules must run.

    Args:
        root: a network, which keeps its plan as `_plan` and names in `_evaluated()` what is evaluated.
        transition: state, action, next state and done, as for `RewardNet.predict`.
    """
    done = transition[3]
    if type(done) is not np.ndarray or done.ndim != 1 or not 0 < len(done) <= SMALL:
        return None
    plan = root._plan
    if plan is None or not plan.holds():
        plan = root.__dict__["_plan"] = Plan(root, root._evaluated())
    if not plan.usable():
        return None
    try:
        rewards = _quietly(plan, transition)
    except NotAtHand:
        return None
    return rewards if rewards.shape[-1:] == done.shape else None


@planner(nn.Sequential)
def _mlp(plan: Plan, mlps: Sequence[nn.Sequential]) -> Steps:
    """From `(batch, in_size)` to `(batch,)` or `(mlps, batch)`."""
    if len({len(mlp) for mlp in mlps}) > 1:
        raise NotAtHand
    steps = [step for layers in zip(*mlps, strict=True) if (step := plan.build(layers)) is not None]
    if not any(type(layer) is nn.Linear for layer in mlps[0]):
        raise NotAtHand  # the output could be the input's memory

    def evaluate(x: np.ndarray) -> np.ndarray:
        x = x.T  # (features, batch) from here, or (mlps, features, batch): no operand needs to be turned
        for step in steps:
            x = step(x)
        return x

    return evaluate


@planner(nn.Linear)
def _linear(plan: Plan, layers: Sequence[nn.Linear]) -> Steps:
    weights = plan.arrays([layer._parameters for layer in layers], "weight")
    biases = plan.arrays([layer._parameters for layer in layers], "bias")
    if weights[0] is None:
        raise NotAtHand
    if biases[0] is None:
        biases = [np.zeros(len(weight), np.float32) for weight in weights]
    if len(layers) == 1:
        weight, bias = weights[0], biases[0][:, None]

        def single(x: np.ndarray) -> np.ndarray:
            x = weight.dot(x)  # half the overhead of `@`
            x += bias
            return x

        return single

    n, (out, size) = len(layers), weights[0].shape

    def stacked(x: np.ndarray) -> np.ndarray:
        weight, bias = np.concatenate(weights), np.concatenate(biases)
        if x.ndim == 2:  # all see the same input: one product
            x = weight.dot(x)
            x += bias[:, None]
            return x.reshape(n, out, -1)
        x = weight.reshape(n, out, size) @ x
        x += bias.reshape(n, out, 1)
        return x

    return stacked


@planner(RunningNorm, EMANorm)
def _norm(plan: Plan, layers: Sequence[RunningNorm | EMANorm]) -> Steps:
    stores = [layer._buffers for layer in layers]
    means, variances = (plan.arrays(stores, name, th.float64) for name in ("running_mean", "running_var"))
    eps = plan.numbers(layers, "eps")
    if means[0] is None or variances[0] is None:
        raise NotAtHand

    def step(x: np.ndarray) -> np.ndarray:
        mean, scale = np.array(means), np.sqrt(np.array(variances) + eps)
        return ((x - mean[..., None]) / scale[..., None]).astype(np.float32)

    if len(layers) == 1:
        return lambda x: step(x)[0]
    return step


_ZERO = np.zeros((), np.float32)  # a number would first be made an array, at each call


@planner(nn.ReLU)
def _relu(plan: Plan, layers: Sequence[nn.Module]) -> Steps:
    return lambda x: np.maximum(x, _ZERO)


@planner(nn.Tanh)
def _tanh(plan: Plan, layers: Sequence[nn.Module]) -> Steps:
    return np.tanh


@planner(SqueezeLayer)
def _squeeze(plan: Plan, layers: Sequence[nn.Module]) -> Steps:
    def step(x: np.ndarray) -> np.ndarray:
        if x.shape[-2] != 1:
            raise NotAtHand  # let the layer say what is wrong
        return x[..., 0, :]

    return step


@planner(nn.Identity, nn.Dropout, nn.Flatten)
def _nothing(plan: Plan, layers: Sequence[nn.Module]) -> None:
    """What these do to flat features in evaluation mode."""
    if isinstance(layers[0], nn.Flatten) and plan.agreed(layers, "start_dim") != 1:
        raise NotAtHand


_LEAVES = tuple(_planners.keys() - {nn.Sequential})
_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)


def stack_mlps(mlps: Sequence[nn.Module]) -> Callable[[th.Tensor], th.Tensor] | None:
    """Several alike MLPs with one batched product per layer, differentiable, for training them together.

    Returns:
        From tensors `(batch, in_size)`, or `(mlps, batch, in_size)`, to `(mlps, batch)`. None where a layer is neither
        linear nor elementwise.
    """
    known = (nn.Linear, SqueezeLayer, nn.Identity, nn.Flatten, *_ELEMENTWISE)
    if type(mlps[0]) is not nn.Sequential or any(type(layer) not in known for layer in mlps[0]):
        return None

    def evaluate(x: th.Tensor) -> th.Tensor:
        for layers in zip(*mlps, strict=True):
            if type(layers[0]) is nn.Linear:
                x = _stacked_linear(layers, x)
            elif type(layers[0]) in _ELEMENTWISE:
                x = layers[0](x)
        return x.squeeze(-1)

    return evaluate


def _stacked_linear(layers: Sequence[Any], x: th.Tensor) -> th.Tensor:
    # The dicts themselves: nn.Module's attribute access costs as much as a small product.
    stores = [layer._parameters for layer in layers]
    weight = th.cat([store["weight"] for store in stores])
    bias = None if stores[0]["bias"] is None else th.cat([store["bias"] for store in stores])
    n, out = len(layers), len(stores[0]["weight"])
    if x.ndim == 2:  # all see the same input: one product
        return F.linear(x, weight, bias).view(-1, n, out).transpose(0, 1)
    weights = weight.view(n, out, -1).transpose(1, 2)
    return th.bmm(x, weights) if bias is None else th.baddbmm(bias.view(n, 1, out), x, weights)


def alike(networks: Sequence[nn.Module]) -> bool:
    """Whether networks agree in classes, shapes, dtypes and plain attributes throughout, and none is patched."""
    if any("forward" in vars(module) for network in networks for module in network.modules()):
        return False
    try:
        first, *others = map(_description, networks)
        return all(other == first for other in others)
    except (ValueError, RuntimeError):  # arrays or tensors among the attributes: not for us to say
        return False


_SKIPPED = vars(nn.Module()).keys() | {"_init_args", "_encoders", "_plan"}


def _description(network: nn.Module) -> list[Any]:
    shape = lambda p: p if p is None else (p.shape, p.dtype, p.device)
    facts = []
    for name, module in network.named_modules():
        plain = {key: value for key, value in vars(module).items() if key not in _SKIPPED}
        facts.append((name, type(module), plain, {key: shape(p) for key, p in module._parameters.items()}))
    return facts
