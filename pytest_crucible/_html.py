"""HTML for notebooks: plain tables, in which nothing is markup but the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], align: str = ""
) -> str:
    """A table as ``_repr_html_`` returns it.

    Args:
        caption: above the table.
        columns: their names; none for a table without a head.
        rows: a cell per column. Numbers stand on the right, None is an empty cell.
        align: ``l`` or ``r`` per column, where the cells are texts; default: texts on the left.
    """
    head = "".join(f"<th>{escape(each)}</th>" for each in columns)
    body = "".join(f"<tr>{''.join(_cells(row, align))}</tr>" for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"{f'<thead><tr>{head}</tr></thead>' if columns else ''}<tbody>{body}</tbody></table>"
    )


def _cells(row: Sequence[object], align: str) -> Iterator[str]:
    for column, value in enumerate(row):
        right = align[column : column + 1] == "r"
        text = "" if value is None else escape(str(value))
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            right, text = True, short_number(value)
        side = "right" if right else "left"
        yield f'<td style="text-align: {side}">{text}</td>'


def short_number(value: float) -> str:
    """A number to look at: whole ones with all their digits, others with four."""
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e15)
    return f"{int(value):,}" if whole else f"{value:,.4g}"
