"""Rewrites scripts and notebooks written for `imitation`, and tells what behaves differently, line by line.

    python -m imitation_lab.scripts.port script.py notebook.ipynb
    python -m imitation_lab.scripts.port --dry-run script.py

Only imports change, in place; what is listed is for you to look at.
"""

from __future__ import annotations

import ast
import json
import pathlib
import re
import sys
from collections.abc import Sequence

from imitation_lab.scripts import _console, differences
from imitation_lab.util.paths import atomic_path

__all__ = ["ported", "ported_notebook", "port", "run", "main_console"]

_OLD, _NEW = "imitation", "imitation_lab"
_PATH = re.compile(rf"{_OLD}(\.\w+)*")


def ported(text: str) -> tuple[str, int, list[tuple[int, differences.Difference]]]:
    """A script's text for this library: its imports, uses of what they bound, and strings that are a module's path.

    Returns:
        The text, which is the same to the letter elsewhere; how many places changed; and what behaves differently, with
        the number of its line, from 1.

    Raises:
        SyntaxError: if the text is no Python; lines of IPython that begin with % or ! may be in it.
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # as Python counts them: a form feed, for one, ends none
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    tree = ast.parse("".join(re.sub(r"^(\s*)[%!]", r"\1#", line) for line in lines))
    places: set[int] = set()

    def add(node: ast.expr | ast.stmt | ast.alias) -> None:
        """Notes where a node has the name, if it does: parts of a text may be joined."""
        begin, end = (
            starts[line - 1] + len(lines[line - 1].encode()[:column].decode())  # columns count bytes
            for line, column in ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        )
        if (place := text.find(_OLD, begin, end)) >= 0:
            places.add(place)

    nodes, bound = list(ast.walk(tree)), False
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and not node.level and _PATH.fullmatch(node.module or ""):
            add(node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _PATH.fullmatch(alias.name):
                    add(alias)
                    bound |= alias.asname is None
        elif isinstance(node, ast.Constant) and "." in str(node.value) and _PATH.fullmatch(str(node.value)):
            add(node)
    for node in nodes:
        if bound and isinstance(node, ast.Name) and node.id == _OLD:
            add(node)
    rows = [row for row in differences.table() if row.code]
    notes = [(number, row) for number, line in enumerate(lines, 1) for row in rows if re.search(row.code, line)]
    for place in sorted(places, reverse=True):
        text = text[:place] + _NEW + text[place + len(_OLD) :]
    return text, len(places), notes


def ported_notebook(text: str) -> tuple[str, int, list[tuple[str, differences.Difference]]]:
    """A notebook's text, in which the code cells are `ported`; outputs and cells in other languages stay.

    Returns:
        As `ported`; places are told as "cell 3, line 2", where only cells of code count.

    Raises:
        ValueError: if the text is no notebook.
    """
    try:
        notebook = json.loads(text)
        cells = [(cell, "".join(cell["source"])) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"this is no notebook ({error!r}).") from None
    count, told = 0, []
    for number, (cell, source) in enumerate(cells, 1):
        try:
            new, n, notes = ported(source)
        except SyntaxError as error:
            if source.lstrip().startswith("%%"):  # a magic that takes a cell of another language
                continue
            raise ValueError(f"cell {number} is no Python: {error}") from None
        told += [(f"cell {number}, line {line}", row) for line, row in notes]
        if n:
            count += n
            cell["source"] = new if isinstance(cell["source"], str) else new.splitlines(keepends=True)
    indent = re.match(r"\{\n( +)", text)
    new = json.dumps(notebook, indent=len(indent[1]) if indent else None, ensure_ascii=text.isascii())
    return new + "\n" * text.endswith("\n"), count, told


def port(path: str, dry_run: bool = False) -> list[str]:
    """Rewrites one file.

    Args:
        path: a Python script, or a notebook, whose name ends in .ipynb; in UTF-8.
        dry_run: leaves the file as it is.

    Returns:
        What to tell the user, a line each: how many places changed, then each difference.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is neither script nor notebook.
    """
    file = pathlib.Path(path)
    try:
        text = file.read_bytes().decode()  # line ends as they are
        mark = "\ufeff" * text.startswith("\ufeff")
        new, count, notes = (ported_notebook if file.suffix == ".ipynb" else ported)(text.removeprefix(mark))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if count and not dry_run:
        mode = file.stat().st_mode
        with atomic_path(file) as temporary:
            temporary.write_bytes((mark + new).encode())
        file.chmod(mode)
    told = [f"{path}: {count} place{'s' * (count != 1)} {'would change' if dry_run else 'changed'}"]
    return told + [f"{path}:{place}: {row.topic}: {row.here}" for place, row in notes]


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
