import sys

import numpy as np
import pytest

from imitation_lab.util import checks


def test_what_fits_passes():
    checks.generator(np.random.default_rng(0))
    checks.at_least(1, a=1, b=np.float32(1.5), c=float("inf"))
    checks.at_least(1, or_none=True, a=None, b=2)
    checks.integers(0, a=0, b=np.int64(3))
    checks.positive(a=1e-300)
    checks.between(0, 1, a=0, b=1.0)
    checks.inside(0, 1, a=0.5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: checks.at_least(1, a=1, n_envs=0), "n_envs must be at least 1, got 0."),
        (lambda: checks.at_least(1, n=float("nan")), "n must be at least 1, got nan."),
        (lambda: checks.at_least(1, or_none=True, n=0), "n must be at least 1, or None, got 0."),
        (lambda: checks.integers(1, n=0), "n must be an integer of at least 1, got 0."),
        (lambda: checks.integers(1, n=1.5), "n must be an integer of at least 1, got 1.5."),
        (lambda: checks.integers(0, n=True), "n must be an integer of at least 0, got True."),
        (lambda: checks.integers(0, n="3"), "n must be an integer of at least 0, got '3'."),
        (lambda: checks.positive(fps=0), "fps must be positive, got 0."),
        (lambda: checks.positive(fps=float("nan")), "fps must be positive, got nan."),
        (lambda: checks.between(0, 1, a=0, p=1.5), "p must lie in [0, 1], got 1.5."),
        (lambda: checks.between(0, 1, p=float("nan")), "p must lie in [0, 1], got nan."),
        (lambda: checks.inside(0, 1, p=1), "p must lie inside (0, 1), got 1."),
    ],
)
def test_what_does_not_fit_is_named(call, text):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == text


@pytest.mark.parametrize("rng", [None, 0, np.random.RandomState(0)])
def test_only_a_generator_is_a_generator(rng):
    with pytest.raises(
        TypeError, match=r"^rng must be a numpy.random.Generator, got .*pass np.random.default_rng\(0\)"
    ):
        checks.generator(rng)


def test_nearest_names():
    assert checks.did_you_mean("pppo", ["ppo", "sac"]) == " Did you mean 'ppo'?"
    assert checks.did_you_mean("aab", ["aaa", "aac"], n=2) == " Did you mean 'aac' or 'aaa'?"
    assert checks.did_you_mean(3, ["ppo"]) == ""


def test_a_missing_package_names_its_extra(monkeypatch):
    assert checks.optional("json.decoder", "x", "This needs") is sys.modules["json.decoder"]
    monkeypatch.delitem(sys.modules, "minari.storage", raising=False)
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError) as error:
        checks.optional("minari.storage", "minari", "Minari data sets need")
    assert str(error.value) == 'Minari data sets need the package minari: pip install "imitation-lab[minari]".'
