"""Network builders, normalization layers with running statistics, and train/eval context managers."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import torch as th
from torch import nn

from imitation_lab.util import checks
from imitation_lab.util.codec import register_class

__all__ = [
    "build_mlp", "build_cnn", "BaseNorm", "RunningNorm", "EMANorm", "SqueezeLayer", "training", "evaluating",
    "training_mode",
]  # fmt: skip


class training_mode:  # noqa: N801 - reads as the context manager that it is
    """Puts `m` and all its submodules into training (`mode=True`) or evaluation mode within the context.

    On leaving, every submodule gets back the mode it had, also where that differs from the root's: a frozen
    norm layer stays frozen.
    """

    # Runs at each environment step: no generators, and past nn.Module.__setattr__, which costs ten times as much.

    __slots__ = ("before", "mode", "module")

    def __init__(self, m: nn.Module, mode: bool = False):
        self.module, self.mode = m, mode

    def __enter__(self) -> nn.Module:
        self.before: list[tuple[nn.Module, bool]] = []
        custom = _collect_modes(self.module, self.before)
        if any(was != self.mode for _, was in self.before):
            if custom:
                self.module.train(self.mode)
            else:
                _set_modes((module, self.mode) for module, _ in self.before)
        return self.module

    def __exit__(self, *exc: object) -> None:
        _set_modes(self.before)


def _collect_modes(module: nn.Module, into: list[tuple[nn.Module, bool]]) -> bool:
    """Appends each submodule with its mode; returns whether one has a `train` of its own."""
    into.append((module, module.training))
    custom = type(module).train is not nn.Module.train
    for child in module._modules.values():
        if child is not None:
            custom |= _collect_modes(child, into)
    return custom


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for module, mode in modes:
        if "training" in module.__dict__:
            module.__dict__["training"] = mode
        else:  # a ScriptModule keeps it elsewhere
            module.training = mode


def training(m: nn.Module) -> training_mode:
    """`training_mode(m, True)`."""
    return training_mode(m, mode=True)


def evaluating(m: nn.Module) -> training_mode:
    """`training_mode(m, False)`."""
    return training_mode(m, mode=False)


@register_class
class SqueezeLayer(nn.Module):
    """Turns `(batch, 1)` into `(batch,)`."""

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Removes the last axis of `x`, shape `(batch, 1)`.

        Raises:
            ValueError: if `x` has another shape.
        """
        if x.ndim != 2 or x.shape[1] != 1:
            raise ValueError(f"SqueezeLayer expected shape (batch, 1), got {tuple(x.shape)}.")
        return x.squeeze(1)


