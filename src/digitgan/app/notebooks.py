"""A notebook run headlessly, with parameters that are checked first."""

import ast
import contextlib
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from ..data.text import convert
from ..errors import DigitganError, InvalidInputError, print_error
from ..files import atomic_write, shown, user_path
from ..streams import SafeStream, tell

INVALID = nbformat.ValidationError
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


class NotebookError(DigitganError):
    """A notebook that did not come to its end; `exit_code` is 2 where its input was at fault."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ThisPython(AsyncKernelManager):
    """Starts a notebook's kernel with the Python that runs now, whatever kernels are installed, and
    whichever the notebook was saved with."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(**get_kernel_dict(["--log-level=CRITICAL"]))


def execute(
    notebook: Path, values: Mapping[str, str], output: Path | None = None, in_place: bool = False
) -> int:
    """Execute a notebook with some parameters (name -> text) into `output`; returns the exit
    code. One that was executed there before is replaced where this one comes to its end; else this
    one lies beside it."""
    notebook, content = user_path(notebook), read_notebook(notebook)
    parameters = check(notebook, content, values)
    output = user_path(output or Path("runs") / notebook.stem / notebook.name)
    partial = unfinished(output) if output.is_file() else output
    try:
        run_kernel(notebook, content, parameters, partial, SafeStream(sys.stderr).isatty())
    except NotebookError as error:
        return print_error(error, error.exit_code)
    partial.replace(output)
    if in_place:
        atomic_write(notebook, nbformat.writes(tidy(nbformat.read(output, 4))).encode())
    tell(f"see {shown(notebook if in_place else output)}")
    return 0


def unfinished(output: Path) -> Path:
    """Where a notebook lies that is not at its end yet, beside its place."""
    return output.with_name(f"unfinished-{output.name}")


def run_kernel(
    notebook: Path, content: Any, parameters: dict[str, Any], output: Path, progress: bool = False
) -> None:
    """Execute what `read_notebook` gave, in a kernel of its own that works in the current folder.

    What was executed is written to `output`, also where it failed. progress: show a bar. Raises
    `NotebookError`.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)  # names are checked already
    try:
        papermill.execute_notebook(
            content,
            str(output).replace("{", "{{").replace("}", "}}"),  # papermill takes it for a template
            parameters,
            kernel_name="python3",
            language="python",
            start_timeout=300,
            progress_bar=progress,
            kernel_manager_class=ThisPython,
        )
    except papermill.PapermillExecutionError as error:
        code = 2 if error.ename == InvalidInputError.__name__ else 1
        place = f"(cell {error.exec_count}; see {shown(output)})"
        told = f"{shown(notebook)}: {error.ename}: {error.evalue} {place}"
        raise NotebookError(told, code) from None
    except RuntimeError as error:  # of nbclient, where there is no kernel any more
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        told = f"its kernel ended ({reason.rstrip('.')}; without memory, the system ends it)"
        raise NotebookError(f"{shown(notebook)}: {told}; see {shown(output)}", 2) from None


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
