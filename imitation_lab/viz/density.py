"""How the bandwidth shapes a density estimate, and how to choose it: by data that the estimate has not seen."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th

from imitation_lab.algorithms.density.kernels import KERNELS, KernelDensity
from imitation_lab.data import types
from imitation_lab.viz import style
from imitation_lab.viz.dimensions import Dimensions, Names, Units

__all__ = ["BandwidthModel", "bandwidth_panel"]

_MOST = 800
"""Points of each part that are used; the picture gains nothing from more."""


class BandwidthModel:
    """Density estimates of demonstrated states over a range of bandwidths.

    Whole episodes are held out, since neighbouring steps are so alike that a single one held out is no new datum.

    Args:
        demonstrations: at least two trajectories; or an array of states `(n, dims)`, of which every second block of 50
            is held out.
        names: of the dimensions.
        units: of the dimensions; None for none.
        x_dim: number or name of the dimension drawn across.
        y_dim: number or name of the one drawn upwards.
        kernel: one of `algorithms.density.KERNELS`.
        bandwidths: ascending, in standard deviations of the states.
        resolution: grid points per axis of the map.

    Attributes:
        fitted: states that the estimate is made of, in standard deviations from their mean, `(n, dims)`.
        held_out: states that it is judged by, likewise.
        bandwidths: `(k,)`.

    Raises:
        ValueError: too few trajectories or states, another number of names or units, or an unknown dimension or kernel.
    """

    def __init__(
        self,
        demonstrations: Any,
        *,
        names: Names = None,
        units: Units = None,
        x_dim: int | str = 0,
        y_dim: int | str = 1,
        kernel: str = "gaussian",
        bandwidths: Sequence[float] | None = None,
        resolution: int = 41,
    ) -> None:
        fitted, held_out = _split(demonstrations)
        dims = fitted.shape[1]
        self.dims = Dimensions(dims, names, units)
        if dims < 2:
            raise ValueError("the map needs states of at least two dimensions, got one.")
        self.x_dim, self.y_dim = self.dims.index(x_dim), self.dims.index(y_dim)
        self.bandwidths = np.geomspace(0.03, 3.0, 21) if bandwidths is None else np.asarray(bandwidths, dtype=float)
        if self.bandwidths.ndim != 1 or not len(self.bandwidths) or not (self.bandwidths > 0).all():
            raise ValueError(f"bandwidths must be positive numbers, got {bandwidths!r}.")
        self.resolution = resolution
        self.mean, std = fitted.mean(axis=0), fitted.std(axis=0)
        self.std = np.where(std > 0, std, 1.0)
        self.fitted, self.held_out = (fitted - self.mean) / self.std, (held_out - self.mean) / self.std
        self._scores: dict[str, np.ndarray] = {}
        self.kernel = kernel

    @property
    def kernel(self) -> str:
        """The kernel; setting it computes anew."""
        return self._kernel

    @kernel.setter
    def kernel(self, kernel: str) -> None:
        if kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, got {kernel!r}.")
        self._kernel = kernel

    def _density(self, points: np.ndarray, bandwidth: float) -> KernelDensity:
        ones = th.ones(points.shape[1], dtype=th.float64)
        return KernelDensity(th.as_tensor(points), self.kernel, float(bandwidth), ones)

    def scores(self) -> np.ndarray:
        """Mean log density over all dimensions by bandwidth, `(2, k)`: of the fitted states, and of the held-out ones.

        −∞ where a bounded kernel does not reach a state.
        """
        if self.kernel not in self._scores:
            densities = [self._density(self.fitted, h) for h in self.bandwidths]
            parts = th.as_tensor(self.fitted), th.as_tensor(self.held_out)
            self._scores[self.kernel] = np.array([[float(p(part).mean()) for p in densities] for part in parts])
        return self._scores[self.kernel]

    @property
    def best(self) -> int:
        """Number of the bandwidth under which the held-out states are likeliest."""
        return int(np.argmax(self.scores()[1]))

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Grid points along x and y in the states' units, `(resolution,)` each."""
        axes = []
        for i in (self.x_dim, self.y_dim):
            low, high = style.ends(self.fitted[:, i], self.held_out[:, i])
            margin = 0.08 * (high - low) + 1e-9
            axes.append(self.mean[i] + self.std[i] * np.linspace(low - margin, high + margin, self.resolution))
        return axes[0], axes[1]

    def density_map(self, index: int) -> np.ndarray:
        """Log density of the two drawn dimensions alone, `(resolution, resolution)` as [y, x]."""
        pair = [self.x_dim, self.y_dim]
        xs, ys = ((axis - self.mean[i]) / self.std[i] for axis, i in zip(self.grid(), pair, strict=True))
        cells = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        density = self._density(self.fitted[:, pair], self.bandwidths[index])
        return density(th.as_tensor(cells)).numpy().reshape(len(ys), len(xs))

    def numbers(self, index: int) -> list[dict[str, Any]]:
        """Rows of the key numbers at a bandwidth, and at the best one."""
        rows = []
        for name, i in (("shown", index), ("best", self.best)):
            fitted, held_out = self.scores()[:, i]
            gap = fitted - held_out if np.isfinite(held_out) else float("nan")
            found = {"log p, fitted": fitted, "log p, held out": held_out, "gap": gap}
            rows.append({"bandwidth": name, "h [sd]": self.bandwidths[i], **found})
        return rows


