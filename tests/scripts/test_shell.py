"""In a real shell: demonstrations from a hub."""

import os
import subprocess
import sys

from imitation_lab import experts
from imitation_lab.data import huggingface_utils


def test_demonstrations_from_the_hub(hub_server, tmp_path):
    """In processes that know the hub from their start."""
    huggingface_utils.trajectories_to_dataset(experts.load_demonstrations("CartPole", n=3)).to_parquet(
        tmp_path / "x.parquet"
    )
    files = {"data/train-00000-of-00001.parquet": (tmp_path / "x.parquet").read_bytes()}
    hub_server.add("me/ppo-CartPole-v1", files, "datasets")
    words = [
        "bc",
        "with",
        "cartpole",
        "fast",
        "logging.quiet",
        "demonstrations.source=huggingface",
        "-u",
        "-l",
        "ERROR",
    ]
    env = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "imitation_lab.scripts.train_imitation", *words, f"demonstrations.{key}={owner}"],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for key, owner in (("organization", "me"), ("organization", "nobody"))
    ]  # fmt: skip
    (out, err), (_, wrong) = (process.communicate(timeout=900) for process in runs)
    assert [process.returncode for process in runs] == [0, 2], (err, wrong)
    assert "expert_stats: n_traj 1, return_mean 500" in out
    assert "cannot open the data set 'nobody/ppo-CartPole-v1'" in wrong
    assert "Traceback" not in wrong
