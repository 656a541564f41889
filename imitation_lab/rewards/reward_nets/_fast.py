"""Evaluation without the overhead of modules and tensors, which at batch size 8 costs far more than the arithmetic.

For the library's own classes a network's `forward` is put together once as a list of steps on the layers' parameters,
in evaluation mode. The same steps evaluate several alike networks at once, one batched matrix product per layer.
Parameters are read at each call, so nothing can go stale; when a submodule was exchanged, the steps are put together
anew, and while one has a hook, they are not used.

Small batches of arrays, as environments give them, never become tensors where the layers allow it: the steps exist for
NumPy too, on views of the parameters' memory.

Other networks of the library go through `torch.func.vmap` where several are alike. Classes of the user's own are called
as they are: they may hold differences that are no parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch as th
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as nn_module

from imitation_lab.rewards.reward_nets._encoding import NotAtHand
from imitation_lab.util.networks import EMANorm, RunningNorm, SqueezeLayer

Step = Callable[[th.Tensor], th.Tensor]
Evaluator = Callable[..., th.Tensor]
"""From inputs with leading axis `batch` to `(networks, batch)`, or `(batch,)` where there is one network."""

ArrayStep = Callable[[np.ndarray], np.ndarray]
ArrayEvaluator = Callable[..., np.ndarray]
"""As `Evaluator`, on arrays in host memory; raises `NotAtHand` where the parameters are elsewhere."""

SMALL = 64
"""Largest batch for which NumPy is used: above, torch's kernels and threads win."""

_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
_NEUTRAL = (nn.Identity, nn.Dropout, nn.Flatten, SqueezeLayer)  # in evaluation mode, on flat features
_NORMS = (RunningNorm, EMANorm)

builders: dict[type[nn.Module], Callable[[Sequence[Any]], Evaluator | None]] = {}
"""For a class, what makes an evaluator for one or several alike networks of exactly that class."""
array_builders: dict[type[nn.Module], Callable[[Sequence[Any]], ArrayEvaluator | None]] = {}
"""The same, for evaluators on arrays."""
vmappable: set[type[nn.Module]] = {*_NORMS, SqueezeLayer}
"""Classes whose `forward` depends on nothing but parameters, buffers and constructor arguments."""


class Fast:
    """An evaluator of certain networks, and what has to stay the same for it to be right."""

    __slots__ = ("evaluate", "evaluate_arrays", "hooks", "trees")

    def __init__(self, networks: Sequence[nn.Module]):
        modules = [module for network in networks for module in network.modules()]
        self.trees = [(m._modules, tuple(m._modules.values())) for m in modules if m._modules]
        self.hooks: list[dict[Any, Any]] = [nn_module._global_forward_hooks, nn_module._global_forward_pre_hooks]
        for module in modules:
            self.hooks += [module._forward_hooks, module._forward_pre_hooks]
            if not module._modules:
                self.hooks.append(module._modules)  # a leaf that got children is no longer one
        self.evaluate = build(networks, builders)
        self.evaluate_arrays = build(networks, array_builders)

    def stale(self) -> bool:
        """Whether a submodule has been exchanged."""
        # Tuples compare by identity first, so this costs little.
        return any(tuple(children.values()) != known for children, known in self.trees)

    def hooked(self) -> bool:
        """Whether a hook waits to be called, so that the modules themselves must run."""
        return any(self.hooks)


def build(networks: Sequence[nn.Module], using: dict[type[nn.Module], Callable[[Sequence[Any]], Any]]) -> Any:
    """An evaluator for alike networks, from `builders` or `array_builders`; None where there is none."""
    kind = type(networks[0])
    if kind not in using or any("forward" in vars(network) for network in networks) or not alike(networks):
        return None
    return using[kind](networks)


def alike(networks: Sequence[nn.Module]) -> bool:
    """Whether the networks agree in classes, shapes, dtypes and every plain attribute of every submodule."""
    first = _facts(networks[0])
    return all(_facts(network) == first for network in networks[1:])


def _facts(network: nn.Module) -> list[Any]:
    skipped = vars(nn.Module()).keys() | {"_init_args", "_encoders", "_fast_plan"}
    return [
        (
            name,
            type(module),
            {key: value for key, value in vars(module).items() if key not in skipped},
            [(key, None if p is None else (p.shape, p.dtype, p.device)) for key, p in module._parameters.items()],
        )
        for name, module in network.named_modules()
    ]


def build_mlp_steps(mlps: Sequence[nn.Module]) -> Step | None:
    """From `(batch, in_size)` to `(mlps, batch)`, or `(batch,)` for one; None where a layer is not a usual one.

    The MLPs must be alike.
    """
    if type(mlps[0]) is not nn.Sequential:
        return None
    steps: list[Step] = []
    for layers in zip(*mlps, strict=True):
        kind = type(layers[0])
        if kind is nn.Linear:
            steps.append(_linear(layers))
        elif kind in _NORMS:
            steps.append(_norm(layers))
        elif kind is nn.ReLU:
            steps.append(th.relu)
        elif kind in _ELEMENTWISE:
            steps.append(layers[0].forward)
        elif kind not in _NEUTRAL:
            return None

    def evaluate(x: th.Tensor) -> th.Tensor:
        for step in steps:
            x = step(x)
        return x.squeeze(-1)

    return evaluate


