"""One contract, which every algorithm keeps; what is particular to one is tested beside it."""

import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("imitation_lab.testing.contract")
sys.path.insert(0, str(Path(__file__).parent))
from contract_cases import ALGORITHMS  # noqa: E402

from imitation_lab.testing import contract  # noqa: E402


class TestAlgorithms(contract.Contract):
    @classmethod
    def cases(cls):
        return ALGORITHMS
