"""The ground floor: where assets lie, what a user's mistake is, and whole files."""

import contextlib
import csv
import io
import os
import reprlib
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# asset/ of the repository, or the part of it that an installed package carries
ASSET = REPOSITORY / "asset" if (REPOSITORY / "asset").is_dir() else Path(__file__).parent / "asset"


class Mistake(ValueError):
    """Something asked for that cannot be: one line with the value received and the rule."""

    def _render_traceback_(self):  # a notebook then shows the line alone, without the traceback
        return [f"Mistake: {self}"]


def short(value):
    """Any value as one line for a message."""
    try:
        return " ".join(reprlib.repr(value).split())
    except ValueError:  # Python spells no integer of more than 4,300 digits
        return "a number of thousands of digits"


def check_number(number):
    """A number as text. Raises `Mistake` unless it is made of digits and spaces, with one digit at least."""
    try:
        text = str(number)
    except ValueError:  # Python spells no integer of more than 4,300 digits
        text = ""
    if not text.strip() or not set(text) <= set("0123456789 "):
        raise Mistake(f"number = {short(number)}: must be made of the digits 0 to 9 and spaces")
    return text


@contextlib.contextmanager
def whole_file(path):
    """A file to write bytes to that appears, in one step and with its folder, when all is written: never half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # on the disk before it takes the name: a crash leaves the old file or the new one
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path, content):
    """Write bytes to a `whole_file`."""
    with whole_file(path) as file:
        file.write(content)


def write_table(path, rows):
    """Write dicts with the same keys as a CSV file, their keys as its head."""
    text = io.StringIO()
    table = csv.DictWriter(text, rows[0] if rows else [])
    table.writeheader()
    table.writerows(rows)
    write_whole(path, text.getvalue().encode())


def aligned(table):
    """Rows of texts as lines of text, column below column."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def complain(error, code):
    """Tell the user in one line what is wrong; gives the exit code back."""
    print("digitgan:", " ".join(str(error).split()), file=sys.stderr)
    return code
