"""Training in pieces, between which everything is saved, and going on from there."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from imitation_lab.algorithms.checkpoint import rollout_steps, schedules_over, whole_steps
from imitation_lab.scripts import _values
from imitation_lab.scripts.output import CHECKPOINT_FILE

_PROGRESS_FILE = "progress.json"


def checkpoint(path: str | None) -> pathlib.Path | None:
    """The checkpoint's file, if a path is the folder of one."""
    file = pathlib.Path(path or "") / CHECKPOINT_FILE
    return file if path is not None and file.is_file() else None


def check(path: str | None, file: str = CHECKPOINT_FILE, where: str = "a folder below checkpoints/ of a run") -> None:
    """Checks what a user gives to resume.

    Args:
        path: a folder, or None.
        file: which it must hold.
        where: such folders are.

    Raises:
        FileNotFoundError: if a path is given that is no checkpoint.
    """
    if path is not None and not (pathlib.Path(path) / file).is_file():
        raise FileNotFoundError(
            f"there is no {file} in agent_path={path!r}: give {where} that had checkpoint_interval=1, say."
        )


def learn(
    algorithm: BaseAlgorithm, total: int, interval: int, go_on: Callable[[int], Any], save: Callable[[str], Any]
) -> None:
    """Learns until the algorithm has made `total` steps in the environments; an interrupt ends it.

    Args:
        algorithm: which counts its steps, those of an earlier run included.
        total: steps, at least those of a rollout.
        interval: steps between two calls of `save`; 0 makes none.
        go_on: learns for so many steps.
        save: saves under a name; the environments begin anew then, as they do in a run that goes on from there.
    """
    whole_steps(algorithm, "total_timesteps", total)
    while (before := algorithm.num_timesteps) < total:
        steps = max(min(total - before, interval or total), rollout_steps(algorithm))
        with schedules_over(algorithm, 0, total):  # not over each piece
            go_on(steps)
        if algorithm.num_timesteps - before < steps:
            return
        if interval:
            save(f"{algorithm.num_timesteps:012d}")


def write_progress(folder: pathlib.Path, done: int) -> None:
    """Notes beside a checkpoint how much has been done, where the checkpoint does not know."""
    _values.write_json(folder / _PROGRESS_FILE, {"done": done})


def read_progress(folder: str) -> int:
    """What `write_progress` noted.

    Raises:
        ValueError: if it is damaged or missing.
    """
    file = pathlib.Path(folder) / _PROGRESS_FILE
    try:
        return int(json.loads(file.read_text(encoding="utf-8"))["done"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} does not tell how far the run came: {error!r}.") from None
