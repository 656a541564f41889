"""Evaluation without `nn.Module`'s overhead, which at batch size 8 costs more than the arithmetic.

For the library's own classes a network's `forward` is put together once as a list of steps on the layers' parameters,
in evaluation mode. The same steps evaluate several alike networks at once, one batched matrix product per layer.
Parameters are read at each call, so nothing can go stale; when a submodule was exchanged, the steps are put together
anew, and while one has a hook, they are not used.

Other networks of the library go through `torch.func.vmap` where several are alike. Classes of the user's own are called
as they are: they may hold differences that are no parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch as th
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as nn_module

from imitation_lab.util.networks import EMANorm, RunningNorm, SqueezeLayer

Step = Callable[[th.Tensor], th.Tensor]
Evaluator = Callable[..., th.Tensor]
"""From inputs with leading axis `batch` to `(networks, batch)`, or `(batch,)` where there is one network."""

_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
_NEUTRAL = (nn.Identity, nn.Dropout, nn.Flatten, SqueezeLayer)  # in evaluation mode, on flat features
_NORMS = (RunningNorm, EMANorm)

builders: dict[type[nn.Module], Callable[[Sequence[Any]], Evaluator | None]] = {}
"""For a class, what makes an evaluator for one or several alike networks of exactly that class."""
vmappable: set[type[nn.Module]] = {*_NORMS, SqueezeLayer}
"""Classes whose `forward` depends on nothing but parameters, buffers and constructor arguments."""


class Fast:
    """An evaluator of certain networks, and what has to stay the same for it to be right."""

    __slots__ = ("evaluate", "hooks", "trees")

    def __init__(self, networks: Sequence[nn.Module]):
        modules = [module for network in networks for module in network.modules()]
        self.trees = [(m._modules, tuple(m._modules.values())) for m in modules if m._modules]
        self.hooks: list[dict[Any, Any]] = [nn_module._global_forward_hooks, nn_module._global_forward_pre_hooks]
        for module in modules:
            self.hooks += [module._forward_hooks, module._forward_pre_hooks]
            if not module._modules:
                self.hooks.append(module._modules)  # a leaf that got children is no longer one
        self.evaluate = build(networks)

    def stale(self) -> bool:
        """Whether a submodule has been exchanged."""
        # Tuples compare by identity first, so this costs little.
        return any(tuple(children.values()) != known for children, known in self.trees)

    def current(self) -> Evaluator | None:
        """The evaluator, if it is there and no hook waits to be called."""
        return None if any(self.hooks) else self.evaluate


def build(networks: Sequence[nn.Module]) -> Evaluator | None:
    """An evaluator for alike networks; None where there is none."""
    kind = type(networks[0])
    if kind not in builders or any("forward" in vars(network) for network in networks) or not alike(networks):
        return None
    return builders[kind](networks)


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
