"""Notebooks run headlessly: one, or one for each combination of parameters."""

import ast
import contextlib
import dataclasses
import itertools
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from ..data.tables import format_table, write_csv
from ..data.text import convert, legible_names
from ..errors import InvalidInputError, print_error
from ..files import atomic_write, shown, user_path
from ..streams import SafeStream, tell

INVALID = nbformat.ValidationError
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
# what a sweep's table shows of each scorecard
FIGURES = "label_accuracy", "frechet_distance", "precision", "recall", "classes", "evenness"


class ThisPython(AsyncKernelManager):
    """Starts a notebook's kernel with the Python that runs now, whatever kernels are installed, and
    whichever the notebook was saved with."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict())


def execute(
    notebook: Path, values: Mapping[str, str], output: Path | None = None, in_place: bool = False
) -> int:
    """Execute a notebook with some parameters (name -> text) into `output`; returns the exit
    code."""
    notebook, content = user_path(notebook), read_notebook(notebook)
    parameters = check(notebook, content, values)
    output = user_path(output or Path("runs") / notebook.stem / notebook.name)
    output.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)  # names are checked already
    try:
        papermill.execute_notebook(
            content,
            str(output).replace("{", "{{").replace("}", "}}"),  # papermill takes it for a template
            parameters,
            kernel_name="python3",
            language="python",
            cwd=".",
            start_timeout=300,
            progress_bar=SafeStream(sys.stderr).isatty(),
            kernel_manager_class=ThisPython,
        )
    except papermill.PapermillExecutionError as error:
        code = 2 if error.ename == InvalidInputError.__name__ else 1
        place = f"(cell {error.exec_count}; see {shown(output)})"
        return print_error(f"{shown(notebook)}: {error.ename}: {error.evalue} {place}", code)
    except RuntimeError as error:  # of nbclient, where there is no kernel any more
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        told = f"its kernel ended ({reason.rstrip('.')}; without memory, the system ends it)"
        return print_error(f"{shown(notebook)}: {told}; see {shown(output)}", 2)
    if in_place:
        atomic_write(notebook, nbformat.writes(tidy(nbformat.read(output, 4))).encode())
    tell(f"see {shown(notebook if in_place else output)}")
    return 0


def read_notebook(path: Path) -> Any:
    """A notebook whose kernel is a Python.

    Raises FileNotFoundError where there is none, `InvalidInputError` where the file is not a
    notebook, or one in another language.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{shown(path)}: no such notebook")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors on Windows put a mark before it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that older ones have no ids
            content = nbformat.reads(text, 4, capture_validation_error={})
            head = content.metadata
            language = head.get("language_info", {}).get("name", "")
            language = language or head.get("kernelspec", {}).get("language", "python")
            all(cell.source is cell.metadata for cell in content.cells)  # each has them
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError, INVALID) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        told = f"{shown(path)}: not a notebook ({reason[:200]})"
        raise InvalidInputError(told) from None
    if "python" not in str(language).lower():
        raise InvalidInputError(f"{shown(path)}: a notebook in {language}, must be in Python")
    content.metadata["kernelspec"] = KERNEL
    content.metadata.setdefault("language_info", {}).setdefault("name", "python")
    return content


def parameters_of(content: Any) -> dict[str, str]:
    """The parameters of a notebook with the names of their types, in the order of its cell with the
    tag `parameters`; the type is that of the annotation, else that of the value."""
    sources = (c.source for c in content.cells if "parameters" in c.metadata.get("tags", []))
    source = TransformerManager().transform_cell(next(sources, ""))
    found = {}
    with contextlib.suppress(SyntaxError):
        for line in ast.parse(source).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                found[line.targets[0].id] = _type_name(None, line.value)
            elif isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                found[line.target.id] = _type_name(line.annotation, line.value)
    return found


def _type_name(annotation: ast.expr | None, value: ast.expr | None) -> str:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):  # in quotes
        return annotation.value
    if annotation:
        return ast.unparse(annotation)
    try:
        default = ast.literal_eval(value or "None")
    except ValueError:  # something that is computed
        default = None
    return "None" if default is None else type(default).__name__


def check(notebook: Path, content: Any, values: Mapping[str, str]) -> dict[str, Any]:
    """Parameters (name -> text) as values of the types that the notebook's parameters cell gives
    them."""
    known, checked = parameters_of(content), {}
    for name, text in values.items():
        if name not in known:
            there = ", ".join(known) or "none: no cell has the tag parameters"
            told = f"{name}: no such parameter in {shown(notebook)}; there are {there}"
            raise InvalidInputError(told)
        try:
            checked[name] = convert(name, text, known[name])
        except InvalidInputError as error:
            raise InvalidInputError(f"{error}, as in {shown(notebook)}") from None
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


