"""Each workload runs at a tiny size, and ours and the floor do the same work. Nothing here looks at time."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
WORKLOADS = importlib.import_module("workloads").all_workloads()


@pytest.mark.parametrize("name", WORKLOADS)
def test_ours_and_the_floor_agree(name: str) -> None:
    workload = WORKLOADS[name]
    checks = []
    for side in ("ours", "floor"):
        task = workload.task(side, tiny=True)
        assert task.run() > 0
        checks.append(task.check())
    assert checks[0] == pytest.approx(checks[1], rel=workload.tolerance, abs=workload.tolerance)
