"""Every notebook runs headlessly, from another folder, with the parameters that make it small."""

import csv
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from digitgan import SYSTEMS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SMALL = {
    "main": {"epochs": 1, "limit": 640, "samples": 500},
    "compare": {
        "systems": "fcnn",
        "rates": "5e-4",
        "budget": 1,
        "sweep_limit": 64,
        "sweep_epochs": 1,
        "samples": 200,
    },
    "scorecard": {"samples": 300, "seeds": 1, "teach": False},
    "recipe": {
        "measure": True,
        "budget": 1,
        "budgets": "2",
        "variants": "the recipe",
        "seeds": 1,
        "samples": 200,
    },
    "handwriting": {"measure": True, "sources": 20},
    "benchmark": {"seconds": 0.2, "repeats": 1, "systems": "fcnn"},
    "scale": {"batches": "64", "images": 640, "digits": 2000},
}
LEAVES = {
    "main": "generator.safetensors",
    "compare": "sweep/table.csv",
    "scorecard": "scorecard.json",
    "recipe": "recipe.csv",
    "handwriting": "walk.gif",
    "benchmark": "speeds.csv",
    "scale": "scale.csv",
}
CLICK = "before = picker.image.value\npicker.digit.value = 3\nassert picker.image.value != before\nprint(picker.digits)"
PICTURES = {
    "main": 3,
    "compare": 3,
    "scorecard": 3,
    "recipe": 1,
    "benchmark": 0,
    "handwriting": 5,
    "scale": 1,
}  # at least


def papermill(source, target, parameters, cwd):
    options = [word for name, value in parameters.items() for word in ("-p", name, str(value))]
    return subprocess.run(
        [sys.executable, "-m", "papermill", str(source), str(target), *options],
        cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb")))
def test_notebook_runs_from_any_folder(name, tmp_path):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    parameters = SMALL[name] | {"run_dir": tmp_path / "run"}
    if "measure" in parameters:
        parameters["results"] = tmp_path / "run"
    if name == "main":  # and does what a click on the picker does
        notebook.cells.append(nbformat.v4.new_code_cell(CLICK))
    (tmp_path / "run").mkdir()
    nbformat.write(notebook, tmp_path / "run" / "in.ipynb")
    told = papermill("run/in.ipynb", "out.ipynb", parameters, tmp_path)
    assert told.returncode == 0, told.stderr[-3000:]
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert name != "main" or "labels 3333333333" in cells[-1].outputs[0].text
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= PICTURES[name]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert {p.name for p in tmp_path.iterdir()} == {"out.ipynb", "run"}
    assert (tmp_path / "run" / LEAVES[name]).is_file()


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_are_committed_executed_and_tidy(path):
    notebook = nbformat.read(path, 4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    assert not {"widgets", "papermill"} & set(notebook.metadata)
    (parameters,) = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    assert all(
        re.fullmatch(r"\w+: \w+ = .+  # .+", line) for line in parameters.source.splitlines()[1:]
    )
    told = json.dumps([c.outputs for c in code])
    assert (
        '"error"' not in told
        and "widget-view" not in told
        and not re.search(r"/(home|root|tmp|Users)/", told)
    )


def outputs(name, kind):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    return [
        o.data[kind]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if kind in o.get("data", {})
    ]


def test_the_readme_shows_the_figures_of_the_notebooks():
    readme = (NOTEBOOKS.parent / "README.md").read_text()
    model_card = (NOTEBOOKS.parent / "asset/pretrained/README.md").read_text()
    for name, place, pages in (("main", -1, [readme]), ("scorecard", 0, [readme, model_card])):
        rows = re.findall(r"<tr><td>(.*?)</td></tr>", outputs(name, "text/html")[place])
        assert len(rows) >= 12
        for row in rows:
            figures = html.unescape(row).split("</td><td>")[:4]
            assert all(f"| {' | '.join(figures)} |" in page for page in pages)
    low = next(text for text in outputs("scorecard", "text/markdown") if "ten equal shares" in text)
    assert low in readme and low in model_card
    with (NOTEBOOKS.parent / "asset/results/faults.csv").open() as file:
        assert all(f"| {' | '.join(row.values())} |" in readme for row in csv.DictReader(file))
    table = next(text for text in outputs("compare", "text/markdown") if "`cdcgan`" in text)
    assert len(table.splitlines()) == len(SYSTEMS) + 3
    _, ablation, growth, seeds, long, _ = outputs("recipe", "text/markdown")
    for text in (table, ablation, growth, seeds, long, outputs("benchmark", "text/markdown")[1]):
        assert text in readme
