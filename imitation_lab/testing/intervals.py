"""How good is an algorithm over several seeds? Normalized scores, their interquartile mean, and its interval.

The practice of R. Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

from imitation_lab.util import checks

__all__ = ["Statistic", "normalized_score", "interquartile_mean", "bootstrap_interval"]

Statistic = Callable[[np.ndarray], np.ndarray]
"""Arrays `(…, n)` to one number per row, `(…,)`."""


def normalized_score(returns: npt.ArrayLike, random: float, expert: float) -> np.ndarray:
    """Returns on a scale where `random` is 0 and `expert` is 1.

    Args:
        returns: of any shape.
        random: mean return of random actions.
        expert: mean return of the expert.

    Raises:
        ValueError: if `random` and `expert` are equal or not finite.
    """
    if not np.isfinite([random, expert]).all() or random == expert:
        raise ValueError(f"random and expert must be two different finite returns, got {random} and {expert}.")
    return (np.asarray(returns, dtype=np.float64) - random) / (expert - random)


def interquartile_mean(samples: npt.ArrayLike) -> np.ndarray:
    """Mean of the middle half: ⌊n/4⌋ of the least and as many of the greatest are left out.

    Args:
        samples: `(…, n)`, as many seeds.

    Returns:
        Shape `(…,)`.

    Raises:
        ValueError: if there is no sample, or one is not finite.
    """
    return stats.trim_mean(_checked(samples), 0.25, axis=-1)


def bootstrap_interval(
    samples: npt.ArrayLike,
    statistic: Statistic = interquartile_mean,
    *,
    confidence: float = 0.95,
    n_resamples: int = 10_000,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of independent samples.

    The ends are those of `scipy.stats.bootstrap`, which takes twice as long and refuses a single sample.

    Args:
        samples: `(n,)`, such as one score per seed.
        statistic: of `(n_resamples, n)`, row by row.
        confidence: inside (0, 1).
        n_resamples: how often n of the samples are drawn with replacement.
        rng: draws them; by default a generator seeded with 0.

    Returns:
        The ends, least first. With one sample both are that one's statistic.

    Raises:
        ValueError: if the samples are none, not one-dimensional or not finite, or another argument is out of range.
    """
    array = _checked(samples)
    if array.ndim != 1:
        raise ValueError(f"samples must be one-dimensional (n,), got shape {array.shape}.")
    checks.inside(0, 1, confidence=confidence)
    checks.at_least(1, n_resamples=n_resamples)
    rng = np.random.default_rng(0) if rng is None else rng
    drawn = rng.choice(array, size=(n_resamples, len(array)))
    low, high = np.quantile(statistic(drawn), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _checked(samples: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim < 1 or not array.shape[-1]:
        raise ValueError(f"samples must hold at least one value along the last axis, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("samples must be finite, got NaN or infinity.")
    return array
