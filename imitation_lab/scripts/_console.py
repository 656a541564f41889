"""Running an experiment from the shell, with short messages for a user's mistakes."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from imitation_lab.scripts import _values

USER_ERRORS = (ValueError, TypeError, FileNotFoundError, FileExistsError, NotADirectoryError, ImportError)
"""What a user's mistake raises: told in a short message, exit status 2."""

UNOBSERVED = {
    "print_config": "list and explain every value",
    "print_named_configs": "list the named configurations",
    "save_config": "write the configuration to config.json",
    "print_dependencies": "list sources and packages",
}
"""Commands that run nothing."""


def run(experiment: Any, argv: Sequence[str], program: str | None = None) -> int:
    """Runs an experiment as the shell asks for it.

    Args:
        experiment: a `sacred.Experiment` of ours.
        argv: `[COMMAND] [with NAME… KEY=VALUE…] [options]`.
        program: how the user calls it, for the help.

    Returns:
        0 for success, 2 for a user's mistake, 1 for any other failure, 130 for an interrupt.
    """
    return guarded(lambda: execute(experiment, argv, program), "--debug" in argv)


def guarded(function: Callable[[], int], debug: bool) -> int:
    """Calls a function; its errors become short messages and an exit status, unless `debug`."""
    if debug:
        return function()
    try:
        return function()
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"
        print(f"failed: {type(error).__name__}: {error} ({where}; --debug shows all)", file=sys.stderr)
        return 1


def parser(program: str, description: str, example: str = "") -> argparse.ArgumentParser:
    """A parser that knows --debug and leaves the texts as they are."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=program, description=description, epilog=example, formatter_class=raw)
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


def execute(experiment: Any, argv: Sequence[str], program: str | None = None) -> int:
    """As `run`, but errors are raised."""
    program = program or f"python -m imitation_lab.scripts.{experiment.path}"
    reader = parser(program, _description(experiment, program, argv[0] if argv else ""))
    reader.usage = "%(prog)s [COMMAND] [with NAME... KEY=VALUE...] [options]"
    reader.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    reader.add_argument("-u", "--unobserved", action="store_true", help="do not record the run in output/sacred")
    reader.add_argument("-l", "--loglevel", metavar="LEVEL", help="of Sacred's messages, such as WARNING")
    reader.add_argument("-c", "--comment", metavar="TEXT", help="a comment to record with the run")
    given = reader.parse_intermixed_args(list(argv))
    words = given.words
    command = words.pop(0) if words and words[0] != "with" else None
    about = None
    if command in experiment.functions and words and words[0] in UNOBSERVED:  # such as: airl print_config
        about, command = command, words.pop(0)
    if words and words[0] != "with":
        raise ValueError(f"expected `with` before {words[0]!r}, as in: {program} {command or ''} with {words[0]}")
    updates, names = _values.parse_updates(words[1:])
    options = {"--loglevel": given.loglevel, "--comment": given.comment}
    given_options = {key: value for key, value in options.items() if value}
    if command in UNOBSERVED:
        with _without_colours():
            experiment.run(command, updates, names, options=given_options, about=about)
        return 0
    folder = None if given.unobserved else os.path.join("output", "sacred", experiment.path)
    with experiment.recorded(folder) as observer:
        finished = experiment.run(command, updates, names, options=given_options, about=about)
    _report(finished, observer)
    return 0


@contextlib.contextmanager
def _without_colours() -> Iterator[None]:
    """Removes the colours that Sacred prints, unless a terminal shows them."""
    if sys.stdout.isatty():
        yield
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    print(re.sub("\x1b\\[[0-9;]*m", "", printed.getvalue()), end="")


def _description(experiment: Any, program: str, command: str) -> str:
    """The help: what it, or one command, does; its commands; an example."""
    commands = {name: (function.__doc__ or "").strip().partition("\n")[0] for name, function in
                experiment.functions.items()} | UNOBSERVED  # fmt: skip
    first, *_ = experiment.functions
    examples = sys.modules[experiment.functions[first].__module__].__doc__ or ""
    many = len(experiment.functions) > 1 and program.startswith("python")  # else it names the command already
    configs = [name for name, _ in experiment.gather_named_configs()]
    example = next((name for name in re.findall(r" with (\w+)", examples) if name in configs), "")
    setting = {"environment": " seed=0", "search_space": " run_name=mine"}
    more = next((text for key, text in setting.items() if key in experiment.schema), "")
    lines = [commands.get(command, experiment.doc), "", "commands:"]
    lines += [f"  {name:<22}{text}" for name, text in commands.items()]
    if configs:
        listed = textwrap.wrap(", ".join(configs), 90, initial_indent="  ", subsequent_indent="  ")
        lines += ["", "named configurations:", *listed]
    lines += [
        "",
        f"example: {program} {first + ' ' if many else ''}with {example}{more}",
        f"         {program} print_config with {example}",
    ]
    return "\n".join(lines)


def _report(finished: Any, observer: Any) -> None:
    """Prints the result as a table, and where the files are."""
    result = finished.result
    if isinstance(result, Mapping):
        groups = {k: v for k, v in result.items() if isinstance(v, Mapping)} or {"": result}
        print()
        for name, values in groups.items():
            shown = {k: v for k, v in values.items() if isinstance(v, int | float)}
            if {"return_mean", "return_std"} <= shown.keys():
                keys = ("n_traj", "return_mean", "return_std", "return_min", "return_max", "len_mean")
                shown = {k: shown[k] for k in keys if k in shown}
            if shown:
                print(f"{name + ': ' if name else ''}" + ", ".join(f"{k} {v:.4g}" for k, v in shown.items()))
    if "log_dir" in finished.info:
        print(f"files:  {os.path.relpath(finished.info['log_dir'])}")
    if observer is not None and observer.dir:
        print(f"record: {os.path.relpath(observer.dir)}")
