"""In a real shell: mistakes are told in short, with exit status 2 and no traceback; demonstrations from a hub."""

import json
import os
import subprocess
import sys

from imitation_lab import experts
from imitation_lab.data import huggingface_utils

PROGRAM = [sys.executable, "-m", "imitation_lab.scripts.console"]


def start(folder, *words, **environment):
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [*PROGRAM, *words], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_door_loads_neither_torch_nor_sacred(tmp_path):
    heavy = ("torch", "sacred", "stable_baselines3", "matplotlib")
    code = f"""
import contextlib, sys
from imitation_lab.scripts import console
with contextlib.suppress(SystemExit):
    console.main(sys.argv[1:])
print("loaded", [name for name in {heavy} if name in sys.modules])
"""
    for words in (["--version"], ["--help"], ["train", "--help"], ["train", "gaill"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("loaded []\n"), (words, done.stdout)


def test_mistakes_in_a_shell(tmp_path):
    run = tmp_path / "runs/1"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    (run / "run.json").write_text(json.dumps({"status": "COMPLETED"})[:-3])
    (tmp_path / "without").mkdir()
    (tmp_path / "without/ray.py").write_text("raise ImportError('no module named ray')")
    without_ray = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])}
    mistakes = [
        (["train", "bc", "with", "cartpoole"], {}, "'cartpoole': train_imitation has no named configuration"),
        (["train", "gail", "with", "total_timestep=3"], {}, "Did you mean 'total_timesteps'"),
        (
            ["eval", "with", "pendulum", "expert.loader_kwargs.name=CartPole"],
            {},
            "which does not fit that of Pendulum-v1",
        ),
        (
            ["train", "bc", "with", "cartpole", "demonstrations.source=local", "demonstrations.path=missing.npz"],
            {},
            "missing.npz",
        ),
        (["analyze", "with", "source_dirs=runs"], {}, "run.json is not valid JSON"),
        (["parallel", "with", "fast", "run_name=x"], without_ray, "pip install 'imitation-lab[parallel]'"),
        (["train", "bc", "with", "cartpoole", "--debug"], {}, "Traceback (most recent call last)"),
    ]
    running = [(start(tmp_path, *words, **env), words, text) for words, env, text in mistakes]
    for process, words, text in running:
        _, told = process.communicate(timeout=900)
        assert text in told, (words, told)
        if "--debug" not in words:
            assert process.returncode == 2, (words, told)
            assert "Traceback" not in told, words
            assert told.count("\n") <= 6, told


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
