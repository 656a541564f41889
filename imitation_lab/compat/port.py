"""Rewrites the imports of a script or notebook from `imitation` to this library; the rest stays to the letter."""

from __future__ import annotations

import ast
import json
import re

from imitation_lab.compat import differences

__all__ = ["ported", "ported_notebook", "notes"]

_OLD, _NEW = "imitation", "imitation_lab"


def ported(text: str) -> tuple[str, int]:
    """A script's text with the imports of this library, and how many places changed.

    Imports, uses of a name that an import bound, and strings that are a module's path are rewritten.

    Raises:
        SyntaxError: if the text is no Python; lines of IPython that begin with % or ! may be in it.
    """
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = text.splitlines(keepends=True)
    plain = "".join(re.sub(r"^(\s*)[%!]", r"\1#", line) for line in lines)

    def offset(node: ast.expr | ast.stmt | ast.alias) -> int:
        line = lines[node.lineno - 1]  # columns count bytes
        return starts[node.lineno - 1] + len(line.encode()[: node.col_offset].decode())

    found, bound = [], False
    nodes = list(ast.walk(ast.parse(plain)))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_old(node.module or ""):
            found.append(text.index(_OLD, offset(node)))
        elif isinstance(node, ast.alias) and _is_old(node.name) and text.startswith(_OLD, offset(node)):
            found.append(offset(node))
            bound |= node.asname is None
        elif isinstance(node, ast.Constant) and re.fullmatch(rf"{_OLD}(\.\w+)+", str(node.value)):
            found.append(text.index(_OLD, offset(node)))
    found += [offset(node) for node in nodes if bound and isinstance(node, ast.Name) and node.id == _OLD]
    for place in sorted(set(found), reverse=True):
        text = text[:place] + _NEW + text[place + len(_OLD) :]
    return text, len(set(found))


def ported_notebook(text: str) -> tuple[str, int]:
    """A notebook's text, in which the code cells are `ported`; outputs and all else stay.

    Raises:
        ValueError: if the text is no notebook.
        SyntaxError: if a cell is no Python.
    """
    try:
        notebook = json.loads(text)
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"this is no notebook ({error!r}).") from None
    count = 0
    for cell in cells:
        source, n = ported("".join(cell["source"]))
        count += n
        if n:
            cell["source"] = source.splitlines(keepends=True)
    indent = re.search(r"^\{\n( +)", text)
    return json.dumps(notebook, indent=len(indent[1]) if indent else 1, ensure_ascii=False) + "\n", count


def notes(text: str) -> list[tuple[int, differences.Difference]]:
    """What behaves differently: numbers of lines, from 1, and the difference that each meets."""
    rows = [row for row in differences.table() if row.code]
    lines = enumerate(text.splitlines(), 1)
    return [(number, row) for number, line in lines for row in rows if re.search(row.code, line)]


def _is_old(path: str) -> bool:
    return path.partition(".")[0] == _OLD
