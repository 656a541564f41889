"""Behavioral cloning on demonstrations larger than memory: peak memory, and transitions per second.

    python tests/benchmarks/workloads/out_of_core.py [--transitions 10000000] [--folder DIR]

Writes demonstrations episode by episode (17 observations, 6 actions, float32), then trains one pass on them in a
process of its own and prints what the system says of its memory: before the file is opened, and at its peak. Not among
the workloads of run.py, since it measures memory and takes minutes; nothing is asserted.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

OBS, ACTS = 17, 6
LENGTH = 1_000
BATCH = 256


class Episodes(Sequence[Any]):
    """Episodes that are made when they are looked at; the action is a fixed linear map of the observation."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._map = np.random.default_rng(0).normal(size=(OBS, ACTS)).astype(np.float32) / OBS**0.5

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: Any) -> Any:
        from imitation_lab.data import types

        if not 0 <= i < self._n:
            raise IndexError(i)
        obs = np.random.default_rng(i).standard_normal((LENGTH + 1, OBS), dtype=np.float32)
        return types.Trajectory(obs, np.tanh(obs[:-1] @ self._map), None, True)


def peak() -> float:
    """Most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def train(path: str) -> dict[str, float]:
    """Trains one pass on the file."""
    import torch as th
    from gymnasium import spaces

    from imitation_lab.algorithms import bc
    from imitation_lab.data.demonstrations import DiskBatches
    from imitation_lab.util import logger

    th.set_num_threads(1)
    rng = np.random.default_rng(0)
    __import__("torch._dynamo")  # an optimizer's first step would, and would be counted
    before = peak()
    start = time.monotonic()
    batches = DiskBatches(path, BATCH, rng)
    opened = time.monotonic() - start
    trainer = bc.BC(
        observation_space=spaces.Box(-np.inf, np.inf, (OBS,)),
        action_space=spaces.Box(-1, 1, (ACTS,)),
        rng=rng,
        demonstrations=batches,
        batch_size=BATCH,
        device="cpu",
        custom_logger=logger.configure(format_strs=[]),
    )
    start = time.monotonic()
    history = trainer.train(n_epochs=1, progress_bar=False, log_interval=max(1, len(batches) - 1))
    seconds = time.monotonic() - start
    return {
        "before_mb": before,
        "peak_mb": peak(),
        "check_seconds": opened,
        "train_seconds": seconds,
        "transitions": len(batches) * BATCH,
        "first_neglogp": history[0]["neglogp"],
        "last_neglogp": history[-1]["neglogp"],
    }


def main() -> None:
    """Parse the command line, write, train in a child, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=10_000_000)
    parser.add_argument("--folder", help="where to put the file; by default a temporary folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(train(args.child)))
        return
    from imitation_lab.data import serialize

    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder, "demonstrations.safetensors")
        start = time.monotonic()
        serialize.save(path, Episodes(max(1, args.transitions // LENGTH)))
        size = path.stat().st_size / 1e6
        print(f"wrote {size:,.0f} MB in {time.monotonic() - start:.0f} s; peak memory {peak():,.0f} MB", flush=True)
        command = [sys.executable, __file__, "--child", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    rate = found["transitions"] / found["train_seconds"]
    print(
        f"trained on {found['transitions']:,} transitions in {found['train_seconds']:.0f} s ({rate:,.0f}/s) after "
        f"{found['check_seconds']:.1f} s for the checksum; −log π from {found['first_neglogp']:.2f} to "
        f"{found['last_neglogp']:.2f}\n"
        f"peak memory {found['peak_mb']:,.0f} MB, of which {found['before_mb']:,.0f} MB are the libraries: "
        f"{found['peak_mb'] - found['before_mb']:,.0f} MB for a file of {size:,.0f} MB"
    )


if __name__ == "__main__":
    main()