def _split(demonstrations: Any) -> tuple[np.ndarray, np.ndarray]:
    """States to fit and states to hold out, at most `_MOST` each, evenly spaced."""
    if isinstance(demonstrations, np.ndarray):
        if demonstrations.ndim != 2 or len(demonstrations) < 100:
            shape = demonstrations.shape
            raise ValueError(f"states must be an array (n, dims) with n of at least 100, got shape {shape}.")
        later = np.arange(len(demonstrations)) // 50 % 2 == 1
        parts = [demonstrations[~later], demonstrations[later]]
    else:
        trajectories = list(demonstrations)
        if len(trajectories) < 2 or not all(isinstance(t, types.Trajectory) for t in trajectories):
            raise ValueError("pass at least two trajectories, or an array of states (n, dims): one part is held out.")
        parts = [np.concatenate([np.asarray(t.obs[:-1]) for t in trajectories[k::2]]) for k in (0, 1)]
        if parts[0].ndim != 2:
            raise ValueError(f"states must have one dimension each, got shape {parts[0].shape[1:]}.")
    fitted, held_out = (part[:: -(-len(part) // _MOST)].astype(np.float64) for part in parts)
    return fitted, held_out


@style.styled
def bandwidth_panel(model: BandwidthModel, index: int, limits: tuple[float, float] | None = None) -> style.LabFigure:
    """The density at one bandwidth beside the scores of all.

    Args:
        model: the estimates.
        index: number of the bandwidth.
        limits: lowest and highest log density of the colour scale; by default seven nats up to the highest.
    """
    h = model.bandwidths[index]
    figure, ((left, right),) = style.new_figure(1, 2, size=(9.0, 3.6), width_ratios=(1, 1.05))
    figure.colors = 200
    values = model.density_map(index)
    high = style.ends(values)[1] if np.isfinite(values).any() else 0.0
    low, high = limits or (high - 7.0, high)
    i, j = model.x_dim, model.y_dim
    points = (model.fitted * model.std + model.mean)[:, [i, j]]
    style.color_map(left, *model.grid(), np.maximum(values, low), (low, high), points)
    left.set(xlabel=model.dims.label(i), ylabel=model.dims.label(j), title=f"log density at h = {style.plain(h, 2)} sd")

    scores = model.scores()
    for row, name, color in ((0, "fitted episodes", style.GREY), (1, "held-out episodes", style.BLUE)):
        right.plot(model.bandwidths, scores[row], color=color, label=name, linestyle=("--", "-")[row])
    best = model.best
    right.plot(model.bandwidths[best], scores[1, best], "o", color=style.BLUE, label="best for new data")
    right.axvline(h, color=style.BLACK, linewidth=1.2)
    finite = scores[1][np.isfinite(scores[1])]
    if len(finite):
        top = max(finite.max(), np.median(scores[0][np.isfinite(scores[0])]))
        right.set_ylim(max(finite.min(), finite.max() - 8) - 0.5, top + 2.5)
    right.set_xscale("log")
    right.set(xlabel="bandwidth h [sd]", ylabel="mean log density [nats]", title="which h explains new data?")
    right.legend(loc="lower center")
    figure.alt = (
        f"Log density of {model.dims.names[i]} and {model.dims.names[j]} at bandwidth {h:.3g}, and mean log density of "
        f"fitted and held-out states over bandwidths; the best is {model.bandwidths[best]:.3g}."
    )
    return figure
