"""The measured workloads.

Each library workload takes the package's name, so that one text drives ours and the peer through the public names they
share. Nothing here imports either package at the top: a worker has one of the two.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

OURS, PEER = "imitation_lab", "imitation"


@dataclass(frozen=True)
class Task:
    """One side of a workload, set up.

    Attributes:
        run: Does the work once and returns how many units it did. Only this is timed.
        check: A number that tells whether the work was done right; all sides agree on it within the tolerance.
    """

    run: Callable[[], int]
    check: Callable[[], float]


@dataclass(frozen=True)
class Workload:
    """What is measured, and how fast it should be.

    Attributes:
        name: The name on the command line and in the table.
        unit: What `Task.run` counts.
        target: The ratio ours / peer to reach; in seconds and not to be passed when `wall`.
        size: Keyword arguments of both functions at full size.
        tiny: The same for the smoke test.
        library: `(package, **size)` to `Task`.
        floor: `(**size)` to `Task`: the same arithmetic in bare torch or NumPy.
        tolerance: How far the checks of two sides may lie apart, relative or absolute.
        wall: Measure wall-clock time, for work done in child processes, and show seconds each, with no ratio.
    """

    name: str
    unit: str
    target: float
    size: dict[str, Any]
    tiny: dict[str, Any]
    library: Callable[..., Task]
    floor: Callable[..., Task]
    tolerance: float = 1e-4
    wall: bool = False

    def task(self, side: str, *, tiny: bool = False) -> Task:
        """The task of side "ours", "peer" or "floor"."""
        size = self.tiny if tiny else self.size
        return self.floor(**size) if side == "floor" else self.library(OURS if side == "ours" else PEER, **size)


def part(package: str, name: str) -> ModuleType:
    """The submodule `name` of the library under measurement."""
    return importlib.import_module(f"{package}.{name}")


def all_workloads() -> dict[str, Workload]:
    """Every workload by name, in the order of the table."""
    modules = (
        "bc",
        "dagger",
        "loader",
        "rollouts",
        "trajectories",
        "imports",
        "rewards",
        "adversarial",
        "mce_irl",
        "preferences",
        "density",
        "sqil",
    )
    found = [w for m in modules for w in importlib.import_module(f"workloads.{m}").WORKLOADS]
    return {w.name: w for w in found}
