"""A notebook run once for each combination of parameters, on one machine or on a cluster."""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster, as_completed

from ..data.tables import format_table, write_csv
from ..data.text import legible_names
from ..errors import DigitganError, InvalidInputError, one_line
from ..files import shown, user_path
from ..streams import tell
from .notebooks import check, parameters_of, read_notebook, run_kernel, unfinished

# what a sweep's table shows of each scorecard
FIGURES = "label_accuracy", "frechet_distance", "precision", "recall", "classes", "evenness"
CONNECT_SECONDS = 10  # how long an answer of a scheduler is waited for


@dataclasses.dataclass
class Combination:
    """One run of a sweep: its values by name, as text and as the notebook has them, and its
    folder."""

    values: dict[str, str]
    parameters: dict[str, Any]
    place: Path


def sweep(
    notebook: Path,
    grid: Mapping[str, Sequence[str]],
    folder: Path,
    jobs: int = 1,
    scheduler: str | None = None,
) -> int:
    """Execute a notebook for every combination of `grid` (name -> texts), `jobs` at a time.

    Each goes into `folder`/<combination>/, its `run_dir` parameter with it. An executed notebook
    there means that it is done. What fails does not stop the others. `table.csv` in the folder and
    the printed table gather the scorecards. scheduler: the address of a Dask cluster that does it,
    with the same folders and the same Python; `jobs` is then left out. Returns the exit code.
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
    try:
        with cluster(min(jobs, len(combinations)), scheduler) as client:
            rows = run_all(client, notebook, combinations)
    except CancelledError:
        told = "the Dask scheduler has ended; started again, the sweep goes on where it was"
        raise DigitganError(f"{scheduler or 'here'}: {told}") from None
    write_csv(folder / "table.csv", rows)
    table = [row | {name: cut(row[name]) for name in grid} for row in rows]
    lines = [list(table[0]), *([cell_text(value) for value in row.values()] for row in table)]
    tell(f"\n{format_table(lines)}\nsee {shown(folder / 'table.csv')}")
    return int(any(str(row["status"]).startswith("failed") for row in rows))


@contextlib.contextmanager
def cluster(jobs: int, scheduler: str | None) -> Iterator[Client]:
    """A client of the cluster at that address, or of one made of `jobs` processes here.

    Raises `InvalidInputError` where nothing answers there.
    """
    if scheduler is None:
        threads = str(max(1, (os.cpu_count() or 1) // jobs))
        with (
            LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=None,
                env={"OMP_NUM_THREADS": threads},
                silence_logs=logging.ERROR,
            ) as here,
            Client(here) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError) as error:  # TypeError: of TLS without certificates
        rule = "must be the address of a Dask scheduler that runs, as in tcp://127.0.0.1:8786"
        raise InvalidInputError(f"--scheduler {scheduler}: {rule} ({error})") from None
    with client:
        if not client.scheduler_info()["workers"]:
            tell(f"{scheduler} has no workers yet: waiting for one")
        yield client


def run_all(
    client: Client, notebook: Path, combinations: Sequence[Combination]
) -> list[dict[str, Any]]:
    """The rows of the table, in the order of the combinations; a line is told as each ends."""
    futures = client.map(
        run_one,
        combinations,
        notebook=notebook,
        working_dir=Path.cwd(),
        pure=False,
    )
    number_of = {future.key: number for number, future in enumerate(futures)}
    rows: list[dict[str, Any]] = [{}] * len(combinations)
    for done, future in enumerate(as_completed(futures), 1):
        number = number_of[future.key]
        values, place = combinations[number].values, combinations[number].place
        failed = future.exception()  # of Dask itself: a worker that ends again and again, say
        ended = failure(failed) if failed else future.result()
        figures, remark = read_figures(place / "scorecard.json")
        status = ended + remark
        rows[number] = values | figures | {"status": status, "folder": place.name}
        settings = ", ".join(f"{name} = {cut(value)}" for name, value in values.items())
        tell(f"{done} of {len(combinations)}: {settings} - {status}")
    return rows


def run_one(combination: Combination, notebook: Path, working_dir: Path) -> str:
    """Execute a notebook for one combination, in a kernel of its own; returns how it ended.

    The kernel ends with the process that runs this, so that another one can begin again.
    """
    try:
        os.chdir(working_dir)
        return execute_or_find(combination, notebook)
    except Exception as error:  # whatever it is, the others go on
        return failure(error)


def failure(error: BaseException) -> str:
    """The status of a combination that failed."""
    return f"failed: {one_line(error) or type(error).__name__}"


def execute_or_find(combination: Combination, notebook: Path) -> str:
    """`done before` where the executed notebook is there, else `done` when it is.

    Raises `NotebookError`, OSError, or `InvalidInputError` where another notebook is there.
    """
    content = read_notebook(notebook)
    place, parameters = combination.place, dict(combination.parameters)
    done, partial = place / notebook.name, unfinished(place / notebook.name)
    if done.is_file():
        if holds(done, content, parameters):
            return "done before"
        hint = "delete it, or choose another --output"
        raise InvalidInputError(f"{done} is of other cells or parameters; {hint}")
    if "run_dir" in parameters_of(content):
        parameters["run_dir"] = str(place)
    run_kernel(notebook, content, parameters, partial)
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
