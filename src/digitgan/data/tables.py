"""Tables: as CSV files, as lines of text, as Markdown."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import atomic_write, user_path


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write dicts as a CSV file; their keys are its head. What a row lacks is left empty."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
    table.writeheader()
    table.writerows(rows)
    atomic_write(path, text.getvalue().encode())


def read_csv(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a CSV file as dicts; what looks like a number is one."""
    with user_path(path).open(newline="") as file:
        return [{name: _number(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def format_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows of texts as lines of text, column below column."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A head and rows as a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
