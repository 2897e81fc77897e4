"""The page `asset/results/README.md`: every table of the executed notebooks, and of `make torture`.

`python -m digitgan.app.results` writes it again, from the committed notebooks and CSV files alone.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from ..data.tables import markdown_table, read_csv
from ..files import PROJECT, atomic_write

NOTEBOOKS, RESULTS = PROJECT / "notebooks", PROJECT / "asset" / "results"
FIRST = "scorecard", "main", "recipe", "compare"  # in this order; the others by name
HEAD = """\
# Results

All tables of the executed notebooks. `make results` writes this page from them; do not edit it.
The notebooks also have the text and the pictures that belong to the tables.

Where nothing else is said, a figure was measured on two cores of a server processor (Intel Xeon,
AVX-512) that multiplies in bfloat16 natively, with matrix products of training in bfloat16 and the
rest in float32 (`precision="auto"`). A CPU-second is a second of one core. On such a shared machine
speeds differ by half between one hour and the next: compare them within a table.
"""


def results_page() -> str:
    """The page as text: a section for each notebook with tables, and one for the faults tried."""
    paths = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    order = [name for name in FIRST if name in paths]
    order += [name for name in paths if name not in FIRST]
    sections = [section(paths[name]) for name in order]
    return "\n".join([HEAD, *filter(None, sections), faults()])


def section(path: Path) -> str:
    """The tables of an executed notebook below its own headings; empty where it has none."""
    cells = nbformat.read(path, 4).cells
    lines, heading, shown = [], "", ""
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^##+ (.+)$", cell.source, re.M) or [heading])[-1]
        for text in tables(cell):
            if heading != shown:
                lines.append(f"### {heading}\n")
                shown = heading
            lines.append(f"{text.strip()}\n")
    if not lines:
        return ""
    title = re.search(r"^# (.+)$", cells[0].source, re.M)
    name = f"notebooks/{path.name}"
    made = f"[{name}](../../{name}), executed by `digitgan run {name} --in-place`.\n"
    return "\n".join([f"## {title[1] if title else path.stem}\n", made, *lines])


def tables(cell: Any) -> Iterator[str]:
    """The tables that a cell shows, as Markdown."""
    for output in cell.get("outputs", []):
        text = output.get("data", {}).get("text/markdown", "")
        if text.startswith("|"):
            yield text


def faults() -> str:
    """What was done to the code on purpose, and what was lost."""
    rows = read_csv(RESULTS / "faults.csv")
    text = markdown_table(list(rows[0]), [list(row.values()) for row in rows])
    made = "`make torture` does this to the code and writes `faults.csv`; `make test` tries each"
    return f"## What can go wrong, and what is lost then\n\n{made} a few times.\n\n{text}\n"


if __name__ == "__main__":
    atomic_write(RESULTS / "README.md", results_page().encode())
    print(f"see {RESULTS / 'README.md'}")
