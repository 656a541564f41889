"""Did the rewards really improve? A one-sided permutation test on the difference of means."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

from imitation_lab.util import checks

__all__ = ["EXACT_LIMIT", "permutation_p_value", "is_significant_reward_improvement", "mean_reward_improved_by"]

EXACT_LIMIT = 20_000
"""Up to this many splits of the pooled rewards, all of them are enumerated."""

_CHUNK_ENTRIES = 1 << 20


def permutation_p_value(
    old_rewards: Iterable[float],
    new_rewards: Iterable[float],
    *,
    n_permutations: int = 10_000,
    rng: np.random.Generator | None = None,
) -> float:
    """P(mean(new) − mean(old) is at least what was seen), if both come from one distribution.

    All splits of the pooled rewards are enumerated where there are at most `EXACT_LIMIT`; otherwise `n_permutations`
    random ones are drawn and the observed split counts as one more (Phipson and Smyth 2010), so that p is never 0. The
    numbers are those of `scipy.stats.permutation_test`, which takes 3 to 15 times as long and refuses single rewards.

    Args:
        old_rewards: `(n_old,)`, independent samples, usually one return per episode.
        new_rewards: `(n_new,)`.
        n_permutations: number of random splits.
        rng: draws them; by default a generator seeded with 0.

    Returns:
        The p-value, inside (0, 1].

    Raises:
        TypeError: the rewards are no numbers.
        ValueError: a sample is empty, not one-dimensional, or not finite; `n_permutations` is less than 1.
    """
    old, new = _sample("old_rewards", old_rewards), _sample("new_rewards", new_rewards)
    checks.at_least(1, n_permutations=n_permutations)
    pooled = np.concatenate([new, old])
    scale = np.abs(pooled).max()
    if scale > 0:
        pooled = pooled / scale
    pooled -= pooled.mean()
    # the total is 0 now, so mean(new) − mean(old) grows with the sum over `new` alone
    n_total, n_new = len(pooled), len(new)
    at_least = pooled[:n_new].sum() - 1e-12 * n_total  # ties must count, whatever the order of summation

    if math.comb(n_total, n_new) <= EXACT_LIMIT:
        k = min(n_new, len(old))
        splits = np.array(list(itertools.combinations(range(n_total), k)))
        sums = pooled[splits].sum(axis=1)
        return float(np.mean((sums if k == n_new else -sums) >= at_least))

    rng = np.random.default_rng(0) if rng is None else rng
    rows = max(1, _CHUNK_ENTRIES // n_total)
    count = 1
    for start in range(0, n_permutations, rows):
        copies = np.tile(pooled, (min(rows, n_permutations - start), 1))
        sums = rng.permuted(copies, axis=1, out=copies)[:, :n_new].sum(axis=1)
        count += int(np.count_nonzero(sums >= at_least))
    return count / (n_permutations + 1)


def is_significant_reward_improvement(
    old_rewards: Iterable[float],
    new_rewards: Iterable[float],
    p_value: float = 0.05,
    *,
    n_permutations: int = 10_000,
    rng: np.random.Generator | None = None,
) -> bool:
    """Whether the mean of `new_rewards` is larger, and a difference so large has probability below `p_value`.

    With n_old and n_new samples no p-value is smaller than 1 / C(n_old + n_new, n_new): 4 of each are needed to get
    below 0.05.

    Args:
        old_rewards: `(n_old,)`, independent samples, usually one return per episode.
        new_rewards: `(n_new,)`.
        p_value: the threshold, inside (0, 1).
        n_permutations: as in `permutation_p_value`.
        rng: as in `permutation_p_value`.

    Raises:
        TypeError: the rewards are no numbers.
        ValueError: as `permutation_p_value`; also if `p_value` lies outside (0, 1).
    """
    checks.inside(0, 1, p_value=p_value)
    return permutation_p_value(old_rewards, new_rewards, n_permutations=n_permutations, rng=rng) < p_value


def mean_reward_improved_by(old_rews: Iterable[float], new_rews: Iterable[float], min_improvement: float) -> bool:
    """Whether mean(new) − mean(old) is at least `min_improvement`.

    Args:
        old_rews: `(n_old,)`.
        new_rews: `(n_new,)`.
        min_improvement: in units of reward.

    Raises:
        TypeError: the rewards are no numbers.
        ValueError: a sample is empty, not one-dimensional, or not finite; `min_improvement` is NaN.
    """
    if math.isnan(min_improvement):
        raise ValueError("min_improvement is NaN, expected a number.")
    return bool(_sample("new_rews", new_rews).mean() - _sample("old_rews", old_rews).mean() >= min_improvement)


def _sample(name: str, rewards: Iterable[float]) -> np.ndarray:
    array = np.asarray(rewards if hasattr(rewards, "__len__") else list(rewards))
    if array.size and array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}.")
    if array.ndim != 1:
        raise ValueError(
            f"{name} must be one-dimensional (n_samples,), got shape {array.shape}: sum rewards to one return per "
            "episode."
        )
    if not array.size:
        raise ValueError(f"{name} is empty, expected at least one sample.")
    array = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(f"{name} must be finite, got {array[bad[0]]} at index {bad[0]}.")
    return array
