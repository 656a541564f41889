"""Saving and loading trajectories with rewards, trajectories per second; a load reads every number."""

import numpy as np

from workloads import Task, Workload, part
from workloads.data import ACTS, OBS, scratch

FIELDS = ("obs", "acts", "rews")


def arrays(n: int, length: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    shapes = {"obs": (length + 1, OBS), "acts": (length, ACTS), "rews": (length,)}
    return [{k: rng.standard_normal(s, dtype=np.float32) for k, s in shapes.items()} for _ in range(n)]


def total(trajectory: dict[str, np.ndarray]) -> float:
    return sum(float(np.sum(a, dtype=np.float64)) for a in trajectory.values())


def library(package: str, n: int, length: int, load: bool) -> Task:
    serialize = part(package, "data.serialize")
    cls = part(package, "data.types").TrajectoryWithRew
    trajectories = [cls(infos=None, terminal=True, **a) for a in arrays(n, length)]
    path = scratch() / "trajectories"
    serialize.save(path, trajectories)
    latest = [0.0]

    def run_save() -> int:
        serialize.save(path, trajectories)
        return n

    def run_load() -> int:
        latest[0] = sum(total({f: getattr(t, f) for f in FIELDS}) for t in serialize.load_with_rewards(path))
        return n

    def check() -> float:
        run_load()
        return latest[0]

    return Task(run_load if load else run_save, check)


def floor(n: int, length: int, load: bool) -> Task:
    trajectories = arrays(n, length)
    folder = scratch()
    latest = [0.0]

    def run_save() -> int:
        for field in FIELDS:
            np.save(folder / f"{field}.npy", np.concatenate([t[field] for t in trajectories]))
        return n

    def run_load() -> int:
        loaded = {f: np.load(folder / f"{f}.npy", mmap_mode="r") for f in FIELDS}
        steps = {"obs": length + 1, "acts": length, "rews": length}
        latest[0] = sum(total({f: a[i * steps[f] : (i + 1) * steps[f]] for f, a in loaded.items()}) for i in range(n))
        return n

    def check() -> float:
        run_load()
        return latest[0]

    run_save()
    return Task(run_load if load else run_save, check)


WORKLOADS = [
    Workload(
        name=name,
        unit="trajectories",
        target=target,
        size={"n": 1_000, "length": 200, "load": load},
        tiny={"n": 10, "length": 20, "load": load},
        library=library,
        floor=floor,
    )
    for name, target, load in (("save", 15.0, False), ("load", 10.0, True))
]
