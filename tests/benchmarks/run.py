"""Measures imitation_lab against the field's reference library and against bare torch and NumPy.

    python tests/benchmarks/run.py --make-peer PEER_VENV            # once
    python tests/benchmarks/run.py --peer-python PEER_VENV/bin/python [workload …]

Each side of a workload runs in a process of its own, with one torch thread; rounds are interleaved peer, ours, floor,
and timed in CPU seconds. Without a peer, ours and the floor are measured. Nothing is asserted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workloads import Workload, all_workloads

HERE = Path(__file__).parent
PEER_PACKAGES = ("imitation==1.0.1", "seals==0.2.1", "huggingface_sb3==3.0")
"""Installed without their dependencies, whose pins are older than today's stack."""
SHARED = ("torch", "stable_baselines3", "gymnasium", "numpy", "setuptools")
"""Must have the same version on both sides."""
PEER_NEEDS = (
    "datasets",
    "jsonpickle",
    "scikit-learn",
    "sacred",
    "optuna",
    "rich",
    "safetensors",
    "tensorboard",
    "pygame-ce",
    "wasabi",
)


def make_peer(folder: Path) -> Path:
    """Create a virtual environment with the peer on this interpreter's versions of the stack; returns its Python."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    # A local version such as 2.13.0+cpu is no name that an index knows.
    shared = [f"{name}=={version(name).split('+')[0]}" for name in SHARED]
    subprocess.run([*pip, *shared, *PEER_NEEDS], check=True)
    subprocess.run([*pip, "--no-deps", *PEER_PACKAGES], check=True)
    subprocess.run([str(python), "-c", "import imitation.algorithms.bc, imitation.rewards.reward_nets"], check=True)
    return python


class Worker:
    """A process that does one side of a workload, set up and warm."""

    def __init__(self, python: str, workload: str, side: str, tiny: bool) -> None:
        env = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(HERE.parent.parent),  # measure this checkout, installed or not
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        }
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
        )
        self.check = self.ask(workload=workload, side=side, tiny=tiny)["check"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """Send a command and return the answer; RuntimeError with the worker's traceback when it failed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the worker died without an answer"}
        if "error" in answer:
            self.close()
            raise RuntimeError(answer["error"])
        return answer

    def rate(self) -> float:
        """Units per second in one round."""
        answer = self.ask()
        return answer["units"] / answer["seconds"]

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def measure(workload: Workload, pythons: dict[str, str], rounds: int, tiny: bool) -> dict[str, Any]:
    """Interleaved rounds of one workload: rates per side, ratios per round, and what went wrong."""
    workers: dict[str, Worker] = {}
    errors: dict[str, str] = {}
    for side, python in pythons.items():
        try:
            workers[side] = Worker(python, workload.name, side, tiny)
        except RuntimeError as e:
            errors[side] = str(e)
    rates: dict[str, list[float]] = {side: [] for side in workers}
    for _ in range(rounds):
        for side, worker in workers.items():
            rates[side].append(worker.rate())
    for worker in workers.values():
        worker.close()
    return {
        "rates": rates,
        "checks": {side: worker.check for side, worker in workers.items()},
        "errors": errors,
    }


def ratios(result: dict[str, Any], side: str) -> list[float]:
    """Ours over `side`, round by round."""
    rates = result["rates"]
    return [a / b for a, b in zip(rates.get("ours", []), rates.get(side, []), strict=False)]


def agrees(workload: Workload, result: dict[str, Any]) -> bool:
    """Whether all sides did the same work."""
    checks = list(result["checks"].values())
    return all(abs(c - checks[0]) <= workload.tolerance * max(1.0, abs(checks[0])) for c in checks)


def row(workload: Workload, result: dict[str, Any]) -> list[str]:
    """A line of the table."""

    def rate(side: str) -> str:
        rates = result["rates"].get(side)
        if not rates:
            return "–"
        median = statistics.median(rates)
        return f"{1 / median:.3f}" if workload.wall else f"{median:,.0f}"

    peer = [] if workload.wall else ratios(result, "peer")
    floor = [] if workload.wall else ratios(result, "floor")
    return [
        workload.name,
        workload.unit if workload.wall else f"{workload.unit}/s",
        rate("ours"),
        rate("peer"),
        f"{statistics.median(peer):.2f} ({min(peer):.2f}–{max(peer):.2f})" if peer else "–",
        f"{'< ' if workload.wall else ''}{workload.target:g}",
        rate("floor"),
        f"{statistics.median(floor):.2f}" if floor else "–",
    ]


HEADER = ["workload", "unit", "ours", "peer", "ours / peer", "target", "floor", "ours / floor"]


def table(rows: list[list[str]]) -> str:
    """Markdown, aligned."""
    widths = [max(len(r[i]) for r in [HEADER, *rows]) for i in range(len(HEADER))]
    lines = [HEADER, ["-" * w for w in widths], *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def main() -> None:
    """Parse the command line, measure, print."""
    known = all_workloads()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"default: all of {', '.join(known)}")
    parser.add_argument("--peer-python", help="the Python of an environment with the peer")
    parser.add_argument("--make-peer", type=Path, metavar="DIR", help="create that environment in DIR, then use it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write every round to this file, as it goes")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the harness itself")
    args = parser.parse_args()
    if unknown := set(args.workloads) - set(known):
        parser.error(f"unknown workload {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    peer = str(make_peer(args.make_peer)) if args.make_peer else args.peer_python
    pythons = ({"peer": peer} if peer else {}) | {"ours": sys.executable, "floor": sys.executable}

    results, rows, notes = {}, [], []
    for name in args.workloads or known:
        start = time.monotonic()
        results[name] = result = measure(known[name], pythons, args.rounds, args.tiny)
        rows.append(row(known[name], result))
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        notes += [f"{name}, {side}: {text.strip().splitlines()[-1]}" for side, text in result["errors"].items()]
        if not agrees(known[name], result):
            notes.append(f"{name}: the sides disagree: {result['checks']}")
    print(table(rows))
    print(f"\nMedian of {args.rounds} rounds (least–most); torch {version('torch')}, one thread, CPU time.")
    for note in notes:
        print(f"\n{note}")


if __name__ == "__main__":
    main()
