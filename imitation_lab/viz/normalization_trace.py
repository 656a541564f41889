"""What a normalization layer does to the data: its statistics after each batch, and histograms before and after."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch as th
from torch import nn

from imitation_lab.data.types import maybe_unwrap_dictobs
from imitation_lab.rewards.reward_nets import wrapper_chain
from imitation_lab.util import checks, tree
from imitation_lab.viz.dimensions import Dimensions

__all__ = ["as_batch", "statistics_of", "NormSeries", "NormalizationTrace", "NormalizationRecorder"]

ROWS_PER_HISTOGRAM = 4000
Snapshot = tuple[np.ndarray, np.ndarray, float]
"""A layer's running mean and variance, ``(features,)`` each, and its count."""
Runs = Mapping[tuple[str, bool], tuple[list[Any], list[np.ndarray]]]
"""By layer and whether it learns: its statistics after each batch, and its outputs."""


def as_batch(transitions: Any, rows: Any = slice(None)) -> tuple[Any, ...]:
    """``(state, action, next_state, done)`` of rows of ``Transitions``, or of a tuple of these four."""
    if hasattr(transitions, "next_obs"):
        transitions = (transitions.obs, transitions.acts, transitions.next_obs, transitions.dones)
    if len(transitions) != 4:
        raise ValueError(f"expected Transitions or (state, action, next_state, done), got {len(transitions)} parts.")
    return tuple(tree.map(lambda array: np.asarray(array)[rows], maybe_unwrap_dictobs(part)) for part in transitions)


def statistics_of(layer: nn.Module) -> Snapshot | None:
    """Return a layer's running mean and variance, ``(features,)`` each, and count; None if it keeps none."""
    mean, var = getattr(layer, "running_mean", None), getattr(layer, "running_var", None)
    if mean is None or var is None:
        return None
    count = getattr(layer, "count", getattr(layer, "num_batches_tracked", None))
    as_array = lambda t: np.atleast_1d(t.detach().cpu().double().numpy()).copy()
    return as_array(mean), as_array(var), float("nan") if count is None else float(count)


@dataclass(frozen=True)
class NormSeries:
    """One layer's statistics after each batch, and its output's histogram.

    Attributes:
        mean: running mean ``(batches, features)``; not a number where the layer keeps none.
        var: running variance ``(batches, features)``.
        count: the layer's count ``(batches,)``.
        histogram: share of the outputs per bin ``(batches, features, bins)``.
        output_mean: mean of the outputs ``(batches, features)``.
        output_std: standard deviation of the outputs ``(batches, features)``.
    """

    mean: np.ndarray
    var: np.ndarray
    count: np.ndarray
    histogram: np.ndarray
    output_mean: np.ndarray
    output_std: np.ndarray