class BaseNorm(nn.Module):
    """Shifts and scales each feature to mean 0 and variance 1 under statistics of the data seen.

    y = (x − running_mean) / √(running_var + eps)

    In training mode `forward` first updates the statistics with its input, then normalizes with the updated
    ones; in evaluation mode it only normalizes. Before any data the statistics are mean 0 and variance 1.

    The statistics are held, and the difference x − mean is taken, in float64, so that features with a large
    offset lose no digits, and stay so under `.float()`, `.half()` and their like; the output has the dtype of a
    floating-point input.

    Args:
        num_features: size of the last axis of the input.
        eps: added to the variance, so that a constant feature gives 0; with 0 it gives NaN.

    Raises:
        ValueError: if `num_features` is not a positive integer or `eps` is negative.
    """

    running_mean: th.Tensor
    running_var: th.Tensor
    count: th.Tensor

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        if isinstance(num_features, bool) or int(num_features) != num_features or num_features < 1:
            raise ValueError(f"num_features must be a positive integer, got {num_features!r}.")
        checks.at_least(0, eps=eps)
        self.num_features = int(num_features)
        self.eps = eps
        self.register_buffer("running_mean", th.zeros(self.num_features, dtype=th.float64))
        self.register_buffer("running_var", th.ones(self.num_features, dtype=th.float64))
        self.register_buffer("count", th.zeros((), dtype=th.int64))

    def _apply(self, fn: Callable[[th.Tensor], th.Tensor], recurse: bool = True) -> "BaseNorm":
        """Moves the layer to other devices, but not to other dtypes: in float16 the count alone would overflow."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            if old is not None and new is not None and new.dtype != old.dtype:
                self._buffers[name] = old.to(new.device)
        return self

    def extra_repr(self) -> str:
        """What `repr` shows of the layer."""
        return f"{self.num_features}, eps={self.eps}"

    def reset_running_stats(self) -> None:
        """Forgets all data: mean 0, variance 1, count 0."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.count.zero_()

    def forward(self, x: th.Tensor) -> th.Tensor:
        """Normalizes `x`; in training mode updates the statistics with it before.

        Args:
            x: shape `(batch, num_features)`, with any leading axes; or `(batch,)` where `num_features` is 1.

        Returns:
            Tensor of the same shape.

        Raises:
            ValueError: if the shape does not fit, or, in training mode on CPU, if `x` holds NaN or infinity.
        """
        if self.training:
            self.update_stats(x)
        else:
            self._check_shape(x)
        scale = (self.running_var + self.eps).rsqrt_()
        out = (x - self.running_mean) * scale
        return out.to(x.dtype if x.is_floating_point() else th.get_default_dtype())

    @th.no_grad()
    def update_stats(self, batch: th.Tensor) -> None:
        """Moves the statistics by `batch`, whatever the mode; an empty batch changes nothing.

        Args:
            batch: same shapes as `forward`; all axes but that of the features are the batch.

        Raises:
            ValueError: if the shape does not fit, or `batch` holds NaN or infinity. The values are only checked on
                CPU: elsewhere the check would make the host wait for the device at each call.
        """
        self._check_shape(batch)
        if batch.numel() == 0:
            return
        rows = batch.detach().reshape(-1, self.num_features).to(self.running_mean.dtype)
        var, mean = th.var_mean(rows, dim=0, correction=0)
        on_cpu = mean.device.type == "cpu"
        if on_cpu and not math.isfinite(var.sum().item()):
            if th.isfinite(rows).all():
                problem = f"values as large as {rows.abs().max().item():.3g}, whose variance float64 cannot hold"
            else:
                problem = "NaN or infinite values"
            raise ValueError(
                f"{type(self).__name__}.update_stats got a batch with {problem}; they would spoil the statistics for "
                "good. Find and remove them in the data."
            )
        self.count.add_(len(rows))
        w = self.weight_of_newest(len(rows), _number(self.count))
        # Two groups with weights 1 − w and w: the mean of the union is mean + w·δ and its variance
        # (1 − w)·var + w·batch_var + w·(1 − w)·δ². No difference of large squares is taken.
        running_mean = self.running_mean
        between = (mean - running_mean).square_().mul_(1 - w)
        running_mean.lerp_(mean, w)
        self.running_var.lerp_(var.add_(between), w)

    def weight_of_newest(self, batch_size: int, count: Any) -> Any:
        """Share in (0, 1] that the newest batch has in the statistics; called once per batch.

        Args:
            batch_size: samples in it.
            count: samples in all, these included: a number on CPU, where that makes what follows cheaper; a tensor on
                other devices, where a number would make the host wait.
        """
        raise NotImplementedError

    def _check_shape(self, x: th.Tensor) -> None:
        fits = x.ndim >= 2 and x.shape[-1] == self.num_features
        if not fits and not (x.ndim == 1 and self.num_features == 1):
            raise ValueError(
                f"{type(self).__name__} with num_features={self.num_features} expected shape "
                f"(batch, {self.num_features}), got {tuple(x.shape)}."
            )


@register_class
class RunningNorm(BaseNorm):
    """Normalizes with the mean and variance of all data seen, each sample counting the same.

    Batches are merged by the parallel update of Chan, Golub and LeVeque (1979), which equals the population mean
    and variance (`np.mean`, `np.var`) over the concatenation of all batches.
    """

    def weight_of_newest(self, batch_size: int, count: Any) -> Any:
        """The batch's share of all data."""
        return batch_size / count


@register_class
class EMANorm(BaseNorm):
    """Normalizes with exponentially decaying statistics: they follow data whose distribution drifts.

    With batch moments (first or second) b_t and decay d, the estimate after batch t is bias-corrected as in Adam
    (Kingma and Ba, 2015):

        m_t = d · m_{t−1} + (1 − d) · b_t,   m̂_t = m_t / (1 − dᵗ)

    computed as m̂_t = m̂_{t−1} + w_t · (b_t − m̂_{t−1}) with w_t = (1 − d) / (1 − dᵗ), the same number. The first
    batch has weight 1, so that the initial values leave no trace. Each batch counts the same, whatever its size.

    Args:
        num_features: size of the last axis of the input.
        decay: share d of the past kept at each batch, in (0, 1).
        eps: added to the variance.

    Raises:
        ValueError: if `decay` is not in (0, 1), or as in `BaseNorm`.
    """

    bias_correction: th.Tensor

    def __init__(self, num_features: int, decay: float = 0.99, eps: float = 1e-5):
        super().__init__(num_features, eps=eps)
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie in (0, 1), got {decay!r}.")
        self.decay = decay
        self.register_buffer("bias_correction", th.zeros((), dtype=th.float64))

    def extra_repr(self) -> str:
        """What `repr` shows of the layer."""
        return f"{self.num_features}, decay={self.decay}, eps={self.eps}"

    def reset_running_stats(self) -> None:
        """Forgets all data: mean 0, variance 1, count 0, no past to decay."""
        super().reset_running_stats()
        self.bias_correction.zero_()

    def weight_of_newest(self, batch_size: int, count: Any) -> Any:
        """w_t; batches count alike."""
        del batch_size, count
        # 1 − dᵗ by recurrence: no power is taken and no step counter read.
        self.bias_correction.mul_(self.decay).add_(1 - self.decay)
        return (1 - self.decay) / _number(self.bias_correction)


def _number(scalar: th.Tensor) -> Any:
    return scalar.item() if scalar.is_cpu else scalar.to(th.float64)


