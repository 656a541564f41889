"""The checks: what they accept, and the words in which they refuse."""

import logging
import os
import sys
import warnings

import numpy as np
import pytest
import torch as th

from imitation_lab.classroom import checks


def double(x):
    return 2 * x


def noisy_double(x):
    warnings.warn("noise", stacklevel=1)
    print("noise", file=sys.stderr)
    os.write(2, b"noise")
    logging.getLogger("answer").warning("noise")
    return x + x


def test_a_noisy_answer_is_right_and_silent(capfd):
    checks.expect_same(noisy_double, double, th.ones(3, requires_grad=True), gradients=True)
    assert capfd.readouterr().err == ""
    logging.getLogger("answer").warning("afterwards")
    print("afterwards", file=sys.stderr)
    assert "afterwards" in capfd.readouterr().err


def test_quiet_puts_everything_back_after_an_error(capfd):
    with pytest.raises(NotImplementedError), checks.quiet():
        raise NotImplementedError
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    assert logging.root.manager.disable == 0


@pytest.mark.parametrize(
    ("got", "expected", "text"),
    [
        (th.tensor(1.5), th.tensor(1.0), "x: expected 1., got 1.5"),
        (None, th.tensor(1.0), r"x: expected a tensor 1., got None — is there a return\?"),
        (None, 1.0, r"x: expected the number 1, got None — is there a return\?"),
        (1.0, th.tensor(1.0), "x: expected a tensor 1., got 1"),
        (np.zeros(2), th.zeros(2), r"x: expected a tensor \[0., 0.\], got \[0., 0.\]"),
        (th.zeros(1), th.zeros(()), r"x: expected the shape \(\), got \(1,\)"),
        (th.full((3, 4), 2.0), th.ones(3, 4), r"x: expected 1, got 2 at index \[0, 0\] \(12 of 12 values differ\)"),
        (th.tensor([np.nan]), th.tensor([1.0]), r"x: expected \[1.\], got \[nan\]"),
        (2, (1, 2), "x: expected 2 results, got 2"),
        ((1, 3), (1, 2), "x, result 2: expected 2, got 3"),
        ({"a": 1}, {"a": 2}, r"x\['a'\]: expected 2, got 1"),
        ({"b": 1}, {"a": 2}, r"x: expected a dict with the keys \['a'\], got a dict"),
    ],
)
def test_differences_are_told_as_expected_and_got(got, expected, text):
    with pytest.raises(AssertionError, match=text):
        checks.expect_close("x", got, expected)


def test_numbers_of_every_kind_are_numbers():
    for got in (1, 1.0, np.float32(1), th.tensor(1.0), np.ones(1), True):
        checks.expect_close("x", got, 1.0)
    checks.expect_close("x", 1 + 1e-6, 1.0)
    with pytest.raises(AssertionError):
        checks.expect_close("x", 1 + 1e-3, 1.0)


def in_place(x):
    x *= 2
    return x


def test_an_argument_changed_in_place_is_named():
    array = np.ones(3)
    with pytest.raises(AssertionError, match="in_place of ones: expected x to be left as it was, got it changed"):
        checks.expect_same(in_place, double, array, given="of ones")
    np.testing.assert_array_equal(array, 1)


def test_a_gradient_that_is_cut_off_or_wrong_is_told():
    x = th.ones(3, requires_grad=True)
    with pytest.raises(AssertionError, match=r"expected a result with a gradient, got one without"):
        checks.expect_same(lambda x: 2 * x.detach(), double, x, gradients=True)
    with pytest.raises(AssertionError, match=r"gradient with respect to x: expected \[2., 3., 4.\], got \[1. , 1.5"):
        checks.expect_same(lambda x: x + x.detach(), double, x, gradients=True)
    assert x.grad is None


def test_not_implemented_goes_through():
    def answer(x):
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        checks.expect_same(answer, double, 1.0)