def _linear(layers: Sequence[nn.Module]) -> Step:
    # The dicts themselves: nn.Module's attribute access costs as much as a small product.
    stores: list[dict[str, Any]] = [layer._parameters for layer in layers]
    n = len(stores)
    if n == 1:
        (store,) = stores
        return lambda x: F.linear(x, store["weight"], store["bias"])

    def step(x: th.Tensor) -> th.Tensor:
        weight = th.cat([store["weight"] for store in stores])
        bias = None if stores[0]["bias"] is None else th.cat([store["bias"] for store in stores])
        out = weight.shape[0] // n
        if x.ndim == 2:  # all see the same input: one product
            return F.linear(x, weight, bias).view(-1, n, out).transpose(0, 1)
        weights = weight.view(n, out, -1).transpose(1, 2)
        return th.bmm(x, weights) if bias is None else th.baddbmm(bias.view(n, 1, out), x, weights)

    return step


def _norm(layers: Sequence[nn.Module]) -> Step:
    stores: list[dict[str, Any]] = [layer._buffers for layer in layers]
    eps = float(layers[0].eps)  # type: ignore[arg-type]

    def step(x: th.Tensor) -> th.Tensor:
        mean = th.stack([store["running_mean"] for store in stores])[:, None]
        scale = (th.stack([store["running_var"] for store in stores])[:, None] + eps).rsqrt_()
        y = ((x - mean) * scale).to(x.dtype)
        return y if len(stores) > 1 else y[0]

    return step


def build_array_mlp(mlps: Sequence[nn.Module]) -> ArrayStep | None:
    """As `build_mlp_steps`, for arrays."""
    if type(mlps[0]) is not nn.Sequential:
        return None
    steps: list[ArrayStep] = []
    previous: type | None = None
    for layers in zip(*mlps, strict=True):
        kind = type(layers[0])
        if kind is nn.Linear:
            steps.append(_array_linear(layers))
        elif kind in _NORMS:
            steps.append(_array_norm(layers))
        elif kind is nn.ReLU and previous is nn.Linear:
            steps.append(_relu_in_place)
        elif kind is nn.Tanh:
            steps.append(np.tanh)
        elif kind not in _NEUTRAL:
            return None
        previous = previous if kind in _NEUTRAL else kind
    if not any(type(layer) is nn.Linear for layer in mlps[0].children()):
        return None  # its output could be its input's memory

    def evaluate(x: np.ndarray) -> np.ndarray:
        for step in steps:
            x = step(x)
        return x[..., 0]

    return evaluate


class _View:
    """A tensor's memory as an array: what is written to the tensor shows, however it was written."""

    __slots__ = ("array", "dtype", "name", "pointer", "store")

    def __init__(self, store: dict[str, Any], name: str, dtype: th.dtype = th.float32):
        self.store, self.name, self.dtype = store, name, dtype
        self.pointer: int | None = None

    def __call__(self) -> np.ndarray:
        tensor = self.store[self.name]
        if tensor.data_ptr() != self.pointer:  # moved; the view keeps the old memory, so no other can have its address
            if tensor.device.type != "cpu" or tensor.dtype is not self.dtype:
                raise NotAtHand
            self.array = tensor.detach().numpy()
            self.pointer = tensor.data_ptr()
        return self.array


def _array_linear(layers: Sequence[nn.Module]) -> ArrayStep:
    n = len(layers)
    weights = [_View(layer._parameters, "weight") for layer in layers]
    biases = [_View(layer._parameters, "bias") for layer in layers if layer._parameters["bias"] is not None]

    def single(x: np.ndarray) -> np.ndarray:
        x = x @ weights[0]().T
        if biases:
            x += biases[0]()
        return x

    def stacked(x: np.ndarray) -> np.ndarray:
        weight = np.concatenate([view() for view in weights])
        out = len(weight) // n
        if x.ndim == 2:  # all see the same input: one product
            x = (x @ weight.T).reshape(len(x), n, out).transpose(1, 0, 2)
        else:
            x = x @ weight.reshape(n, out, -1).transpose(0, 2, 1)
        if biases:
            x += np.concatenate([view() for view in biases]).reshape(n, 1, out)
        return x

    return single if n == 1 else stacked


def _array_norm(layers: Sequence[nn.Module]) -> ArrayStep:
    means = [_View(layer._buffers, "running_mean", th.float64) for layer in layers]
    variances = [_View(layer._buffers, "running_var", th.float64) for layer in layers]
    eps = float(layers[0].eps)  # type: ignore[arg-type]

    def step(x: np.ndarray) -> np.ndarray:
        mean, variance = (np.stack([view() for view in views])[:, None] for views in (means, variances))
        y = ((x - mean) / np.sqrt(variance + eps)).astype(x.dtype)
        return y if len(means) > 1 else y[0]

    return step


def _relu_in_place(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0, out=x)


def build_vmap(networks: Sequence[nn.Module]) -> Evaluator | None:
    """An evaluator by `torch.func.vmap` for alike networks of the library's classes, to call in evaluation mode."""

    def known(module: nn.Module) -> bool:
        if type(module) is nn.AdaptiveAvgPool2d:  # has no batching rule: slower than a loop, and torch warns
            return False
        return type(module) in vmappable or type(module).__module__.startswith("torch.nn.modules.")

    if not (type(networks[0]) in vmappable and all(map(known, networks[0].modules())) and alike(networks)):
        return None
    template = networks[0]

    def evaluate(*inputs: Any) -> th.Tensor:
        def one(parameters: Any, buffers: Any) -> th.Tensor:
            return th.func.functional_call(template, (parameters, buffers), inputs)

        return th.func.vmap(one)(*th.func.stack_module_state(list(networks)))

    return evaluate
