"""Notebooks run headlessly: one, or one for each combination of parameters."""

import ast
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import papermill

from ..common import Mistake, aligned, complain, write_table, write_whole

FIGURES = ("read_as_asked", "fid", "precision", "recall", "classes", "evenness")  # of a scorecard, in a sweep's table


def execute(notebook, values, output=None, in_place=False):
    """Execute a notebook with some parameters (name -> text) into `output`; gives the exit code."""
    parameters = check(notebook, values)
    output = output or Path("runs") / notebook.stem / notebook.name
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(notebook), str(output), parameters, cwd=".")
    except papermill.PapermillExecutionError as error:
        code = 2 if error.ename == "Mistake" else 1
        return complain(f"{notebook}: {error.ename}: {error.evalue} (cell {error.exec_count}; see {output})", code)
    if in_place:
        write_whole(notebook, nbformat.writes(tidy(nbformat.read(output, 4))).encode())
    print(f"see {notebook if in_place else output}")
    return 0


def check(notebook, values):
    """Parameters (name -> text) as values of the types that the notebook's parameters cell gives them."""
    if not notebook.is_file():
        raise FileNotFoundError(f"{notebook}: no such notebook")
    try:
        known, checked = papermill.inspect_notebook(str(notebook)), {}
    except ValueError as error:
        raise Mistake(f"{notebook}: not a notebook ({str(error).splitlines()[0]})") from None
    for name, text in values.items():
        if name not in known:
            raise Mistake(f"{name}: no such parameter in {notebook}; there are {', '.join(known)}")
        kind, value = known[name]["inferred_type_name"], text
        if kind not in ("str", "None"):
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                value = text
            if type(value).__name__ != kind and (type(value), kind) != (int, "float"):
                raise Mistake(f"{name} = {text}: must be of type {kind}, as in {notebook}")
        checked[name] = value
    return checked


def tidy(notebook):
    """A notebook as it is committed: pictures and tables stay, widget state and papermill's notes go."""
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


def sweep(notebook, grid, folder, jobs=1):
    """Execute a notebook for every combination of `grid` (name -> texts), `jobs` at a time, each in a process of its own.

    Each goes to `folder`/<combination>/, its `run_dir` parameter with it. An executed notebook there means that it is
    done. `table.csv` in the folder and the printed table gather what the scorecards say. Gives the exit code.
    """
    names = list(grid)
    combinations = [dict(zip(names, values, strict=True)) for values in itertools.product(*grid.values())]
    for values in combinations:
        check(notebook, values)
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
    has_run_dir = "run_dir" in papermill.inspect_notebook(str(notebook))

    def one(values):
        place = folder.absolute() / ",".join(f"{name}={value}" for name, value in values.items()).replace("/", "_")
        done, partial = place / notebook.name, place / f"unfinished-{notebook.name}"
        if done.is_file():
            return place, "done before"
        given = values | ({"run_dir": str(place)} if has_run_dir else {})
        options = [word for name, value in given.items() for word in ("-p", name, value)]
        command = [sys.executable, "-m", "digitgan", "run", str(notebook), *options, "--output", str(partial)]
        told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if told.returncode:
            return place, "failed: " + (told.stderr.strip().splitlines() or ["no message"])[-1]
        partial.replace(done)
        return place, "done"

    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        for values, (place, status) in zip(combinations, pool.map(one, combinations), strict=True):
            card = json.loads((place / "scorecard.json").read_text()) if (place / "scorecard.json").is_file() else {}
            rows.append(values | {name: card.get(name) for name in FIGURES} | {"status": status, "folder": place.name})
            print(", ".join(f"{name} = {value}" for name, value in values.items()), "-", status, flush=True)
    write_table(folder / "table.csv", rows)
    cells = [["" if v is None else f"{v:.4g}" if type(v) is float else str(v) for v in row.values()] for row in rows]
    print(f"\n{aligned([list(rows[0]), *cells])}\nsee {folder / 'table.csv'}")
    return int(any(row["status"].startswith("failed") for row in rows))
