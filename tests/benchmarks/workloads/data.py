"""The synthetic demonstrations that several workloads share."""

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from workloads import part

OBS, ACTS = 17, 6
OBS_SPACE = gym.spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
ACT_SPACE = gym.spaces.Box(-1.0, 1.0, (ACTS,), np.float32)


def arrays(n: int) -> dict[str, np.ndarray]:
    """Observations and actions of a noisy linear expert; `n` transitions in episodes of 200 steps."""
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((n, OBS), dtype=np.float32)
    weights = rng.standard_normal((OBS, ACTS), dtype=np.float32) / np.float32(OBS**0.5)
    acts = np.clip(0.3 * obs @ weights + 0.1 * rng.standard_normal((n, ACTS), dtype=np.float32), -1, 1)
    dones = np.arange(1, n + 1) % 200 == 0
    return {"obs": obs, "acts": acts.astype(np.float32), "next_obs": np.roll(obs, -1, axis=0), "dones": dones}


def transitions(package: str, n: int) -> Any:
    """The same as the library's `Transitions`."""
    return part(package, "data.types").Transitions(infos=np.array([{}] * n), **arrays(n))


def scratch() -> Path:
    """A new folder that goes away with the process."""
    folder = tempfile.mkdtemp(prefix="benchmark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