def _check_head(squeeze_output: bool, out_size: int, dropout_prob: float) -> None:
    if squeeze_output and out_size != 1:
        raise ValueError(f"squeeze_output=True needs out_size=1, got out_size={out_size}.")
    if not 0 <= dropout_prob < 1:
        raise ValueError(f"dropout_prob must lie in [0, 1), got {dropout_prob!r}.")


def build_mlp(
    in_size: int,
    hid_sizes: Iterable[int],
    out_size: int = 1,
    name: str | None = None,
    activation: type[nn.Module] = nn.ReLU,
    dropout_prob: float = 0.0,
    squeeze_output: bool = False,
    flatten_input: bool = False,
    normalize_input_layer: type[nn.Module] | None = None,
) -> nn.Sequential:
    """Builds a multi-layer perceptron; no activation follows the last linear layer.

    Args:
        in_size: number of input features, after flattening.
        hid_sizes: width of each hidden layer; empty gives a linear map.
        out_size: number of outputs.
        name: prefix of the layers' names, `<name>_dense0` and so on.
        activation: class of the layer after each hidden linear layer, made without arguments.
        dropout_prob: probability of dropping a hidden unit, after its activation; 0 adds no layer.
        squeeze_output: returns shape `(batch,)` in place of `(batch, 1)`.
        flatten_input: accepts `(batch, *shape)` with prod(shape) = `in_size`.
        normalize_input_layer: class of the layer that comes first (after flattening), called with `in_size`,
            such as `RunningNorm`.

    Returns:
        Sequential network from `(batch, in_size)` to `(batch, out_size)`.

    Raises:
        ValueError: if `squeeze_output` is set with `out_size` other than 1, or `dropout_prob` is not in [0, 1).
    """
    _check_head(squeeze_output, out_size, dropout_prob)
    prefix = f"{name}_" if name else ""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if flatten_input:
        layers[f"{prefix}flatten"] = nn.Flatten()
    if normalize_input_layer is not None:
        # Any here: the annotation nn.Module says nothing of the constructor's arguments.
        norm_cls: Any = normalize_input_layer
        layers[f"{prefix}normalize_input"] = norm_cls(in_size)
    size = in_size
    for i, hid_size in enumerate(hid_sizes):
        layers[f"{prefix}dense{i}"] = nn.Linear(size, hid_size)
        layers[f"{prefix}act{i}"] = activation()
        if dropout_prob > 0:
            layers[f"{prefix}dropout{i}"] = nn.Dropout(dropout_prob)
        size = hid_size
    layers[f"{prefix}dense_final"] = nn.Linear(size, out_size)
    if squeeze_output:
        layers[f"{prefix}squeeze"] = SqueezeLayer()
    return nn.Sequential(layers)


def build_cnn(
    in_channels: int,
    hid_channels: Iterable[int],
    out_size: int = 1,
    name: str | None = None,
    activation: type[nn.Module] = nn.ReLU,
    kernel_size: int = 3,
    stride: int = 1,
    padding: int | str = "same",
    dropout_prob: float = 0.0,
    squeeze_output: bool = False,
) -> nn.Sequential:
    """Builds a convolutional network: convolutions, mean over all positions, one linear layer.

    The mean over positions makes the network indifferent to the image's size.

    Args:
        in_channels: number of input channels.
        hid_channels: channels of each convolution.
        out_size: number of outputs.
        name: prefix of the layers' names, `<name>_conv0` and so on.
        activation: class of the layer after each convolution, made without arguments.
        kernel_size: side of each kernel, in pixels.
        stride: step of each convolution, in pixels.
        padding: as in `torch.nn.Conv2d`; "same" needs `stride=1`.
        dropout_prob: probability of dropping a value, after its activation; 0 adds no layer.
        squeeze_output: returns shape `(batch,)` in place of `(batch, 1)`.

    Returns:
        Sequential network from `(batch, in_channels, height, width)` to `(batch, out_size)`.

    Raises:
        ValueError: if `squeeze_output` is set with `out_size` other than 1, `dropout_prob` is not in [0, 1), or
            `padding="same"` meets a stride other than 1.
    """
    _check_head(squeeze_output, out_size, dropout_prob)
    if padding == "same" and stride != 1:
        raise ValueError(f'padding="same" needs stride=1, got stride={stride}; give the padding in pixels.')
    prefix = f"{name}_" if name else ""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for i, out_channels in enumerate(hid_channels):
        layers[f"{prefix}conv{i}"] = nn.Conv2d(channels, out_channels, kernel_size, stride, padding)
        layers[f"{prefix}act{i}"] = activation()
        if dropout_prob > 0:
            layers[f"{prefix}dropout{i}"] = nn.Dropout(dropout_prob)
        channels = out_channels
    layers[f"{prefix}avg_pool"] = nn.AdaptiveAvgPool2d(1)
    layers[f"{prefix}flatten"] = nn.Flatten()
    layers[f"{prefix}dense_final"] = nn.Linear(channels, out_size)
    if squeeze_output:
        layers[f"{prefix}squeeze"] = SqueezeLayer()
    return nn.Sequential(layers)
