"""Files on the command line: inspected, converted, and used as demonstrations."""

import os
import pathlib
import pickle

import gymnasium as gym
import numpy as np
import pytest

from imitation_lab import experts
from imitation_lab.data import huggingface_utils, minari_io, serialize
from imitation_lab.scripts import console, train_imitation
from imitation_lab.util import logger


class Evil:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch it-ran",)


@pytest.fixture
def demonstrations():
    return experts.load_demonstrations("CartPole", n=3)


def write_npz(path, trajectories, infos):
    """The format that the field's libraries wrote."""
    np.savez(
        path,
        obs=np.concatenate([trajectory.obs for trajectory in trajectories]),
        acts=np.concatenate([trajectory.acts for trajectory in trajectories]),
        infos=infos,
        terminal=np.array([trajectory.terminal for trajectory in trajectories]),
        rews=np.concatenate([trajectory.rews for trajectory in trajectories]),
        indices=np.cumsum([len(trajectory) for trajectory in trajectories])[:-1],
    )


def same(path, trajectories):
    found = serialize.load_with_rewards(path)
    assert len(found) == len(trajectories)
    for ours, theirs in zip(found, trajectories, strict=True):
        for name in ("obs", "acts", "rews"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert ours.terminal == theirs.terminal


def test_every_format_converts(demonstrations, capsys):
    serialize.save("own.safetensors", demonstrations)
    write_npz("field.npz", demonstrations, np.array([{"a": 1}] * 1500, dtype=object))
    huggingface_utils.trajectories_to_dataset(demonstrations).save_to_disk("folder")
    for source, words in (("own.safetensors", ["--output", "new.safetensors"]), ("field.npz", []), ("folder", [])):
        assert console.main(["convert", source, *words]) == 0, capsys.readouterr().err
        told = capsys.readouterr()
        target = told.out.split(" -> ")[1].strip()
        same(target, demonstrations)
        assert pathlib.Path(target).suffix == ".safetensors"
        assert ("infos as a pickle" in told.err) == (source == "field.npz")
    before = pathlib.Path("field.safetensors").read_bytes()
    assert console.main(["convert", "field.npz"]) == 2  # is not written over
    assert "field.safetensors exists already: give another --output" in capsys.readouterr().err
    assert pathlib.Path("field.safetensors").read_bytes() == before
    assert console.main(["convert", "field.npz", "folder", "--output", "x.safetensors"]) == 2
    assert "--output names one file, but 2 paths are given" in capsys.readouterr().err


def test_files_that_would_run_code_are_refused(demonstrations, capsys):
    pathlib.Path("evil.pkl").write_bytes(pickle.dumps(Evil()))
    write_npz("infos.npz", demonstrations, np.array([Evil()] * 1500, dtype=object))
    np.savez("obs.npz", obs=np.array([Evil()] * 4, dtype=object), acts=np.zeros(3), terminal=[True], indices=[])
    np.save("evil.npy", np.array([Evil()], dtype=object))
    for name in ("evil.pkl", "obs.npz", "evil.npy"):
        assert console.main(["convert", name]) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: "), told
        assert "Traceback" not in told
    assert console.main(["convert", "infos.npz"]) == 0
    same("infos.safetensors", demonstrations)
    for name in ("evil.pkl", "obs.npz", "infos.npz"):
        console.main(["inspect", name])
    assert not pathlib.Path("it-ran").exists()


def test_every_kind_of_file_can_be_inspected(demonstrations, rng, capsys):
    from stable_baselines3 import PPO

    from imitation_lab.algorithms import preference_comparisons as pc
    from imitation_lab.algorithms.checkpoint import State
    from imitation_lab.policies.base import RandomPolicy
    from imitation_lab.policies.native import save_policy
    from imitation_lab.policies.serialize import save_stable_model
    from imitation_lab.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet
    from imitation_lab.rewards.serialize import save_reward
    from imitation_lab.util.networks import RunningNorm

    env = gym.make("CartPole-v1")
    spaces = env.observation_space, env.action_space
    save_policy(RandomPolicy(*spaces), "policy.safetensors")
    save_reward(NormalizedRewardNet(BasicRewardNet(*spaces), RunningNorm), "reward.safetensors")
    serialize.save("trajectories.safetensors", demonstrations)
    State({"a": {"b": 1}}, {"c/d": np.zeros((2, 3))}).write("checkpoint.safetensors", 1)
    dataset = pc.PreferenceDataset()
    quiet = logger.configure("log", [])
    fragment = pc.RandomFragmenter(rng, warning_threshold=0, custom_logger=quiet)
    fragments = fragment(demonstrations, fragment_length=10, num_pairs=4)
    dataset.push(fragments, pc.SyntheticGatherer(rng=rng, custom_logger=quiet)(fragments))
    dataset.save("preferences.safetensors")
    save_stable_model("model", PPO("MlpPolicy", env, n_steps=8, batch_size=8))
    write_npz("old.npz", demonstrations, np.array([]))
    huggingface_utils.trajectories_to_dataset(demonstrations).save_to_disk("folder")
    for name, text in (("log.txt", "loss 1"), ("table.csv", "a,b\n1,2\n"), ("card.json", '{"x": {"y": 3}}')):
        pathlib.Path(name).write_text(text)
    for name in ("video.gif", "events.out.tfevents.1.x.0"):
        pathlib.Path(name).write_bytes(b"GIF89a")
    told = {
        "policy.safetensors": ("policy, native format version", "RandomPolicy"),
        "reward.safetensors": ("NormalizedRewardNet", "BasicRewardNet"),
        "trajectories.safetensors": ("trajectories, native format version", "obs  float32 [1503, 4]"),
        "checkpoint.safetensors": ("checkpoint, native format version 1", "c/d  float64 [2, 3]", "a.b = 1"),
        "preferences.safetensors": ("preferences, native format version", "tensors:"),
        "model/model.zip": ("model of Stable-Baselines3", "ActorCriticPolicy", "n_steps = 8"),
        "old.npz": ("NumPy archive", "obs  float32 [1503, 4]"),
        "folder": ("folder with 3 files", "dataset_info.json"),
        "log.txt": ("text, 6 bytes",),
        "table.csv": ("table of 1 rows", "b = '2'"),
        "card.json": ("x.y = 3",),
        "video.gif": ("video, 6 bytes",),
        "events.out.tfevents.1.x.0": ("tensorboard --logdir .",),
    }
    for name, texts in told.items():
        assert console.main(["inspect", name]) == 0, (name, capsys.readouterr().err)
        shown = capsys.readouterr().out
        for text in texts:
            assert text in shown, (name, shown)


def test_damaged_files_are_told_in_short(demonstrations, capsys):
    serialize.save("whole.safetensors", demonstrations)
    whole = pathlib.Path("whole.safetensors").read_bytes()
    pathlib.Path("cut.safetensors").write_bytes(whole[:-9])
    pathlib.Path("changed.safetensors").write_bytes(whole[:-9] + b"x" + whole[-8:])
    pathlib.Path("strange.bin").write_bytes(b"what is this")
    for name in ("cut.safetensors", "changed.safetensors", "strange.bin"):
        for command in ("inspect", "convert"):
            assert console.main([command, name]) == 2
            told = capsys.readouterr().err
            assert name in told
            assert "Traceback" not in told


def bc(*names, **updates):
    return train_imitation.train_imitation_ex.run(
        "bc", updates, ["cartpole", "fast", "logging.quiet", *names], options={"--loglevel": "ERROR"}
    ).result


@pytest.mark.filterwarnings(r"ignore:(`\w+` is set to None|env_spec is None):UserWarning")
def test_demonstrations_from_minari_and_from_a_folder_of_hugging_face(demonstrations, monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    (tmp_path / "minari").mkdir()
    minari_io.to_minari(demonstrations, "lab/cartpole-v0", env="CartPole-v1")
    huggingface_utils.trajectories_to_dataset(demonstrations).save_to_disk("folder")
    serialize.save("file.safetensors", demonstrations)
    sources = {"minari": "lab/cartpole-v0", "huggingface": "folder", "local": "file.safetensors"}
    found = [
        bc(demonstrations={"source": source, "path": path, "n_expert_demos": 2}, seed=0)
        for source, path in sources.items()
    ]
    assert found[0] == found[1] == found[2]
    assert (found[0]["expert_stats"]["n_traj"], found[0]["expert_stats"]["return_mean"]) == (2, 500)
    for source in ("minari", "huggingface"):
        with pytest.raises(FileNotFoundError, match="lab/none-v0|no such folder"):
            bc(demonstrations={"source": source, "path": "./lab/none-v0"})
    with pytest.raises(ValueError, match="n_expert_demos=4, but lab/cartpole-v0 has 3 episodes"):
        bc(demonstrations={"source": "minari", "path": "lab/cartpole-v0", "n_expert_demos": 4})
