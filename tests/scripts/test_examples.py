"""The documented examples: all of them run, but for settings that make them small."""

import contextlib
import importlib
import io
import os
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest

from imitation_lab import experts
from imitation_lab.scripts import _console, console

ROOT = pathlib.Path(__file__).parents[2]
MODULES = sorted(
    path.stem
    for path in (ROOT / "imitation_lab/scripts").glob("[a-z]*.py")
    if "python -m imitation_lab" in path.read_text()
)
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [[], ["train"], *(["train", name] for name in console.TRAIN)]
COMMANDS += [[name] for name in ("eval", "analyze", "parallel", "tune", "convert", "inspect", "experts")]
ELSEWHERE = ("quickstart", "lab", "doctor", "classroom", "compare")
"""These have tests of their own."""

LINE = re.compile(
    r"^ *(?:examples?: +)?((?:python -m imitation_lab\.scripts\.\w+|imitation-lab)(?: .*)?)$", re.MULTILINE
)
FAST = {
    "train": ["fast"],
    "eval": ["fast", "eval_n_timesteps=100"],
    "tun": [
        "base_named_configs=['fast']",
        "num_samples=2",
        "num_eval_seeds=1",
    ],
    "parallel": ["base_named_configs=['fast']", "repeat=2"],
}
"""Words to add, by the beginning of a script's name."""
SMALLER = [
    (r"dagger.total_timesteps=.*", "dagger.total_timesteps=60"),
    (r"eval_n_episodes=.*", "eval_n_episodes=2"),
    (r"policy_save_interval=.*", "policy_save_interval=32"),
    (r"(.*/policies/)\d+", r"\g<1>000000000032"),
    (r"checkpoint_interval=.*", "checkpoint_interval=1"),
    (r"(.*/checkpoints/)\d+", r"\g<1>00001"),
]
"""Words to replace: a small run has no hundredth round."""


def examples(text):
    """The command lines in a text, without the remarks behind them; a backslash joins lines."""
    joined = re.sub(r"\\\n *", "", text)
    return [re.split(r"  +| #", match[1])[0].strip() for match in LINE.finditer(joined)]


def source(name):
    """A docstring, a page or a help text."""
    if name in MODULES:
        return importlib.import_module(f"imitation_lab.scripts.{name}").__doc__
    if name in PAGES:
        return (ROOT / name).read_text()
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        assert console.main([*name.split()[1:], "--help"]) == 0
    return shown.getvalue()


def small(name, words):
    """The words of an example with settings that make it small."""
    added = next((added for start, added in FAST.items() if name.startswith(start)), [])
    if not added or "--help" in words or "print_config" in words:
        return words
    for pattern, replacement in SMALLER:
        words = [re.sub(pattern, replacement, word) if re.fullmatch(pattern, word) else word for word in words]
    return [*words, *([] if "with" in words else ["with"]), *added]


def run(command):
    """Runs a command line in this process; gives the exit status."""
    program, *words = shlex.split(os.path.expandvars(command))
    if program == "imitation-lab":
        return console.main(small(words[0], words))
    name = words[1].rpartition(".")[2]
    module = importlib.import_module(words[1])
    if hasattr(module, "run"):
        return module.run(words[2:])
    (experiment,) = {id(value): value for key, value in vars(module).items() if key.endswith("_ex")}.values()
    return _console.run(experiment, small(name, words[2:]))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with what the examples read: trajectory files, scripts, and records of runs."""
    from imitation_lab.data import huggingface_utils

    folder = tmp_path_factory.mktemp("prepared")
    trajectories = experts.load_demonstrations("CartPole", n=2)
    huggingface_utils.trajectories_to_dataset(trajectories).save_to_disk(folder / "huggingface_folder")
    for name in ("old", "more"):
        np.savez(
            folder / f"{name}.npz",
            obs=np.concatenate([trajectory.obs for trajectory in trajectories]),
            acts=np.concatenate([trajectory.acts for trajectory in trajectories]),
            infos=np.array([{}] * sum(map(len, trajectories)), dtype=object),
            terminal=np.array([trajectory.terminal for trajectory in trajectories]),
            rews=np.concatenate([trajectory.rews for trajectory in trajectories]),
            indices=np.cumsum([len(trajectory) for trajectory in trajectories])[:-1],
        )
    (folder / "script.py").write_text("from imitation.algorithms import bc\n")
    (folder / "notebook.ipynb").write_text('{"cells": []}')
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        assert run("imitation-lab train bc with cartpole") == 0
    finally:
        os.chdir(before)
    (config,) = folder.glob("output/sacred/*/1/config.json")
    shutil.copy(config, folder / "my.json")
    return folder


@pytest.mark.parametrize("name", [*MODULES, *PAGES, *(" ".join(["imitation-lab", *words]) for words in COMMANDS)])
def test_documented_examples_run(name, prepared, tmp_path, monkeypatch, without_ray, capsys):
    shutil.copytree(prepared, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PWD", str(tmp_path / "work"))
    found = examples(source(name))
    assert found or name in PAGES, "no example"
    for command in found:
        words = command.split()
        if {*words[1:2]} & {*ELSEWHERE} or {"FILE", "huber"} & {*words} or "usage:" in command:
            continue
        with contextlib.suppress(SystemExit):  # of --help
            assert run(command) == 0, f"{command}\n{capsys.readouterr().err}"
