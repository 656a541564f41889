"""Rewrites scripts and notebooks written for `imitation`, and tells what behaves differently, line by line.

    python -m imitation_lab.scripts.port script.py notebook.ipynb
    python -m imitation_lab.scripts.port --dry-run script.py

Only imports change, in place; what is listed is for you to look at.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from imitation_lab.compat import port as porting
from imitation_lab.scripts import _console
from imitation_lab.util.paths import atomic_path

__all__ = ["port", "run", "main_console"]


def port(path: str, dry_run: bool = False) -> list[str]:
    """Rewrites one file.

    Args:
        path: a Python script, or a notebook, whose name ends in .ipynb.
        dry_run: leaves the file as it is.

    Returns:
        What to tell the user, a line each: how many places changed, then each difference.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither script nor notebook.
    """
    file = pathlib.Path(path)
    text = file.read_text(encoding="utf-8")
    try:
        new, count = (porting.ported_notebook if file.suffix == ".ipynb" else porting.ported)(text)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if count and not dry_run:
        with atomic_path(file) as temporary:
            temporary.write_text(new, encoding="utf-8")
    told = [f"{path}: {count} place{'s' * (count != 1)} {'would change' if dry_run else 'changed'}"]
    return told + [f"{path}:{number}: {row.topic}: {row.here}" for number, row in porting.notes(text)]


def run(argv: Sequence[str], program: str = "python -m imitation_lab.scripts.port") -> int:
    """The command line; gives the exit status."""
    description, _, example = (__doc__ or "").partition("\n\n")
    parser = _console.parser(program, description, f"examples:\n{example}")
    parser.add_argument("paths", nargs="+", metavar="FILE", help="script or notebook")
    parser.add_argument("--dry-run", action="store_true", help="change no file")
    given = parser.parse_args(argv)
    for path in given.paths:
        print("\n".join(port(path, given.dry_run)))
    return 0


def main_console() -> None:
    """Runs the command line and exits."""
    sys.exit(_console.guarded(lambda: run(sys.argv[1:]), "--debug" in sys.argv))


if __name__ == "__main__":
    main_console()
