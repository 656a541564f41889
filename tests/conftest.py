"""Settings that every test shares."""

import numpy as np
import pytest
import torch as th

th.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    """A fresh generator with a fixed seed."""
    return np.random.default_rng(0)