@dataclass(frozen=True)
class NormalizationTrace:
    """Batches that went through copies of one or more layers, with statistics updating and frozen.

    Make one with :meth:`feed`, :meth:`from_reward_net` or ``NormalizationRecorder.trace``.

    Attributes:
        layers: the layers' names.
        features: the features' names.
        units: the features' units.
        series: ``series[layer, updating]``.
        batch_mean: each batch's own mean ``(batches, features)``.
        batch_var: each batch's own variance ``(batches, features)``.
        raw_histogram: share of the inputs per bin ``(batches, features, bins)``.
        raw_edges: bin edges of the inputs ``(features, bins + 1)``.
        edges: bin edges of the outputs ``(features, bins + 1)``.
    """

    layers: tuple[str, ...]
    features: tuple[str, ...]
    units: tuple[str | None, ...]
    series: Mapping[tuple[str, bool], NormSeries] = field(repr=False)
    batch_mean: np.ndarray = field(repr=False)
    batch_var: np.ndarray = field(repr=False)
    raw_histogram: np.ndarray = field(repr=False)
    raw_edges: np.ndarray = field(repr=False)
    edges: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.batch_mean)

    @classmethod
    def feed(
        cls,
        layers: nn.Module | Mapping[str, nn.Module],
        batches: Iterable[Any],
        *,
        features: Sequence[str] | None = None,
        units: Sequence[str | None] | None = None,
        freeze_after: int | None = None,
        old_statistics: bool = False,
        bins: int = 40,
    ) -> "NormalizationTrace":
        """Feed batches through copies of the layers; the layers themselves stay as they are.

        Args:
            layers: one layer or named layers, each shape-preserving on ``(batch, features)``, e.g.
                ``{"RunningNorm": RunningNorm(4), "EMANorm": EMANorm(4)}``.
            batches: arrays or tensors ``(batch, features)``, or ``(batch,)`` for one feature.
            features: the features' names.
            units: the features' units.
            freeze_after: the frozen run still learns from that many batches; by default one if the layer is new
                (count 0), none if it has statistics already.
            old_statistics: normalize each batch with the statistics from before it, as ``NormalizedRewardNet`` does;
                a layer inside a network uses those that include it.
            bins: bins of each histogram.

        Raises:
            ValueError: no batches, batches of different widths or not finite, or a layer that changes the shape.
            TypeError: a layer that is no ``torch.nn.Module``.
        """
        named = {type(layers).__name__: layers} if isinstance(layers, nn.Module) else dict(layers)
        for name, layer in named.items():
            if not isinstance(layer, nn.Module):
                raise TypeError(f"layer {name!r} must be a torch.nn.Module, got {type(layer).__name__}.")
        inputs = _as_batches(batches)
        runs = {}
        for name, layer in named.items():
            runs[name, True] = _run(name, layer, inputs, len(inputs), old_statistics)
            stats = statistics_of(layer)
            thaw = int(stats is not None and stats[2] == 0) if freeze_after is None else freeze_after
            runs[name, False] = _run(name, layer, inputs, thaw, old_statistics)
        return cls._build(inputs, runs, features, units, bins)

    @classmethod
    def from_reward_net(
        cls, net: Any, transitions: Any, *, batch_size: int = 256, **kwargs: Any
    ) -> "NormalizationTrace":
        """Trace the output normalization of a ``NormalizedRewardNet`` on batches of transitions.

        Args:
            net: the reward network; the outermost normalization in its chain is traced, on the rewards of what it
                wraps.
            transitions: ``Transitions``.
            batch_size: transitions per batch.
            **kwargs: as in :meth:`feed`.

        Raises:
            TypeError: a network without ``normalize_output_layer``.
        """
        link: Any = next((part for part in wrapper_chain(net) if hasattr(part, "normalize_output_layer")), None)
        if link is None:
            raise TypeError(f"expected a NormalizedRewardNet with normalize_output_layer, got {type(net).__name__}.")
        rewards = [
            link.base.predict_processed(*as_batch(transitions, slice(i, i + batch_size)), update_stats=False)
            for i in range(0, len(transitions.acts), batch_size)
        ]
        kwargs = {"features": ["reward"], "old_statistics": True, **kwargs}
        return cls.feed(link.normalize_output_layer, rewards, **kwargs)

    @classmethod
    def from_snapshots(
        cls, name: str, snapshots: Sequence[Snapshot], data: Any, *, eps: float = 1e-5, **kwargs: Any
    ) -> "NormalizationTrace":
        """Trace fixed ``data (n, features)`` under statistics recorded in training; frozen means the first ones.

        Args:
            name: the layer's name.
            snapshots: ``(mean, var, count)`` per recorded batch.
            data: the states to normalize.
            eps: the layer's small addition to the variance.
            **kwargs: ``features``, ``units``, ``bins`` as in :meth:`feed`.
        """
        if not snapshots:
            raise ValueError("nothing recorded: call the recorder (or attach it) while the layer trains.")
        sample = _as_batches([data])[0]
        runs = {}
        for updating in (True, False):
            used = list(snapshots) if updating else [snapshots[0]] * len(snapshots)
            runs[name, updating] = (used, [(sample - mean) / np.sqrt(var + eps) for mean, var, _ in used])
        return cls._build([sample] * len(snapshots), runs, **kwargs)

    @classmethod
    def _build(
        cls, inputs: list[np.ndarray], runs: Runs, features: Any = None, units: Any = None, bins: int = 40
    ) -> "NormalizationTrace":
        width = inputs[0].shape[1]
        dims = Dimensions(width, features, units, kind="feature")
        raw_edges = _edges(inputs, bins)
        edges = _edges([output for _, outputs in runs.values() for output in outputs], bins)
        series = {}
        for key, (stats, outputs) in runs.items():
            means, variances, counts = zip(*[s or (np.nan,) * 3 for s in stats], strict=True)
            series[key] = NormSeries(
                mean=np.stack([np.broadcast_to(m, width) for m in means]),
                var=np.stack([np.broadcast_to(v, width) for v in variances]),
                count=np.asarray(counts),
                histogram=_histograms(outputs, edges),
                output_mean=np.stack([o.mean(axis=0) for o in outputs]),
                output_std=np.stack([o.std(axis=0) for o in outputs]),
            )
        return cls(
            layers=tuple(dict.fromkeys(name for name, _ in runs)),
            features=tuple(dims.names),
            units=tuple(dims.units),
            series=series,
            batch_mean=np.stack([x.mean(axis=0) for x in inputs]),
            batch_var=np.stack([x.var(axis=0) for x in inputs]),
            raw_histogram=_histograms(inputs, raw_edges),
            raw_edges=raw_edges,
            edges=edges,
        )

    def index(self, feature: int | str) -> int:
        """Return a feature's number from its number or name."""
        return Dimensions(len(self.features), self.features, self.units, kind="feature").index(feature)

    def numbers(self, feature: int | str, batch: int, *, updating: bool = True) -> list[dict[str, Any]]:
        """Return the rows of the table under the figure: one per layer, plus the batch itself."""
        i = self.index(feature)
        rows: list[dict[str, Any]] = [
            {"": "this batch, raw", "mean": self.batch_mean[batch, i], "variance": self.batch_var[batch, i]}
        ]
        for name in self.layers:
            s = self.series[name, updating]
            mean, var = (None, None) if np.isnan(s.mean[batch, i]) else (s.mean[batch, i], s.var[batch, i])
            count = None if np.isnan(s.count[batch]) else int(s.count[batch])
            after = {"normalized mean": s.output_mean[batch, i], "normalized std": s.output_std[batch, i]}
            rows.append({"": name, "mean": mean, "variance": var, "count": count, **after})
        return rows


