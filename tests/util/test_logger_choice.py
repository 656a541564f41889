"""One argument chooses where metrics go, in every algorithm; Weights & Biases with its real package, offline."""

import json
import pathlib
import tempfile

import gymnasium as gym
import matplotlib.figure
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common import logger as sb_logger
from stable_baselines3.common.vec_env import DummyVecEnv

from imitation_lab.algorithms import bc, density
from imitation_lab.algorithms.adversarial import airl, gail
from imitation_lab.algorithms.preference_comparisons import RandomFragmenter, TrajectoryDataset
from imitation_lab.data import types
from imitation_lab.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet
from imitation_lab.util import logger as lab_logger

SPACES = {"observation_space": spaces.Box(-1, 1, (3,)), "action_space": spaces.Discrete(2)}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wandb(monkeypatch, tmp_path):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    yield wandb
    wandb.finish()


def train(log):
    rng = np.random.default_rng(0)
    obs = rng.uniform(-1, 1, (65, 3)).astype(np.float32)
    made = [types.Trajectory(obs, rng.integers(0, 2, 64), None, True)]
    trainer = bc.BC(**SPACES, rng=rng, demonstrations=made, custom_logger=log)
    trainer.train(n_epochs=2, log_interval=1, progress_bar=False)
    trainer.logger.close()
    return pathlib.Path(trainer.logger.get_dir())


@pytest.mark.parametrize(
    ("log", "files"),
    [
        ("csv", {"progress.csv"}),
        ("json", {"progress.json"}),
        (["csv", "json"], {"progress.csv", "progress.json"}),
        ([], set()),
        ("stdout", set()),
    ],
)
def test_formats_by_name(log, files, folders):
    folder = train(log)
    assert folder.parent == folders
    assert {path.name for path in folder.iterdir()} == files
    if "json" in log:
        lines = [json.loads(line) for line in (folder / "progress.json").read_text().splitlines()]
        assert [line["bc/batch"] for line in lines] == [0, 1, 2, 3]


def test_tensorboard_by_name():
    (events,) = train("tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents")


def test_configure_takes_one_name(tmp_path):
    logger = lab_logger.configure(tmp_path / "x", "csv")
    logger.record("a", 1)
    logger.dump()
    logger.close()
    assert (tmp_path / "x" / "progress.csv").read_text() == "a\n1\n"
    assert logger.format_strs == ("csv",)
    assert lab_logger.as_logger(logger) is logger


def test_bad_choices():
    own = sb_logger.Logger(None, [])
    assert lab_logger.as_logger(own) is own
    with pytest.raises(ValueError, match="Unknown log format 'cvs'; expected one of stdout, log, csv"):
        lab_logger.as_logger("cvs")
    for bad in (3, [1]):
        with pytest.raises(
            TypeError, match="expected a HierarchicalLogger, as .*, or one or more of the formats stdout"
        ):
            lab_logger.as_logger(bad)


def test_every_algorithm_takes_a_name():
    venv = DummyVecEnv([lambda: gym.make("CartPole-v1")])
    own = {"observation_space": venv.observation_space, "action_space": venv.action_space}
    rng = np.random.default_rng(0)
    made = [types.TrajectoryWithRew(np.zeros((9, 4), np.float32), np.zeros(8, int), None, True, np.zeros(8))]
    common = {"demonstrations": made, "demo_batch_size": 4, "venv": venv, "custom_logger": "json"}
    learner = lambda: PPO("MlpPolicy", venv, n_steps=8, batch_size=8, device="cpu")
    trainers = [
        gail.GAIL(reward_net=BasicRewardNet(**own), gen_algo=learner(), **common),
        airl.AIRL(reward_net=BasicShapedRewardNet(**own), gen_algo=learner(), **common),
        bc.BC(**own, rng=rng, demonstrations=made, batch_size=4, custom_logger="json"),
        density.DensityAlgorithm(demonstrations=made, venv=venv, rng=rng, custom_logger="json"),
        RandomFragmenter(rng, custom_logger="json"),
        TrajectoryDataset(made, rng, custom_logger="json"),
    ]
    for trainer in trainers:
        assert trainer.logger.format_strs == ("json",)
        trainer.logger.close()


# Weights & Biases


def test_wandb_by_name(wandb):
    folder = train("wandb")
    assert len(list((folder / "wandb").glob("offline-run-*/run-*.wandb"))) == 1
    assert wandb.run is None  # ended with the logger


def test_wandb_logs_into_the_run_that_is_active(wandb, tmp_path):
    run = wandb.init(project="mine", dir=tmp_path)
    logger = lab_logger.configure(tmp_path, "wandb")
    assert wandb.run is run
    logger.record("number", th.tensor(1.5))
    logger.record("text", "abc")
    logger.record("hidden", 1.0, exclude="wandb")
    logger.record("figure", sb_logger.Figure(matplotlib.figure.Figure(), close=True))
    logger.record("settings", sb_logger.HParam({"a": 1}, {"b": 0.0}))
    with logger.accumulate_means("gen"):
        logger.record("x", 2.25)
        logger.dump(1)
    logger.dump(7)
    logger.close()
    wandb.teardown()  # its writer is a process of its own
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for key, value in (
        ("number", "1.5"),
        ("text", '"abc"'),
        ("mean/gen/x", "2.25"),
        ("figure", "image-file"),
    ):
        assert key.encode() in content
        assert value.encode() in content
    assert len(list((tmp_path / "wandb").rglob("figure*.png"))) == 1
    assert b"hidden" not in content
    assert b"settings" not in content.replace(b"_settings", b"")


def test_wandb_without_an_account(wandb, monkeypatch, tmp_path):
    def init(**kwargs):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(
        RuntimeError, match="starts no run: No API key configured. Log in by `wandb login`, or set WANDB"
    ):
        lab_logger.configure(tmp_path, "wandb")
