"""Importing the package in a new interpreter, wall-clock; the floor is an interpreter that imports nothing."""

import subprocess
import sys

from workloads import Task, Workload


def _start(code: str) -> Task:
    def run() -> int:
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        return 1

    return Task(run, lambda: 0.0)


def library(package: str) -> Task:
    return _start(f"import {package}")


def floor() -> Task:
    return _start("pass")


WORKLOADS = [Workload("import", "s each", 0.3, {}, {}, library, floor, wall=True)]