def _as_batches(batches: Iterable[Any]) -> list[np.ndarray]:
    inputs: list[np.ndarray] = []
    for i, batch in enumerate(batches):
        array = batch.detach().cpu().numpy() if isinstance(batch, th.Tensor) else np.asarray(batch)
        array = array[:, None] if array.ndim == 1 else array.reshape(len(array), -1)
        array = array.astype(np.float32, copy=False)
        if not array.size or not np.isfinite(array).all():
            raise ValueError(f"batch {i} is empty or holds NaN or infinity: a norm layer would keep it for ever.")
        if inputs and array.shape[1] != inputs[0].shape[1]:
            raise ValueError(f"batch {i} has {array.shape[1]} features, the batches before {inputs[0].shape[1]}.")
        inputs.append(array)
    if not inputs:
        raise ValueError("no batches given: pass a sequence of arrays of shape (batch, features).")
    return inputs


def _run(name: str, layer: Any, inputs: list[np.ndarray], thaw: int, old: bool) -> tuple[list[Any], list[np.ndarray]]:
    """What a copy of ``layer`` does, learning from the first ``thaw`` batches, with ``old`` after it was asked."""
    layer = copy.deepcopy(layer)
    reference = next((t for t in [*layer.parameters(), *layer.buffers()] if t.is_floating_point()), None)
    stats, outputs = [], []
    for i, batch in enumerate(inputs):
        tensor = th.tensor(batch)  # a copy: the batch may be read-only, and belongs to the caller
        tensor = tensor if reference is None else tensor.to(reference)
        with th.no_grad():
            output = layer.train(i < thaw and not old)(tensor)
            if i < thaw and old:
                layer.train()(tensor)
        if output.shape != tensor.shape:
            raise ValueError(
                f"layer {name!r} turned shape {tuple(tensor.shape)} into {tuple(output.shape)}; "
                "a norm layer must keep the shape (batch, features)."
            )
        outputs.append(output.cpu().double().numpy())
        stats.append(statistics_of(layer))
    return stats, outputs


