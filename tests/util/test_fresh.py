"""Optional packages in interpreters that import nothing else: some load their submodules only when these are named."""

import os
import subprocess
import sys

import pytest

VIDEO = """
import gymnasium as gym
from imitation_lab.util.video_wrapper import VideoWrapper

env = VideoWrapper(gym.make("CartPole-v1", render_mode="rgb_array"), "videos", format="FORMAT")
env.reset(seed=0)
env.step(0)
env.close()
"""
CODE = {
    "imageio_ffmpeg": VIDEO.replace("FORMAT", "mp4"),
    "PIL": VIDEO.replace("FORMAT", "gif"),
    "wandb": """
from matplotlib.figure import Figure
from stable_baselines3.common import logger as sb_logger
from imitation_lab.util.logger import WandbOutputFormat

writer = WandbOutputFormat("runs")
writer.write({"a": 1.0, "b": sb_logger.Figure(Figure(), close=True)}, {"a": (), "b": ()}, 1)
writer.close()
""",
    "sacred": """
from types import SimpleNamespace
from imitation_lab.util.sacred import get_sacred_dir_from_run

assert get_sacred_dir_from_run(SimpleNamespace(observers=[])) is None
""",
    "mujoco": """
import gymnasium as gym
import imitation_lab

gym.make("imitation_lab/Hopper-v0").reset(seed=0)
""",
}


@pytest.mark.parametrize("package", CODE)
def test_package(package, tmp_path):
    pytest.importorskip(package)
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}
    run = [sys.executable, "-c", CODE[package]]
    done = subprocess.run(run, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
