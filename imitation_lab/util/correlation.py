"""Pearson's and Spearman's correlation: the one definition for comparisons of rewards and for their pictures."""

from collections.abc import Sequence

import numpy as np

__all__ = ["pearson", "spearman"]


def pearson(x: np.ndarray | Sequence[float], y: np.ndarray | Sequence[float]) -> float:
    """Linear correlation of two arrays `(n,)`; NaN where one is constant, up to the rounding of its own dtype.

    Raises:
        ValueError: if the shapes differ, there are fewer than two values, or one is NaN or infinite.
    """
    both = [np.asarray(x), np.asarray(y)]
    if both[0].ndim != 1 or both[0].shape != both[1].shape or len(both[0]) < 2:
        shapes = f"{both[0].shape} and {both[1].shape}"
        raise ValueError(f"Correlation needs two arrays of one shape (n,), n at least 2, got {shapes}.")
    unit = []
    for values in both:
        if not np.isfinite(values).all():
            raise ValueError("Correlation needs finite values; one of the rewards is NaN or infinite somewhere.")
        rounding = np.finfo(values.dtype if values.dtype.kind == "f" else np.float64).eps
        values = values.astype(np.float64)
        if np.ptp(values) <= 4 * rounding * np.abs(values).max():
            return float("nan")
        centred = values - values.mean()
        unit.append(centred / np.linalg.norm(centred))
    return float(np.clip(unit[0] @ unit[1], -1, 1))


def spearman(x: np.ndarray | Sequence[float], y: np.ndarray | Sequence[float]) -> float:
    """Correlation of the ranks of two arrays `(n,)`, equal values sharing their mean rank; errors as in `pearson`."""
    return pearson(_ranks(np.asarray(x)), _ranks(np.asarray(y)))


def _ranks(x: np.ndarray) -> np.ndarray:
    # What scipy.stats.rankdata gives (a test compares them), without the second that importing it takes.
    if not np.isfinite(x).all():
        return x  # which pearson refuses
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
