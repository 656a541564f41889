"""`make_data_loader`, batches per second: shuffled batches of every field as tensors."""

import torch as th

from workloads import Task, Workload, part
from workloads.data import arrays, transitions


def library(package: str, n: int, batch_size: int) -> Task:
    loader = part(package, "algorithms.base").make_data_loader(transitions(package, n), batch_size)

    def run() -> int:
        return sum(1 for _ in loader)

    # `n` is a multiple of the batch size: every order has the same sum.
    return Task(run, lambda: sum(float(th.as_tensor(b["obs"]).double().sum()) for b in loader) / n)


def floor(n: int, batch_size: int) -> Task:
    fields = [th.as_tensor(a) for a in arrays(n).values()]

    def run() -> int:
        order = th.randperm(n)
        shuffled = [f.index_select(0, order).split(batch_size) for f in fields]
        return sum(1 for _ in zip(*shuffled, strict=True))

    return Task(run, lambda: float(fields[0].double().sum()) / n)


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
