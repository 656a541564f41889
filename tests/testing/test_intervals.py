"""Scores over seeds: hand-derived numbers, and intervals that cover the truth as often as they say."""

import numpy as np
import pytest
from scipy import stats

from imitation_lab.testing.intervals import bootstrap_interval, interquartile_mean, normalized_score


def test_normalized_score() -> None:
    np.testing.assert_allclose(normalized_score([-1200.0, -700.0, -200.0, -100.0], -1200, -200), [0, 0.5, 1, 1.1])


def test_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert interquartile_mean([9.0, 1.0, 2.0, 100.0, -50.0, 3.0, 4.0, 5.0]) == np.mean([2, 3, 4, 5])
    assert interquartile_mean([1.0, 2.0, 6.0]) == 3.0  # ⌊3/4⌋ = 0
    np.testing.assert_allclose(interquartile_mean([[0, 1, 3, 100], [7, 7, 7, 7]]), [2, 7])
    assert interquartile_mean([500.0, 500.0, 40.0, 450.0, 490.0]) == 480.0  # as rliable has it


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(
            rng.normal(2.0, 1.0, 40), lambda x: x.mean(axis=-1), confidence=0.8, n_resamples=400, rng=rng
        )
        hits += low <= 2.0 <= high
    assert 0.72 < hits / 300 < 0.86  # the percentile bootstrap is a little narrow at n = 40


@pytest.mark.parametrize("n", [2, 5, 12])
def test_interval_is_scipys(n) -> None:
    samples = np.random.default_rng(n).normal(size=n)
    mean = lambda x, axis=-1: x.mean(axis=axis)
    rng = np.random.default_rng(0)
    theirs = stats.bootstrap((samples,), mean, n_resamples=500, method="percentile", rng=rng).confidence_interval
    np.testing.assert_allclose(bootstrap_interval(samples, mean, n_resamples=500), theirs, rtol=1e-12)


def test_interval_is_reproducible_and_ordered() -> None:
    samples = np.arange(10.0)
    assert bootstrap_interval(samples) == bootstrap_interval(samples)
    low, high = bootstrap_interval(samples)
    assert low < interquartile_mean(samples) < high
    assert bootstrap_interval([3.0]) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: normalized_score([1.0], 2.0, 2.0), "two different finite returns"),
        (lambda: interquartile_mean([]), "at least one value"),
        (lambda: interquartile_mean([1.0, np.nan]), "must be finite"),
        (lambda: bootstrap_interval(np.ones((2, 2))), "one-dimensional"),
        (lambda: bootstrap_interval([1.0], confidence=1.0), "confidence must lie inside"),
        (lambda: bootstrap_interval([1.0], n_resamples=0), "n_resamples must be at least 1"),
    ],
)
def test_bad_input_is_named(call, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()
