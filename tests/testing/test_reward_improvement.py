"""The permutation test against closed forms, and its refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imitation_lab.testing import reward_improvement
from imitation_lab.testing.reward_improvement import (
    is_significant_reward_improvement,
    mean_reward_improved_by,
    permutation_p_value,
)


@pytest.mark.parametrize(
    ("old", "new", "p"),
    [
        ([1, 2, 3], [4, 5, 6], 1 / 20),  # the best of C(6, 3) splits
        ([4, 5, 6], [1, 2, 3], 1.0),
        ([1.0, 3.0], [2.0, 4.0], 2 / 6),  # {2,4} and {3,4} have sums of at least 6
        ([0.0], [1.0], 1 / 2),
        ([0.0, 0.0, 0.0], [1.0], 1 / 4),
        ([0.0], [1.0, 1.0, 1.0], 1 / 4),
        ([5, 5], [5, 5, 5], 1.0),  # all ties
        ([0, 0, 1], [0, 1, 1], 10 / 20),  # at least two of the three ones: C(3,2)·3 + 1
        ([0.1, 0.2], [0.3, 0.2], 2 / 6),  # a tie that rounding would break
        ([-3e300], [3e300], 1 / 2),
    ],
)
def test_exact_p_values_by_hand(old, new, p):
    assert permutation_p_value(old, new) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize(("n_old", "n_new"), [(3, 4), (6, 8), (20, 30)])
def test_p_values_are_scipys(n_old, n_new):
    rng = np.random.default_rng(n_old)
    old, new = rng.normal(size=n_old), rng.normal(0.5, size=n_new)
    difference = lambda x, y, axis: x.mean(axis) - y.mean(axis)
    n = np.inf if math.comb(n_old + n_new, n_new) <= reward_improvement.EXACT_LIMIT else 2000
    theirs = stats.permutation_test(
        (new, old), difference, n_resamples=n, alternative="greater", rng=np.random.default_rng(0)
    )
    assert permutation_p_value(old, new, n_permutations=2000) == pytest.approx(theirs.pvalue, rel=1e-12)


def test_random_splits_agree_with_enumeration(monkeypatch):
    rng = np.random.default_rng(3)
    old, new = rng.normal(size=6), rng.normal(0.7, size=8)
    exact = permutation_p_value(old, new)
    assert 0.005 < exact < 0.5
    monkeypatch.setattr(reward_improvement, "EXACT_LIMIT", 0)
    n = 100_000
    error = math.sqrt(exact * (1 - exact) / n)
    assert permutation_p_value(old, new, n_permutations=n) == pytest.approx(exact, abs=4 * error)


def test_random_splits_in_chunks_are_seeded_and_never_zero(monkeypatch):
    old, new = np.zeros(40), np.ones(40)
    assert permutation_p_value(old, new, n_permutations=999) == 1 / 1000
    noise = np.random.default_rng(1).normal(size=(2, 40))
    first = permutation_p_value(*noise, n_permutations=500)
    assert permutation_p_value(*noise, n_permutations=500) == first
    monkeypatch.setattr(reward_improvement, "_CHUNK_ENTRIES", 7 * 80)
    assert permutation_p_value(*noise, n_permutations=500) == first
    assert permutation_p_value(*noise, n_permutations=500, rng=np.random.default_rng(5)) != first


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(0)
    alarms = sum(is_significant_reward_improvement(*rng.normal(size=(2, 6)), p_value=0.1) for _ in range(400))
    assert alarms <= 40 + 3 * math.sqrt(400 * 0.1 * 0.9)
    assert alarms >= 40 - 3 * math.sqrt(400 * 0.1 * 0.9)


def test_finds_a_clear_improvement_and_no_deterioration():
    rng = np.random.default_rng(0)
    old, new = rng.normal(0, 1, 50), rng.normal(1, 1, 50)
    assert is_significant_reward_improvement(old, new)
    assert is_significant_reward_improvement(iter(old), list(new), 1e-3)
    assert not is_significant_reward_improvement(new, old)
    assert not is_significant_reward_improvement(old, old)


def test_threshold_is_strict_and_needs_four_of_each():
    assert not is_significant_reward_improvement([0, 0, 0], [1, 1, 1])  # p = 1/20
    assert is_significant_reward_improvement([0, 0, 0, 0], [1, 1, 1, 1])  # p = 1/70


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=5),
    st.lists(st.integers(-50, 50), min_size=1, max_size=5),
    st.integers(-100, 100),
    st.sampled_from([0.5, 2.0, 1024.0]),
)
def test_invariant_under_shift_and_scale(old, new, shift, scale):
    p = permutation_p_value(old, new)
    moved = permutation_p_value(scale * (np.array(old) + shift), scale * (np.array(new) + shift))
    assert 0 < p <= 1
    assert moved == pytest.approx(p)


def test_mean_reward_improved_by():
    assert mean_reward_improved_by([1, 2, 3], [3, 4, 5], 2)
    assert not mean_reward_improved_by([1, 2, 3], [3, 4, 5], 2.01)
    assert mean_reward_improved_by([1.0], [0.0], -1.0)
    assert isinstance(mean_reward_improved_by([1], [2], 0), bool)


BAD = [
    ([], ValueError, "is empty, expected at least one sample"),
    ([1.0, math.nan], ValueError, "must be finite, got nan at index 1"),
    ([math.inf], ValueError, "must be finite, got inf at index 0"),
    ([[1.0, 2.0]], ValueError, r"must be one-dimensional \(n_samples,\), got shape \(1, 2\)"),
    (["a"], TypeError, "must hold numbers"),
]


@pytest.mark.parametrize(("bad", "error", "text"), BAD)
def test_refuses_bad_samples(bad, error, text):
    for function, prefix in [(is_significant_reward_improvement, "rewards"), (mean_reward_improved_by, "rews")]:
        with pytest.raises(error, match=f"old_{prefix} {text}"):
            function(bad, [1.0], 0.5)
        with pytest.raises(error, match=f"new_{prefix} {text}"):
            function([1.0], bad, 0.5)


def test_refuses_bad_thresholds():
    for p_value in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"p_value must lie inside \(0, 1\)"):
            is_significant_reward_improvement([1.0], [2.0], p_value)
    with pytest.raises(ValueError, match="n_permutations must be at least 1, got 0"):
        permutation_p_value([1.0], [2.0], n_permutations=0)
    with pytest.raises(ValueError, match="min_improvement is NaN"):
        mean_reward_improved_by([1.0], [2.0], math.nan)
