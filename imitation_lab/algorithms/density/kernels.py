"""Kernel density estimates of whole batches, on any device, in bounded memory."""

import math
from collections.abc import Callable

import numpy as np
import torch as th

__all__ = ["KERNELS", "BOUNDED", "log_integral", "KernelDensity"]

_ELEMENTS = 1 << 17
"""Distances held at a time: 1 MB of float64, which stays in the processor's cache."""

_LOG_KERNELS: dict[str, Callable[[th.Tensor], th.Tensor]] = {
    "tophat": lambda r: th.where(r < 1, 0.0, -math.inf).to(r.dtype),
    "epanechnikov": lambda r: (1 - r.square()).clamp_(min=0).log_(),
    "exponential": lambda r: -r,
    "linear": lambda r: (1 - r).clamp_(min=0).log_(),
    "cosine": lambda r: (r.clamp(max=1) * (math.pi / 2)).cos_().clamp_(min=0).where(r < 1, 0.0).log_(),
}
KERNELS = ("gaussian", *_LOG_KERNELS)
BOUNDED = frozenset(KERNELS) - {"gaussian", "exponential"}
"""Kernels that are zero beyond the bandwidth."""


def log_integral(kernel: str, dims: int) -> float:
    """Log ∫ K(‖u‖) du over `dims` dimensions, for a bandwidth of 1."""
    log_ball = dims / 2 * math.log(math.pi) - math.lgamma(dims / 2 + 1)
    if kernel == "gaussian":
        return dims / 2 * math.log(2 * math.pi)
    if kernel == "tophat":
        return log_ball
    if kernel == "epanechnikov":
        return log_ball + math.log(2 / (dims + 2))
    if kernel == "exponential":
        return log_ball + math.lgamma(dims + 1)
    if kernel == "linear":
        return log_ball - math.log(dims + 1)
    # cosine: the surface times ∫ r^(dims − 1) cos(πr/2) dr, by a rule that is exact to machine precision
    nodes, weights = np.polynomial.legendre.leggauss(64 + dims)
    r = (nodes + 1) / 2
    logs = (dims - 1) * np.log(r) + np.log(np.cos(np.pi * r / 2)) + np.log(weights / 2)
    return log_ball + math.log(dims) + float(np.logaddexp.reduce(logs))


class KernelDensity:
    """log p(x) = log (1/n) Σ_i K(‖x − x_i‖ / h) − log ∫ K, of standardised points.

    Args:
        points: x_i, float64 `(n, dims)`.
        kernel: one of `KERNELS`, with the meanings of scikit-learn's `KernelDensity`.
        bandwidth: h, in standardised units.
        scale: what a standardised unit is in each dimension, `(dims,)`, positive.
    """

    def __init__(self, points: th.Tensor, kernel: str, bandwidth: float, scale: th.Tensor) -> None:
        dims = points.shape[1]
        self.kernel = kernel
        # Taking the mean away costs nothing, and keeps the products below from losing digits to a common offset.
        self._mean = points.mean(dim=0)
        self._inverse = 1 / (bandwidth * scale)
        self._points = ((points - self._mean) * self._inverse).contiguous()
        self._half_norms = self._points.square().sum(dim=1).mul_(-0.5)
        self._log_total = math.log(len(points)) + log_integral(kernel, dims) + dims * math.log(bandwidth)

    def __len__(self) -> int:
        """The number of points."""
        return len(self._points)

    def __call__(self, x: th.Tensor) -> th.Tensor:
        """Log p of float64 `(batch, dims)`, `(batch,)`; −∞ where no point is within reach of the kernel."""
        u = (x - self._mean) * self._inverse
        n = len(self._points)
        columns = min(n, _ELEMENTS)
        rows = max(1, _ELEMENTS // columns)
        if len(u) <= rows and n <= columns:
            return self._log_sum(u, slice(None)).sub_(self._log_total)
        out = u.new_full((len(u),), -math.inf)
        for start in range(0, len(u), rows):
            part = slice(start, start + rows)
            for left in range(0, n, columns):
                out[part] = th.logaddexp(out[part], self._log_sum(u[part], slice(left, left + columns)))
        return out.sub_(self._log_total)

    def _log_sum(self, u: th.Tensor, part: slice) -> th.Tensor:
        """Log Σ_i K(‖u − u_i‖) over some of the points, `(len(u),)`."""
        points = self._points[part]
        if self.kernel == "gaussian":
            # −‖u − u_i‖²/2 = u·u_i − ‖u_i‖²/2 − ‖u‖²/2, the last of which is common to all points
            exponents = th.addmm(self._half_norms[part], u, points.T)
            most = exponents.amax(dim=1, keepdim=True)
            total = exponents.sub_(most).exp_().sum(dim=1).log_()
            return total.add_(most.squeeze(1)).sub_(u.square().sum(dim=1), alpha=0.5)
        distances = th.cdist(u, points, compute_mode="donot_use_mm_for_euclid_dist")
        return th.logsumexp(_LOG_KERNELS[self.kernel](distances), dim=1)
