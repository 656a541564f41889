"""Settings that every test shares."""

import numpy as np
import pytest
import torch as th

th.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Networks that a test makes without a seed of their own are the same in every run."""
    th.manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed."""
    return np.random.default_rng(0)
