"""Notebooks as they come: saved with other kernels or none, by other editors, or broken; and
parameters as people write them."""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest

from digitgan import InvalidInputError
from digitgan.app import notebooks
from digitgan.app.cli import main
from digitgan.app.notebooks import execute, parameters_of, read_notebook
from digitgan.data.text import convert

PLAIN = {"kernelspec": {"name": "python3", "display_name": "x", "language": "python"}}


def content(*sources, metadata=None, tags=("parameters",)):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = list(tags)
    metadata = PLAIN if metadata is None else metadata
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata=metadata))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(path):
    """What an executed notebook's last cell printed."""
    return nbformat.read(path, 4).cells[-1].outputs[0].text


@pytest.fixture
def foreign_kernel(folder, monkeypatch):
    """A kernel called python3 that another program has installed, and that does not work."""
    place = folder / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    spec = {"argv": ["/bin/false"], "display_name": "x", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "jupyter"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folder / "jupyter"))


@pytest.mark.parametrize("metadata", ["conda", "none", "foreign"])
def test_this_pythons_kernel_runs_whatever_the_notebook_was_saved_with(
    metadata, folder, foreign_kernel
):
    name = {"conda": "conda-env-gans-py"}.get(metadata, "python3")
    spec = {"kernelspec": {"name": name, "display_name": "x", "language": "python"}}
    text = content("n: int = 1", "import sys\nprint(sys.executable, n)", metadata=spec)
    saved = json.loads(text)
    if metadata == "none":
        saved["metadata"] = {}
    (folder / "n.ipynb").write_bytes(b"\xef\xbb\xbf" + json.dumps(saved).encode())  # with a mark
    assert execute(Path("n.ipynb"), {"n": "2"}, Path("o{x}.ipynb")) == 0
    assert printed("o{x}.ipynb") == f"{sys.executable} 2\n"


def test_a_kernel_that_dies_costs_one_line_and_exit_2(folder, capfd):
    (folder / "n.ipynb").write_text(content("n: int = 1", "import os\nos.kill(os.getpid(), 9)"))
    assert execute(Path("n.ipynb"), {}) == 2
    err = capfd.readouterr().err  # the kernel itself may have warned of other things
    told = [line for line in err.splitlines() if line.startswith("digitgan: ")]
    assert (
        "Traceback" not in err
        and len(told) == 1
        and "n.ipynb: its kernel ended (Kernel died;" in told[0]
    )
    assert "see runs/n/n.ipynb" in told[0] and Path("runs/n/n.ipynb").is_file()


BROKEN = {
    "empty": (b"", "not a notebook"),
    "broken JSON": (b'{"cells": [', "not a notebook"),
    "a list": (b"[1]", "not a notebook"),
    "no cells": (b'{"a": 1}', "not a notebook"),
    "cells of another type": (b'{"cells": "x", "metadata": {}, "nbformat": 4}', "not a notebook"),
    "a cell without a source": (
        b'{"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 2}',
        "not a notebook",
    ),
    "bytes": (bytes(range(256)), "not a notebook"),
    "UTF-16": (content("n = 1").encode("utf-16"), "not a notebook"),
    "deep": (b"[" * 100_000, "not a notebook"),
    "another language": (
        content("n <- 1", metadata={"language_info": {"name": "R"}}).encode(),
        "a notebook in R, must be in Python",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("values", [("1",), ("1", "2")], ids=["one", "sweep"])
def test_a_broken_notebook_costs_one_line_and_exit_2(kind, values, folder, monkeypatch, capsys):
    broken, said = BROKEN[kind]
    (folder / "n.ipynb").write_bytes(broken)
    monkeypatch.setattr(sys, "argv", ["digitgan", "run", "n.ipynb", "-p", "n", *values])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and len(err.splitlines()) == 1 and said in err
    assert [path.name for path in folder.iterdir()] == ["n.ipynb"]


def test_old_and_unusual_notebooks_are_read(folder):
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]}
    Path("old.ipynb").write_text(json.dumps(old))
    assert read_notebook("old.ipynb").cells == []
    Path("crlf.ipynb").write_bytes(content("n: int = 1").replace("\n", "\r\n").encode())
    assert parameters_of(read_notebook("crlf.ipynb")) == {"n": "int"}


SOURCE = """
from typing import Optional
# what there is
a: int = 3  # how many
b: "int | None" = None
c: Optional[float] = None
d = 0.5
e = None
f: bool = False
g = True
i = [1]
j = 2 * 3
h: list[int] = [1,
                2]
path: Path = None
"""


def test_parameters_are_known_by_annotation_or_value():
    found = parameters_of(nbformat.reads(content(SOURCE), 4))
    assert found == {
        "a": "int", "b": "int | None", "c": "Optional[float]", "d": "float", "e": "None",
        "f": "bool", "g": "bool", "i": "list", "j": "None", "h": "list[int]", "path": "Path",
    }  # fmt: skip
    assert parameters_of(nbformat.reads(content("%matplotlib inline\nn = 1"), 4)) == {"n": "int"}
    assert parameters_of(nbformat.reads(content("n = ="), 4)) == {}
    assert parameters_of(nbformat.reads(content("n = 1", tags=()), 4)) == {}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("true", "bool", True), ("FALSE", "bool", False), ("yes", "bool", True),
        ("no", "bool", False), ("1", "bool", True), ("0", "bool", False), ("True", "bool", True),
        ("None", "int | None", None), ("3", "int | None", 3), ("None", "Optional[float]", None),
        ("1e-3", "float", 1e-3), ("2", "float", 2), ("-1", "int", -1), ("None", "str", "None"),
        ("None", "str | None", None), ("12", "str", "12"), ("true", "str", "true"),
        ("[1, 2]", "list[int]", [1, 2]), ("None", "None", None), ("3", "None", 3),
        ("abc", "None", "abc"), ("runs/x", "Path", "runs/x"),
    ],
)  # fmt: skip
def test_words_become_values_of_the_parameters_type(text, kind, value):
    found = convert("p", text, kind)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("maybe", "bool"), ("2", "bool"), ("1.5", "int"), ("x", "int"), ("None", "int"),
     ("True", "int"), ("x", "float | None"), ("(" * 9999, "int"), ("3", "list[int]")],
)  # fmt: skip
def test_other_words_are_refused_in_one_short_line(text, kind):
    with pytest.raises(InvalidInputError, match=r"^p = .*: must be of type ") as told:
        convert("p", text, kind)
    assert len(str(told.value)) < 200 and "\n" not in str(told.value)


def test_true_arrives_as_a_truth_value(folder):
    Path("n.ipynb").write_text(content("f: bool = False\nn: 'int | None' = 3", "print([f, n])"))
    assert execute(Path("n.ipynb"), {"f": "true", "n": "None"}, Path("o.ipynb")) == 0
    assert printed("o.ipynb") == "[True, None]\n"


def test_what_cannot_be_written_costs_one_line(folder, monkeypatch, capsys):
    Path("n.ipynb").write_text(content("n: int = 1"))
    Path("file").touch()
    monkeypatch.setattr(sys, "argv", ["digitgan", "run", "n.ipynb", "--output", "file/o.ipynb"])
    monkeypatch.setattr(notebooks.papermill, "execute_notebook", lambda *a, **k: None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(os.listdir()) == ["file", "n.ipynb"]
