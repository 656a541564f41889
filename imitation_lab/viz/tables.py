"""Small tables of rounded numbers, as plain text and as HTML."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["format_number", "text_table", "html_table"]

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Any]


def format_number(value: Any, digits: int = 4) -> str:
    """Return ``value`` rounded to ``digits`` significant digits; whole numbers and text stay as they are."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    if math.isnan(value):
        return "not defined"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return ("−" if value < 0 else "") + f"{abs(value):.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def _cells(rows: Rows, columns: Sequence[str] | None, digits: int) -> tuple[list[str], list[list[str]]]:
    if isinstance(rows, Mapping):
        rows = [{"quantity": key, "value": value} for key, value in rows.items()]
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
    return list(columns), [[format_number(row.get(name), digits) for name in columns] for row in rows]


def text_table(rows: Rows, columns: Sequence[str] | None = None, *, digits: int = 4) -> str:
    """Return an aligned plain-text table, the same on every run (notebooks compare it).

    Args:
        rows: one mapping per row, or a single mapping of quantities to values.
        columns: the keys to show and their order; all of them by default. A missing value shows as ``–``.
        digits: significant digits of floating-point numbers.
    """
    head, body = _cells(rows, columns, digits)
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    lines = []
    for cells in (head, ["-" * width for width in widths], *body):
        padded = [cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def html_table(rows: Rows, columns: Sequence[str] | None = None, *, digits: int = 4, caption: str | None = None) -> str:
    """Return the same table as HTML: escaped, with header cells that screen readers announce."""
    head, body = _cells(rows, columns, digits)
    parts = ['<table style="border-collapse:collapse;font-size:13px;line-height:1.4">']
    if caption:
        bold = "text-align:left;font-weight:bold;padding:2px 10px"
        parts.append(f'<caption style="{bold}">{html.escape(caption)}</caption>')
    if not isinstance(rows, Mapping):
        line = "border-bottom:1px solid #999"
        cells = [_cell('th scope="col"', "right" if i else "left", line, text) for i, text in enumerate(head)]
        parts += ["<tr>", *cells, "</tr>"]
    for first, *rest in body:
        cells = [_cell("td", "right", "font-variant-numeric:tabular-nums", text) for text in rest]
        parts += ["<tr>", _cell('th scope="row"', "left", "font-weight:normal", first), *cells, "</tr>"]
    return "".join([*parts, "</table>"])


def _cell(tag: str, align: str, style: str, text: str) -> str:
    return f'<{tag} style="text-align:{align};padding:2px 10px;{style}">{html.escape(text)}</{tag[:2]}>'
