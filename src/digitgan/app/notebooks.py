"""Notebooks run headlessly: one, or one for each combination of parameters."""

import ast
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import papermill

from ..data.tables import format_table, write_csv
from ..errors import InvalidInputError, print_error
from ..files import atomic_write

# what a sweep's table shows of each scorecard
FIGURES = "label_accuracy", "frechet_distance", "precision", "recall", "classes", "evenness"


def execute(
    notebook: Path, values: Mapping[str, str], output: Path | None = None, in_place: bool = False
) -> int:
    """Execute a notebook with some parameters (name -> text) into `output`; returns the exit
    code."""
    parameters = check(notebook, values)
    output = output or Path("runs") / notebook.stem / notebook.name
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(notebook), str(output), parameters, cwd=".")
    except papermill.PapermillExecutionError as error:
        code = 2 if error.ename == InvalidInputError.__name__ else 1
        place = f"(cell {error.exec_count}; see {output})"
        return print_error(f"{notebook}: {error.ename}: {error.evalue} {place}", code)
    if in_place:
        atomic_write(notebook, nbformat.writes(tidy(nbformat.read(output, 4))).encode())
    print(f"see {notebook if in_place else output}")
    return 0


def check(notebook: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """Parameters (name -> text) as values of the types that the notebook's parameters cell gives
    them."""
    if not notebook.is_file():
        raise FileNotFoundError(f"{notebook}: no such notebook")
    try:
        known, checked = papermill.inspect_notebook(str(notebook)), {}
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(f"{notebook}: not a notebook ({reason})") from None
    for name, text in values.items():
        if name not in known:
            there = ", ".join(known)
            raise InvalidInputError(f"{name}: no such parameter in {notebook}; there are {there}")
        kind, value = known[name]["inferred_type_name"], text
        if kind not in ("str", "None"):
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                value = text
            if type(value).__name__ != kind and (type(value), kind) != (int, "float"):
                raise InvalidInputError(
                    f"{name} = {text}: must be of type {kind}, as in {notebook}"
                )
        checked[name] = value
    return checked


def tidy(notebook: Any) -> Any:
    """A notebook as it is committed: pictures and tables stay, widget state and papermill's notes
    go."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        shown = []
        for output in cell.get("outputs", []):  # a widget stays as its picture, or goes
            widget = output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            if not widget or "image/png" in output.data:
                shown.append(output)
        if "outputs" in cell:
            cell.outputs = shown
    return notebook


def sweep(notebook: Path, grid: Mapping[str, Sequence[str]], folder: Path, jobs: int = 1) -> int:
    """Execute a notebook for every combination of `grid` (name -> texts), `jobs` at a time.

    Each runs in a process of its own, into `folder`/<combination>/, its `run_dir` parameter with
    it. An executed notebook there means that it is done. `table.csv` in the folder and the printed
    table gather the scorecards. Returns the exit code.
    """
    products = itertools.product(*grid.values())
    combinations = [dict(zip(grid, values, strict=True)) for values in products]
    for values in combinations:
        check(notebook, values)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    has_run_dir = "run_dir" in papermill.inspect_notebook(str(notebook))

    def one(values: dict[str, str]) -> tuple[Path, str]:
        name = ",".join(f"{name}={value}" for name, value in values.items()).replace("/", "_")
        place = folder.absolute() / name
        done, partial = place / notebook.name, place / f"unfinished-{notebook.name}"
        if done.is_file():
            return place, "done before"
        given = values | ({"run_dir": str(place)} if has_run_dir else {})
        options = [word for name, value in given.items() for word in ("-p", name, value)]
        command = [sys.executable, "-m", "digitgan", "run", str(notebook), *options]
        command += ["--output", str(partial)]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            return place, "failed: " + (ended.stderr.strip().splitlines() or ["no message"])[-1]
        partial.replace(done)
        return place, "done"

    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        for values, (place, status) in zip(combinations, pool.map(one, combinations), strict=True):
            path = place / "scorecard.json"
            card = json.loads(path.read_text()) if path.is_file() else {}
            figures = {name: card.get(name) for name in FIGURES}
            rows.append(values | figures | {"status": status, "folder": place.name})
            settings = ", ".join(f"{name} = {value}" for name, value in values.items())
            print(settings, "-", status, flush=True)
    write_csv(folder / "table.csv", rows)
    lines = [list(rows[0]), *([cell_text(value) for value in row.values()] for row in rows)]
    print(f"\n{format_table(lines)}\nsee {folder / 'table.csv'}")
    return int(any(str(row["status"]).startswith("failed") for row in rows))


def cell_text(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
