"""The console script `imitation-lab`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from imitation_lab import __version__
from imitation_lab.scripts import _console, _schema, doctor, experts, inspecting, lab, quickstart

_DESCRIPTION = """\
Imitation learning and reward learning: the library's command line.

  imitation-lab quickstart                     clone an expert from its demonstrations (about a minute)
  imitation-lab lab                            open the tutorials in JupyterLab
  imitation-lab train bc with cartpole         train by any algorithm; results land in output/
  imitation-lab eval with cartpole             evaluate a policy: statistics, videos, saved episodes
  imitation-lab analyze                        tables of what was trained
  imitation-lab parallel with bc_seeds         sweeps on Ray
  imitation-lab tune with bc                   tuning on Ray
  imitation-lab convert old.npz                old trajectory files to the native format
  imitation-lab inspect output                 what a file or folder holds
  imitation-lab experts                        the bundled experts
  imitation-lab doctor                         versions, GPU, optional parts, a self-test
  imitation-lab classroom new spring           hand out and grade assignments
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
"""Algorithms: module and command."""

_EXPERIMENTS = {
    "eval": ("eval_policy", "eval_policy_ex"),
    "analyze": ("analyze", "analysis_ex"),
    "parallel": ("parallel", "parallel_ex"),
    "tune": ("tuning", "tuning_ex"),
}
_TRAIN_HELP = f"""\
usage: imitation-lab train ALGORITHM [with NAME... KEY=VALUE...] [options]

algorithms: {", ".join(TRAIN)}

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
    if given and given[0] in _FORWARDED:
        return _FORWARDED[given[0]](given[1:])
    parser = argparse.ArgumentParser(
        prog="imitation-lab", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"imitation_lab {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (quickstart, lab, inspecting, experts, doctor):
        module.add_parser(commands)
    for name in _FORWARDED:
        commands.add_parser(name, help=f"see imitation-lab {name} --help")
    debug = "--debug" in given
    arguments, unknown = parser.parse_known_args([word for word in given if word != "--debug"])
    if unknown and not arguments.passes_on:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    arguments.rest = unknown
    return _console.guarded(lambda _: arguments.run(arguments), debug)


def _train(argv: list[str]) -> int:
    """`imitation-lab train ALGORITHM …`."""
    if not argv or argv[0] in ("-h", "--help"):
        print(_TRAIN_HELP)
        return 0 if argv else 2
    if argv[0] not in TRAIN:
        print(f"error: there is no algorithm {argv[0]!r}. {_schema.nearest(argv[0], TRAIN)}", file=sys.stderr)
        return 2
    name, *rest = argv
    module, command = TRAIN[name]
    if not rest or rest[0] == "with" or rest[0].startswith("-") or rest[0] in _console.UNOBSERVED:
        rest = [command, *rest]
    return _run(module, f"{module}_ex", rest, f"imitation-lab train {name}")


def _forward(name: str) -> Callable[[list[str]], int]:
    module, attribute = _EXPERIMENTS[name]
    return lambda argv: _run(module, attribute, argv, f"imitation-lab {name}")


def _run(module: str, attribute: str, argv: list[str], program: str) -> int:
    def run(debug: bool) -> int:
        experiment = getattr(importlib.import_module(f"imitation_lab.scripts.{module}"), attribute)
        return _console.run(experiment, argv, program)

    return _console.guarded(run, "--debug" in argv)


def _convert(argv: list[str]) -> int:
    from imitation_lab.scripts import convert_trajs

    return convert_trajs.run(argv, "imitation-lab convert")


def _classroom(argv: list[str]) -> int:
    """Hands over to the classroom's own command line."""

    def run(debug: bool) -> int:
        try:
            command_line = importlib.import_module("imitation_lab.scripts.classroom")
        except ImportError as error:
            raise ImportError(
                f"the classroom is not installed ({error}); run: pip install 'imitation-lab[classroom]'"
            ) from error
        return int(command_line.main(argv) or 0)

    return _console.guarded(run, "--debug" in argv)


_FORWARDED: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    **{name: _forward(name) for name in _EXPERIMENTS},
    "convert": _convert,
    "classroom": _classroom,
}
"""Commands with a command line of their own, whose modules load only when they are called."""


if __name__ == "__main__":
    sys.exit(main())
