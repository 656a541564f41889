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
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, float | np.floating | int):
        return str(value)
    number = float(value)
    if math.isnan(number):
        return "not defined"
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    if number == 0:
        return "0"
    if not 1e-4 <= abs(number) < 1e7:
        return f"{number:.{digits - 1}e}".replace("-", "−", 1) if number < 0 else f"{number:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(number))))
    text = f"{number:.{decimals}f}"
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

    def line(cells: Sequence[str]) -> str:
        first, rest = cells[:1], cells[1:]
        return "  ".join(
            [c.ljust(w) for c, w in zip(first, widths, strict=False)]
            + [c.rjust(w) for c, w in zip(rest, widths[1:], strict=True)]
        ).rstrip()

    return "\n".join([line(head), "  ".join("-" * w for w in widths), *map(line, body)])


def html_table(rows: Rows, columns: Sequence[str] | None = None, *, digits: int = 4, caption: str | None = None) -> str:
    """Return the same table as HTML: escaped, with header cells that screen readers announce."""
    head, body = _cells(rows, columns, digits)
    number = 'style="text-align:right;padding:2px 10px;font-variant-numeric:tabular-nums"'
    name = 'style="text-align:left;padding:2px 10px;font-weight:normal"'
    parts = ['<table style="border-collapse:collapse;font-size:13px;line-height:1.4">']
    if caption:
        parts.append(
            f'<caption style="text-align:left;font-weight:bold;padding:2px 10px">{html.escape(caption)}</caption>'
        )
    if not isinstance(rows, Mapping):
        cells = "".join(
            f'<th scope="col" style="text-align:{"right" if i else "left"};padding:2px 10px;'
            f'border-bottom:1px solid #999">{html.escape(text)}</th>'
            for i, text in enumerate(head)
        )
        parts.append(f"<tr>{cells}</tr>")
    for first, *rest in body:
        cells = "".join(f"<td {number}>{html.escape(text)}</td>" for text in rest)
        parts.append(f'<tr><th scope="row" {name}>{html.escape(first)}</th>{cells}</tr>')
    return "".join([*parts, "</table>"])
