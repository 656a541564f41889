"""Our docstrings are plain text with a little Markdown: made reStructuredText here, before napoleon reads them."""

import re
from typing import Any

_CODE = re.compile(r"(?<![`:\w])`([^`\n]+)`(?![`_])")
_LITERAL = re.compile(r"(``.+?``|:\w+:`[^`]+`)")
_ITEM = re.compile(r"(\d+\.|[-*]) ")
_SECTION = re.compile(r"(Args|Arguments|Attributes|Returns|Yields|Raises|Example|Examples|Note|Warns):$")
_NAMED = re.compile(r"(\s*\*{0,2}\w+( \([^)]*\))?:)(.*)")
_SHOWN = "\0"
"""Begins a line that is shown as it stands."""


def setup(app: Any) -> dict[str, bool]:
    """Register the extension; napoleon comes at priority 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what other packages put into our classes."""
    del app, what, name, skipped, options
    return True if str(getattr(obj, "__module__", "")).startswith("matplotlib") else None


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place."""
    del app, what, name, obj, options
    lines[:] = _tables(_blocks(lines))


def _blocks(lines: list[str]) -> list[str]:
    """Marks what is indented below a paragraph, before the first section: formulas and examples."""
    out: list[str] = []
    in_list = shown = sections = False
    for i, line in enumerate(lines):
        before = lines[i - 1] if i else ""
        text = line.strip()
        sections = sections or bool(_SECTION.match(line))
        if sections or not text:
            out.append(line)
            continue
        if not line.startswith(" "):
            shown = False
            in_list = bool(_ITEM.match(line)) or (in_list and bool(before.strip()))
        elif shown:
            out.append(_SHOWN + line)
            continue
        elif before.strip() and not in_list:
            line = text  # a slip of the pen within a paragraph
        elif line.startswith("    ") and not in_list:
            shown = True
            paragraph = next((own for own in reversed(lines[:i]) if own.strip()), "")
            if not paragraph.endswith("::"):
                out += [".. code-block:: text", ""]
            out.append(_SHOWN + line)
            continue
        out.append(line)
    return out


def _tables(lines: list[str]) -> list[str]:
    """Markdown tables become list tables; all else but shown blocks is prose."""
    out: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        ruled = i + 1 < len(lines) and re.fullmatch(r"\s*\|[\s:|-]+\|", lines[i + 1])
        if line.lstrip().startswith("|") and ruled:
            rows = []
            while i < len(lines) and lines[i].lstrip().startswith("|"):
                rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", lines[i].strip().strip("|"))])
                i += 1
            out += _list_table([rows[0], *rows[2:]], " " * (len(line) - len(line.lstrip())))
            continue
        out.append(line[1:] if line.startswith(_SHOWN) else _prose(line))
        i += 1
    return out


def _list_table(rows: list[list[str]], indent: str) -> list[str]:
    out = [f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
    for row in rows:
        for i, cell in enumerate(row):
            out.append(f"{indent}   {'* -' if i == 0 else '  -'} {_prose(cell)}".rstrip())
    return [*out, ""]


def _prose(line: str) -> str:
    """Code in double backticks; stars, bars and underscores at the end of a word stand for themselves."""
    if line.lstrip().startswith(".. "):
        return line
    head = ""
    if named := _NAMED.fullmatch(line):  # an argument: napoleon escapes its name
        head, line = named[1], named[3]
    elif item := re.match(r"\s*[-*] ", line):
        head, line = item[0], line[item.end() :]
    parts = _LITERAL.split(_CODE.sub(r"``\1``", line))
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"(?<!\\)([*|]|(?<=\w)_(?!\w))", r"\\\1", part)
        elif parts[i + 1][:1].isalnum():
            parts[i + 1] = "\\ " + parts[i + 1]  # as in ``Stack``s
    return head + "".join(parts)
