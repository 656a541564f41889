"""The console script: the tutorials' copy, and short messages for a user's mistakes."""

import json
import pathlib
import tomllib

import pytest

from imitation_lab.scripts import console, tutorials


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A package that carries two tutorials."""
    source = tmp_path / "carried"
    (source / "assets").mkdir(parents=True)
    (source / "00_quickstart.ipynb").write_text("first")
    (source / "assets" / "x.json").write_text("{}")
    (source / "conftest.py").write_text("")
    monkeypatch.setattr(tutorials, "folder", lambda: source)
    return source


def test_copy_brings_everything_but_code(carried, tmp_path):
    written, kept = tutorials.copy_to(tmp_path / "here")
    assert sorted(map(str, written)) == ["00_quickstart.ipynb", "assets/x.json"]
    assert kept == []
    assert (tmp_path / "here/00_quickstart.ipynb").read_text() == "first"


def test_a_changed_file_is_never_overwritten_and_an_untouched_one_is_renewed(carried, tmp_path):
    here = tmp_path / "here"
    tutorials.copy_to(here)
    (here / "00_quickstart.ipynb").write_text("my notes")
    (carried / "00_quickstart.ipynb").write_text("second")
    (carried / "assets/x.json").write_text("[1]")
    for _ in range(2):  # also when run again
        _, kept = tutorials.copy_to(here)
        assert [str(name) for name in kept] == ["00_quickstart.ipynb"]
    assert (here / "00_quickstart.ipynb").read_text() == "my notes"
    assert (here / "assets/x.json").read_text() == "[1]"


def test_a_users_own_file_of_the_same_name_is_kept(carried, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "00_quickstart.ipynb").write_text("mine, from before")
    _, kept = tutorials.copy_to(here)
    assert [str(name) for name in kept] == ["00_quickstart.ipynb"]
    assert (here / "00_quickstart.ipynb").read_text() == "mine, from before"


def test_lab_copy_only_says_what_it_did(carried, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert console.main(["lab", "--copy-only"]) == 0
    assert "2 files written" in capsys.readouterr().out


def test_unknown_arguments_and_commands_exit_with_2(capsys):
    for arguments in (["quickstart", "--nonsense"], ["nonsense"], []):
        with pytest.raises(SystemExit) as stop:
            console.main(arguments)
        assert stop.value.code == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


def test_a_failing_notebook_is_told_in_short_and_kept(tmp_path, monkeypatch, capsys):
    import nbformat

    source = tmp_path / "broken"
    source.mkdir()
    cells = [nbformat.v4.new_code_cell("print('so far')"), nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), source / "00_quickstart.ipynb")
    monkeypatch.setattr(tutorials, "folder", lambda: source)
    assert console.main(["quickstart", "--output", str(tmp_path / "out")]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err
    executed = json.loads((tmp_path / "out/quickstart.ipynb").read_text())
    assert executed["cells"][0]["outputs"][0]["text"] == ["so far\n"]


def test_import_is_light():
    import subprocess
    import sys

    heavy = ("torch", "stable_baselines3", "matplotlib")
    code = f"import sys, imitation_lab; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_shows_an_example_of_every_command(capsys):
    for command in ("quickstart", "lab", "inspect", "experts", "doctor", "convert", "eval", "analyze"):
        try:
            status = console.main([command, "--help"])
        except SystemExit as stop:
            status = stop.code
        assert status == 0
        shown = capsys.readouterr().out
        assert "example" in shown, command
        assert f"imitation-lab {command}" in shown, command
    assert console.main(["train", "--help"]) == 0
    assert "imitation-lab train bc with cartpole" in capsys.readouterr().out


def test_train_and_eval_and_inspect(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["with", "fixed_cartpole", "fast", "logging.quiet", "seed=0", "-l", "ERROR"]
    assert console.main(["train", "bc", *words]) == 0
    shown = capsys.readouterr().out
    assert "imit_stats: n_traj" in shown
    (policy,) = tmp_path.glob("output/train_imitation/*/*/policies/final/policy.safetensors")
    given = ["expert.policy_type=ppo", f"expert.loader_kwargs.path={policy.parent}"]
    assert console.main(["eval", *words[:-2], *given, "-l", "ERROR"]) == 0
    assert "return_mean" in capsys.readouterr().out
    for path, text in (
        (policy, "policy, native format version 1"),
        (policy.parents[2], "folder with"),
        (policy.parents[2] / "sacred", "recorded run of train_imitation bc, COMPLETED"),
        (policy.parents[2] / "sacred/config.json", "environment.num_vec = 2"),
        (policy.parents[2] / "log/progress.csv", "table of"),
    ):
        assert console.main(["inspect", str(path)]) == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train", "gaill"], "there is no algorithm 'gaill'. Did you mean 'gail'"),
        (["train", "bc", "with", "cartpol"], "Did you mean 'cartpole'"),
        (
            ["train", "bc", "with", "bc.batchsize=3"],
            "no configuration key 'bc.batchsize'. Did you mean 'bc.batch_size'",
        ),
        (["train", "bc", "cartpole"], "no command 'cartpole'"),
        (["train", "bc", "bc", "cartpole"], "expected `with` before 'cartpole'"),
        (["train", "bc", "with", "demonstrations.source=local", "demonstrations.path=missing", "-u"], "missing"),
        (["train", "bc", "with", "pendulum", "demonstrations.path=CartPole", "-u"], "expected (n, 3)"),
        (["inspect", "missing.safetensors"], "no such file or folder: missing.safetensors"),
        (["experts", "CartPol"], "Did you mean 'CartPole'"),
        (["convert", "missing.npz"], "missing.npz"),
    ],
)
def test_mistakes_are_told_in_short(words, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if words[0] == "train" and len(words) > 2 and "with" in words:
        words = [*words, "-l", "CRITICAL"]
    assert console.main(words) == 2
    told = capsys.readouterr().err
    assert text in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        console.main(["inspect", "missing", "--debug"])


def test_pickles_are_not_looked_into(tmp_path, capsys):
    import pickle

    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    assert console.main(["inspect", str(tmp_path / "x.pkl")]) == 2
    assert "runs code when it is opened" in capsys.readouterr().err


def test_inspect_reads_archives_and_models(tmp_path, capsys):
    import gymnasium as gym
    import numpy as np
    from stable_baselines3 import PPO

    np.savez(tmp_path / "a.npz", acts=np.zeros((3, 2), np.float32), infos=np.array([{}], dtype=object))
    assert console.main(["inspect", str(tmp_path / "a.npz")]) == 0
    shown = capsys.readouterr().out
    assert "acts  float32 [3, 2]" in shown
    assert "infos  object [1], pickled objects, which are not opened" in shown
    PPO("MlpPolicy", gym.make("CartPole-v1"), n_steps=8, batch_size=8).save(tmp_path / "model.zip")
    assert console.main(["inspect", str(tmp_path / "model.zip")]) == 0
    shown = capsys.readouterr().out
    assert "ActorCriticPolicy" in shown
    assert "n_steps = 8" in shown
    assert "policy.action_net.weight  float32 [2, 64]" in shown


def test_experts_and_conversion(tmp_path, monkeypatch, capsys):
    import numpy as np

    from imitation_lab.data import serialize

    monkeypatch.chdir(tmp_path)
    assert console.main(["experts"]) == 0
    assert "imitation_lab/CartPole-v0" in capsys.readouterr().out
    assert console.main(["experts", "Pendulum"]) == 0
    assert json.loads(capsys.readouterr().out)["environment"]["id"] == "Pendulum-v1"
    obs, acts = np.arange(4.0)[:, None], np.zeros(3, int)
    np.savez(
        "old.npz", obs=obs, acts=acts, indices=np.array([], int), terminal=np.array([True]), infos=np.array([{}] * 3)
    )
    status = console.main(["convert", "old.npz"])
    told = capsys.readouterr()
    if status == 0:
        assert len(serialize.load("old.safetensors")) == 1
    else:  # infos are pickled objects
        assert "pickle" in told.err


def test_doctor_tells_of_every_extra(capsys):
    project = tomllib.loads((pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert console.main(["doctor", "--no-test"]) == 0
    shown = capsys.readouterr().out.partition("optional parts:")[2]
    told = [line.split()[0] for line in shown.splitlines() if line.startswith("  ")]
    assert set(told) == set(project["optional-dependencies"]) - {"docs", "dev"}


@pytest.mark.slow
def test_doctor(capsys):
    assert console.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "optional parts:" in shown
    assert "works" in shown
