"""λ updaters: hand-computed traces, properties, refusals."""

import math

import numpy as np
import pytest
import torch as th
from hypothesis import given
from hypothesis import strategies as st

from imitation_lab.regularization.updaters import IntervalParamScaler, LambdaUpdater

INTERVAL = (0.9, 1.1)

losses = st.floats(min_value=0, max_value=1e300)
lambdas = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
factors = st.floats(min_value=1e-3, max_value=0.999)
bounds = st.tuples(st.floats(0, 1e3), st.floats(0, 1e3)).map(sorted).filter(lambda b: b[0] < b[1]).map(tuple)


@pytest.mark.parametrize(
    ("lambda_", "train", "val", "expected"),
    [
        (1.0, 1.0, 1.2, 1.5),  # overfits
        (1.0, 1.0, 0.8, 0.5),  # underfits
        (1.0, 1.0, 1.0, 1.0),
        (0.2, 1.0, 1.1, 0.2),  # the bounds belong to the interval
        (0.2, 1.0, 0.9, 0.2),
        (0.2, 0.5, 1.0, 0.3),  # ratio 2
        (0.2, 4.0, 1.0, 0.1),  # ratio 1/4
        (0.2, 0.0, 1e-9, 0.3),  # 0 training loss
        (0.2, 0.0, 0.0, 0.2),
        (0.2, 1.0, 0.0, 0.1),  # 0 validation loss
        (0.2, 1e-300, 1e300, 0.3),  # a ratio beyond the floats
    ],
)
def test_one_update_by_hand(lambda_, train, val, expected):
    assert IntervalParamScaler(0.5, INTERVAL)(lambda_, train, val) == pytest.approx(expected, abs=1e-12)


def test_trace_by_hand():
    scaler = IntervalParamScaler(0.25, (0.8, 1.25))
    lambda_, trace = 0.64, []
    for train, val in [(1.0, 2.0), (1.0, 2.0), (1.0, 1.25), (1.0, 0.5), (0.5, 0.4), (2.0, 1.0), (0.0, 1.0)]:
        lambda_ = scaler(lambda_, train, val)
        trace.append(lambda_)
    np.testing.assert_allclose(trace, [0.8, 1.0, 1.0, 0.75, 0.75, 0.5625, 0.703125], rtol=1e-12)


def test_zero_train_loss_scales_up_even_without_upper_bound():
    assert IntervalParamScaler(0.5, (0.0, math.inf))(1.0, 0.0, 1.0) == 1.5


@given(lambdas, losses, losses, factors, bounds)
def test_direction_and_range(lambda_, train, val, factor, interval):
    new = IntervalParamScaler(factor, interval)(lambda_, train, val)
    assert isinstance(new, float)
    assert 0 < new < math.inf
    if (train > 0 and interval[0] <= val / train <= interval[1]) or train == val == 0:
        assert new == lambda_
    elif 1e-300 < lambda_ < 1e300:
        up = train == 0 or val / train > interval[1]
        assert new == pytest.approx(lambda_ * (1 + factor if up else 1 - factor), rel=1e-12)


@given(
    lambdas,
    st.floats(min_value=1e-3, max_value=1e3),
    st.floats(min_value=1e-3, max_value=1e3),
    st.integers(-20, 20),
)
def test_only_the_ratio_counts(lambda_, train, val, exponent):
    scaler = IntervalParamScaler(0.3, INTERVAL)
    scale = 2.0**exponent  # exact, so that rounding cannot move the ratio over a bound
    assert scaler(lambda_, train * scale, val * scale) == scaler(lambda_, train, val)


@given(lambdas, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), factors, bounds)
def test_grows_with_validation_loss(lambda_, train, val_a, val_b, factor, interval):
    scaler = IntervalParamScaler(factor, interval)
    low, high = sorted((val_a, val_b))
    assert scaler(lambda_, train, low) <= scaler(lambda_, train, high)


def test_never_leaves_the_floats():
    scaler = IntervalParamScaler(0.9, INTERVAL)
    tiny, huge = 1.0, 1.0
    for _ in range(3000):
        tiny, huge = scaler(tiny, 1.0, 0.0), scaler(huge, 0.0, 1.0)
    assert 0 < tiny < 1e-300
    assert 1e300 < huge < math.inf


