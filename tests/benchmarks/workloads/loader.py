"""`make_data_loader`, batches per second: shuffled batches of every field as tensors."""

import torch as th

from workloads import Task, Workload, part
from workloads.data import arrays, transitions


def library(package: str, n: int, batch_size: int) -> Task:
    loader = part(package, "algorithms.base").make_data_loader(transitions(package, n), batch_size)

    def run() -> int:
        return sum(1 for _ in loader)

    # Only the mean over whole batches is the same for every order, so the check leaves no remainder out.
    return Task(run, lambda: sum(float(th.as_tensor(b["obs"]).double().sum()) for b in loader) / n)


def floor(n: int, batch_size: int) -> Task:
    fields = [th.as_tensor(a) for a in arrays(n).values()]

    def batches() -> int:
        order = th.randperm(n)
        count = 0
        for start in range(0, n - batch_size + 1, batch_size):
            index = order[start : start + batch_size]
            _ = [f[index] for f in fields]
            count += 1
        return count

    return Task(batches, lambda: float(fields[0].double().sum()) / n)


WORKLOADS = [
    Workload(
        name=f"loader_{batch_size}",
        unit="batches",
        target=target,
        size={"n": 50_176, "batch_size": batch_size},
        tiny={"n": 512, "batch_size": batch_size},
        library=library,
        floor=floor,
    )
    for batch_size, target in ((32, 16.0), (256, 60.0))
]