@dataclasses.dataclass
class Combination:
    """One run of a sweep: its values by name, as text and as the notebook has them, and its
    folder."""

    values: dict[str, str]
    parameters: dict[str, Any]
    place: Path


def sweep(notebook: Path, grid: Mapping[str, Sequence[str]], folder: Path, jobs: int = 1) -> int:
    """Execute a notebook for every combination of `grid` (name -> texts), `jobs` at a time.

    Each runs in a process of its own, into `folder`/<combination>/, its `run_dir` parameter with
    it. An executed notebook there means that it is done. What fails does not stop the others.
    `table.csv` in the folder and the printed table gather the scorecards. Returns the exit code.
    """
    notebook, folder = user_path(notebook), user_path(folder)
    content = read_notebook(notebook)
    if "run_dir" in grid:
        raise InvalidInputError("-p run_dir: each combination has a folder of its own in --output")
    grid = {name: tuple(dict.fromkeys(texts)) for name, texts in grid.items()}  # each value once
    products = [dict(zip(grid, texts, strict=True)) for texts in itertools.product(*grid.values())]
    combinations = [
        Combination(values, check(notebook, content, values), folder / name)
        for values, name in zip(products, legible_names(products), strict=True)
    ]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))

    def run(combination: Combination) -> str:
        try:
            return run_one(notebook, content, combination, threads)
        except Exception as error:  # whatever it is, the others go on
            return f"failed: {' '.join(str(error).split()) or type(error).__name__}"

    rows = []
    with ThreadPoolExecutor(jobs) as pool:
        for combination, ended in zip(combinations, pool.map(run, combinations), strict=True):
            values, place = combination.values, combination.place
            figures, remark = read_figures(place / "scorecard.json")
            status = ended + remark
            rows.append(values | figures | {"status": status, "folder": place.name})
            settings = ", ".join(f"{name} = {cut(value)}" for name, value in values.items())
            tell(f"{settings} - {status}")
    write_csv(folder / "table.csv", rows)
    table = [row | {name: cut(row[name]) for name in grid} for row in rows]
    lines = [list(table[0]), *([cell_text(value) for value in row.values()] for row in table)]
    tell(f"\n{format_table(lines)}\nsee {shown(folder / 'table.csv')}")
    return int(any(str(row["status"]).startswith("failed") for row in rows))


def run_one(notebook: Path, content: Any, combination: Combination, threads: str) -> str:
    """Execute a notebook for one combination, in a process of its own; returns how it ended."""
    place = combination.place
    done, partial = place / notebook.name, place / f"unfinished-{notebook.name}"
    if done.is_file():
        if holds(done, content, combination.parameters):
            return "done before"
        hint = "delete it, or choose another --output"
        return f"failed: {done} is of other cells or parameters; {hint}"
    given = dict(combination.values)
    if "run_dir" in parameters_of(content):
        given["run_dir"] = str(place)
    options = [word for name, value in given.items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "digitgan", "run", str(notebook), *options]
    command += ["--output", str(partial)]
    environment = os.environ | {"OMP_NUM_THREADS": threads}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if ended.returncode:
        return "failed: " + (ended.stderr.strip().splitlines() or ["no message"])[-1]
    partial.replace(done)
    return "done"


def holds(done: Path, content: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether an executed notebook has the cells of this one and was run with these parameters."""
    executed = read_notebook(done)
    own = [cell.source for cell in content.cells if cell.cell_type == "code"]
    its = [
        cell.source
        for cell in executed.cells
        if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    used = executed.metadata.get("papermill", {}).get("parameters", parameters)
    return own == its and all(used.get(name) == value for name, value in parameters.items())


def read_figures(path: Path) -> tuple[dict[str, Any], str]:
    """What a sweep's table shows of a scorecard, if there is one, and a remark where it is no
    scorecard."""
    try:
        card = json.loads(path.read_text()) if path.is_file() else {}
        return {name: card.get(name) for name in FIGURES}, ""
    except (OSError, ValueError, AttributeError):
        return dict.fromkeys(FIGURES), f" ({path.name} cannot be read)"


def cut(text: str, most: int = 60) -> str:
    """A parameter's value as a line shows it."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def cell_text(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
