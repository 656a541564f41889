"""Where a run's files go: `output/<script>/<environment>/<timestamp>/{log,monitor,policies,reward,…}`."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy

from imitation_lab.policies import native
from imitation_lab.rewards.reward_nets import RewardNet
from imitation_lab.rewards.serialize import save_reward
from imitation_lab.util import sacred, util
from imitation_lab.util.logger import HierarchicalLogger

__all__ = ["POLICY_FILE", "CHECKPOINT_FILE", "recording", "Output", "streams", "make_folder", "one_thread"]

POLICY_FILE = "policy.safetensors"
CHECKPOINT_FILE = "checkpoint.safetensors"

_run: contextvars.ContextVar[Any] = contextvars.ContextVar("_run", default=None)


@contextlib.contextmanager
def recording(run: Any) -> Iterator[None]:
    """Lets the folders made inside know the Sacred run that they belong to."""
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder of one run, and its logger, which the end of a `with` closes.

    Attributes:
        folder: of the run.
        logger: writes to `folder/log`.
    """

    folder: pathlib.Path
    logger: HierarchicalLogger

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *error: object) -> None:
        self.logger.close()

    def __truediv__(self, name: str) -> pathlib.Path:
        return self.folder / name

    def save_policy(self, policy: BasePolicy, name: str = "final") -> None:
        """Writes a policy to `policies/<name>`."""
        native.save_policy(policy, self.folder / "policies" / name / POLICY_FILE)

    def save_checkpoint(self, trainer: Any, name: str) -> None:
        """Saves a trainer in `checkpoints/<name>`, and its policy."""
        trainer.save(self.folder / "checkpoints" / name)
        self.save_policy(trainer.policy, name)

    def save_reward(self, net: RewardNet, name: str) -> None:
        """Writes a reward network to `reward/<name>.safetensors`."""
        save_reward(net, self.folder / "reward" / f"{name}.safetensors")


def streams(seed: int | None) -> tuple[np.random.Generator, np.random.Generator]:
    """Two sources of randomness: for training, and for evaluation, which then is the same after a resumed training."""
    first, second = np.random.SeedSequence(seed).spawn(2)
    return np.random.default_rng(first), np.random.default_rng(second)


def make_folder(script: str, subject: str, log_root: str | None, log_dir: str | None) -> pathlib.Path:
    """Makes a run's folder, with a link `sacred` to what Sacred records.

    Args:
        script: name of the script.
        subject: what it is about, such as the environment's id.
        log_root: in place of `output/<script>`.
        log_dir: the folder itself, in place of all this.
    """
    if log_dir is not None:
        folder = util.parse_path(log_dir)
    else:
        root = util.parse_path(log_root) if log_root is not None else pathlib.Path.cwd() / "output" / script
        folder = root / re.sub(r"[^\w.-]+", "_", subject) / util.make_unique_timestamp()
    folder.mkdir(parents=True, exist_ok=True)
    run = _run.get()
    if run is not None:
        run.info["log_dir"] = str(folder)
        if sacred.get_sacred_dir_from_run(run) is not None:
            sacred.build_sacred_symlink(folder, run)
    return folder


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, unless OMP_NUM_THREADS says otherwise.

    Small networks are faster so, and the number of threads changes results.
    """
    before = th.get_num_threads()
    th.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    try:
        yield
    finally:
        th.set_num_threads(before)
