"""The console script `imitation-lab`: the door behind which each command's module loads when it is called."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Sequence
from typing import Any

from imitation_lab import __version__
from imitation_lab.algorithms import plugins
from imitation_lab.scripts import _console, _schema

__all__ = ["TRAIN", "main"]

_COMMANDS = {
    "quickstart": ("quickstart", "clone an expert from its demonstrations (about a minute)"),
    "lab": ("lab", "open the tutorials in JupyterLab"),
    "train bc with cartpole": ("", "train by any algorithm; results land in output/"),
    "eval with cartpole": ("eval_policy", "evaluate a policy: statistics, videos, saved episodes"),
    "compare": ("compare", "every algorithm on one task, over seeds"),
    "analyze": ("analyze", "tables of what was trained"),
    "parallel with bc_seeds": ("parallel", "sweeps on Ray"),
    "tune with bc": ("tuning", "tuning on Ray"),
    "convert old.npz": ("convert_trajs", "old trajectory files to the native format"),
    "port script.py": ("port", "a script or notebook written for imitation to this library"),
    "inspect output": ("inspecting", "what a file or folder holds"),
    "experts": ("experts", "the bundled experts"),
    "doctor": ("doctor", "versions, GPU, optional parts, a self-test"),
    "classroom new spring": ("classroom", "hand out and grade assignments"),
}
"""Calls, whose first words are the commands; the module of each, and what it does.

A module has an experiment, or `run`, which takes the arguments and how the user calls it.
"""
_MODULES = {call.split()[0]: module for call, (module, _) in _COMMANDS.items()}
_LISTED = "\n".join(f"  imitation-lab {call:<31}{doc}" for call, (_, doc) in _COMMANDS.items())
_DESCRIPTION = f"""\
Imitation learning and reward learning: the library's command line.

{_LISTED}

Each has more to say: imitation-lab COMMAND --help.
"""

TRAIN = {
    "rl": ("train_rl", "train_rl"),
    "bc": ("train_imitation", "bc"),
    "dagger": ("train_imitation", "dagger"),
    "sqil": ("train_imitation", "sqil"),
    "gail": ("train_adversarial", "gail"),
    "airl": ("train_adversarial", "airl"),
    "preferences": ("train_preference_comparisons", "train_preference_comparisons"),
    "density": ("train_density", "train_density"),
    "mce_irl": ("train_mce_irl", "train_mce_irl"),
}
"""Our algorithms: module and command; those of other packages all have one module."""

_TRAIN_HELP = """\
usage: imitation-lab train ALGORITHM [with NAME... KEY=VALUE...] [options]

algorithms: {}

examples: imitation-lab train bc with cartpole
          imitation-lab train gail with fixed_cartpole seed=1 checkpoint_interval=10
          imitation-lab train bc print_config with cartpole     (lists and explains every value)
          imitation-lab train bc --help                         (lists the named configurations)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name.

    Returns:
        The exit status: 0 for success, 2 for a user's mistake, which is told in a short message on stderr.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    if not given or given[0] not in _MODULES:
        parser = _console.parser("imitation-lab", _DESCRIPTION)
        parser.add_argument("--version", action="version", version=f"imitation_lab {__version__}")
        parser.add_argument("command", metavar="COMMAND", choices=_MODULES)
        parser.parse_args(given)  # exits
    name, *rest = given
    return _console.guarded(lambda: _train(rest) if name == "train" else _command(name, rest), debug)


def _train(argv: list[str]) -> int:
    """`imitation-lab train ALGORITHM …`."""
    names = [*TRAIN, *plugins.available()]
    if not argv or argv[0] in ("-h", "--help"):
        print(_TRAIN_HELP.format(", ".join(names)))
        return 0 if argv else 2
    name, *rest = argv
    if name not in names:
        raise ValueError(f"there is no algorithm {name!r}. {_schema.nearest(name, names)}")
    module, command = TRAIN.get(name, ("train_plugin", name))
    if not rest or rest[0] == "with" or rest[0].startswith("-") or rest[0] in _console.UNOBSERVED:
        rest = [command, *rest]
    loaded = _load(module)
    experiment = _experiment(loaded) if name in TRAIN else loaded.experiment(name)
    return _console.execute(experiment, rest, f"imitation-lab train {name}")


def _command(name: str, argv: list[str]) -> int:
    program, loaded = f"imitation-lab {name}", _load(_MODULES[name])
    run = getattr(loaded, "run", None)
    return run(argv, program) if run else _console.execute(_experiment(loaded), argv, program)


def _load(module: str) -> types.ModuleType:
    return importlib.import_module(f"imitation_lab.scripts.{module}")


def _experiment(module: types.ModuleType) -> Any:
    return next(value for name, value in vars(module).items() if name.endswith("_ex"))


if __name__ == "__main__":
    sys.exit(main())