def _edges(batches: Sequence[np.ndarray], bins: int) -> np.ndarray:
    stride = max(1, len(batches) // 200)
    sample = np.concatenate([b[:ROWS_PER_HISTOGRAM] for b in batches[::stride]])
    low, high = np.percentile(sample, [0.2, 99.8], axis=0)
    pad = np.where(high > low, 0.05 * (high - low), 0.5)
    return np.linspace(low - pad, high + pad, bins + 1, axis=-1)


def _histograms(batches: Sequence[np.ndarray], edges: np.ndarray) -> np.ndarray:
    """Share of rows per bin, ``(batches, features, bins)``; outliers count in the outer bins."""
    counts = np.zeros((len(batches), len(edges), edges.shape[1] - 1))
    for b, batch in enumerate(batches):
        rows = batch[:: -(-len(batch) // ROWS_PER_HISTOGRAM)]
        for f, edge in enumerate(edges):
            inside = np.clip(rows[:, f], edge[0], edge[-1])
            counts[b, f] = np.histogram(inside, bins=edge)[0] / len(rows)
    return counts


class NormalizationRecorder:
    """Keeps a norm layer's statistics while a network trains: three small copies per call.

    Use one of the two: ``on_batch_end=recorder`` (or call it yourself), or ``with recorder: train()``, which records
    after every forward pass in training mode.

    Args:
        layer: the norm layer inside the network, with ``running_mean`` and ``running_var``.
        every: record each ``every``-th call.

    Attributes:
        snapshots: list of ``(mean (features,), var (features,), count)``.

    Raises:
        TypeError: a layer without running statistics.
    """

    def __init__(self, layer: nn.Module, *, every: int = 1) -> None:
        if statistics_of(layer) is None:
            raise TypeError(
                f"{type(layer).__name__} keeps no running statistics: pass a layer with running_mean and running_var, "
                "such as RunningNorm or EMANorm."
            )
        checks.at_least(1, every=every)
        self.layer, self.every = layer, every
        self.snapshots: list[Snapshot] = []
        self._calls = 0

    def __repr__(self) -> str:
        return f"NormalizationRecorder({type(self.layer).__name__}, {len(self.snapshots)} snapshots)"

    def snapshot(self) -> None:
        """Record the statistics now."""
        if (stats := statistics_of(self.layer)) is not None:
            self.snapshots.append(stats)

    def __call__(self, *_: Any, **__: Any) -> None:
        """Record every ``every``-th call; takes and ignores any arguments, so it fits callbacks."""
        if self._calls % self.every == 0:
            self.snapshot()
        self._calls += 1

    def __enter__(self) -> "NormalizationRecorder":
        def hook(module: nn.Module, *_: Any) -> None:
            if module.training:
                self()

        self._hook = self.layer.register_forward_hook(hook)
        return self

    def __exit__(self, *_: Any) -> None:
        self._hook.remove()

    def trace(self, data: Any, **kwargs: Any) -> NormalizationTrace:
        """Return the trace of ``data (n, features)`` under the recorded statistics.

        Args:
            data: states, e.g. ``transitions.obs``.
            **kwargs: ``features``, ``units``, ``bins`` as in :meth:`NormalizationTrace.feed`.
        """
        eps = float(getattr(self.layer, "eps", 1e-5))
        return NormalizationTrace.from_snapshots(type(self.layer).__name__, self.snapshots, data, eps=eps, **kwargs)