def test_accepts_scalar_tensors():
    new = IntervalParamScaler(0.5, INTERVAL)(0.1, th.tensor(1.0), np.float32(2.0))
    assert new == pytest.approx(0.15)
    assert type(new) is float


def test_is_a_lambda_updater_with_plain_fields():
    scaler = IntervalParamScaler(scaling_factor=0.5, tolerable_interval=[0, 2])
    assert isinstance(scaler, LambdaUpdater)
    assert (scaler.scaling_factor, scaler.tolerable_interval) == (0.5, (0.0, 2.0))
    assert scaler == IntervalParamScaler(0.5, (0.0, 2.0))


@pytest.mark.parametrize(
    ("factor", "interval", "error", "text"),
    [
        (0.0, INTERVAL, ValueError, r"scaling_factor must lie inside \(0, 1\), got 0.0"),
        (1.0, INTERVAL, ValueError, r"scaling_factor must lie inside \(0, 1\), got 1.0"),
        (-0.5, INTERVAL, ValueError, "got -0.5"),
        (math.nan, INTERVAL, ValueError, "got nan"),
        ("0.5", INTERVAL, TypeError, "scaling_factor must be a number"),
        (True, INTERVAL, TypeError, "scaling_factor must be a number"),
        (0.5, (1.1, 0.9), ValueError, r"ascending order.*did you mean \(0.9, 1.1\)"),
        (0.5, (1.0, 1.0), ValueError, r"low < high, got \(1.0, 1.0\); leave room between the two\.$"),
        (0.5, (-0.1, 1.0), ValueError, r"must not be negative, got \(-0.1, 1.0\)"),
        (0.5, (math.nan, 1.0), ValueError, "must not contain NaN"),
        (0.5, (1.0,), TypeError, "pair of numbers"),
        (0.5, (0.5, 1.0, 1.5), TypeError, "pair of numbers"),
        (0.5, 1.0, TypeError, "pair of numbers"),
        (0.5, ("a", "b"), TypeError, "pair of numbers"),
    ],
)
def test_refuses_wrong_construction(factor, interval, error, text):
    with pytest.raises(error, match=text):
        IntervalParamScaler(factor, interval)


@pytest.mark.parametrize(
    ("lambda_", "train", "val", "error", "text"),
    [
        (0.0, 1.0, 1.0, ValueError, "lambda_ is 0, which no factor can scale"),
        (-1.0, 1.0, 1.0, ValueError, "lambda_ must be positive and finite, got -1.0"),
        (math.nan, 1.0, 1.0, ValueError, "lambda_ must be positive and finite, got nan"),
        (math.inf, 1.0, 1.0, ValueError, "lambda_ must be positive and finite, got inf"),
        (1, 1.0, 1.0, TypeError, "lambda_ must be a float, got 1 of type int"),
        ("1", 1.0, 1.0, TypeError, "lambda_ must be a float, got '1' of type str"),
        (th.tensor(1.0), 1.0, 1.0, TypeError, "of type Tensor"),
        (1.0, -0.1, 1.0, ValueError, "train_loss must not be negative, got -0.1"),
        (1.0, 1.0, -0.1, ValueError, "val_loss must not be negative, got -0.1"),
        (1.0, math.nan, 1.0, ValueError, "train_loss is NaN"),
        (1.0, 1.0, math.nan, ValueError, "val_loss is NaN"),
        (1.0, math.inf, math.inf, ValueError, "train_loss is infinite"),
    ],
)
def test_refuses_wrong_call(lambda_, train, val, error, text):
    with pytest.raises(error, match=text):
        IntervalParamScaler(0.5, INTERVAL)(lambda_, train, val)


@pytest.mark.parametrize(
    "call",
    [
        lambda: IntervalParamScaler(0.5, (1.0,)),
        lambda: IntervalParamScaler(0.5, (0.5, 1.0, 1.5)),
        lambda: IntervalParamScaler(0.5, INTERVAL)(th.tensor(1.0), 1.0, 1.0),
        lambda: IntervalParamScaler(0.5, INTERVAL)(1.0, th.ones(2), 1.0),
        lambda: IntervalParamScaler(0.5, INTERVAL)(1.0, 1.0, th.ones(2)),
        lambda: IntervalParamScaler(0.5, INTERVAL)(1.0, 1.0, "a"),
    ],
)
def test_what_is_of_the_wrong_kind_is_both_errors(call):
    with pytest.raises(ValueError):
        call()
    with pytest.raises(TypeError):
        call()
