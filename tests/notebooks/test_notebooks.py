"""Every notebook runs headlessly, from another folder, with the parameters that make it small."""

import ast
import importlib
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
import torch
from papermill import execute_notebook

from digitgan import SYSTEMS, Hyperparameters, Trainer
from digitgan.aliases import FIELDS, NAMES
from digitgan.app import results
from digitgan.data.tables import read_csv
from digitgan.evaluation import quality
from digitgan.files import ASSET

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
SMALL = {
    "compare": {
        "systems": "cdcgan,linear",
        "sweep": True,
        "rates": "5e-4",
        "sweep_images": 64,
        "sweep_epochs": 1,
        "samples": 200,
    },
    "scorecard": {"samples": 300, "seeds": 1, "cas": False},
    "recipe": {
        "measure": True,
        "grow": True,
        "budget": 1,
        "budgets": "1",
        "variants": "the recipe",
        "seeds": 1,
        "samples": 200,
    },
    "handwriting": {"measure": True, "sources": 3, "recognise": True, "writers": 2, "seeds": 1},
    "more-data": {"measure": True, "sizes": "100", "seeds": 1, "images": 640, "batches": 4},
    "benchmark": {"seconds": 0.2, "repeats": 1, "systems": "fcnn", "compiled": False},
    "scale": {"batches": "64", "images": 640, "digits": 2000},
    "own-images": {
        "per_class": 120,
        "epochs": 1,
        "images_per_epoch": 640,
        "samples": 150,
        "measure": True,
        "counts": "20",
        "budget": 200,
    },
    "neighbours": {
        "measure": True,
        "search": "8e-3",
        "search_budget": 0.3,
        "budgets": "1",
        "seeds": 1,
        "samples": 100,
    },
    "stacked": {
        "measure": True,
        "epochs": 1,
        "seeds": 1,
        "narrow_seeds": 0,
        "other_epochs": 1,
        "images": 640,
        "samples": 300,
    },
}
LEAVES = {
    "main": "picker.html",
    "compare": "sweep/table.csv",
    "scorecard": "scorecard.json",
    "recipe": "growth.csv",
    "handwriting": "walk.gif",
    "more-data": "more-data.csv",
    "benchmark": "speeds.csv",
    "scale": "scale.csv",
    "own-images": "own-images.csv",
    "neighbours": "neighbours.csv",
    "stacked": "stacked.csv",
}
# tables that are read: Fashion-MNIST's files may not be here
READS = {"own-images": ["fashion.csv", "fashion-settings.csv"]}
PICTURES = {
    "main": 3,
    "compare": 2,
    "scorecard": 3,
    "recipe": 1,
    "more-data": 0,
    "benchmark": 0,
    "handwriting": 9,
    "scale": 1,
    "own-images": 4,
    "neighbours": 1,
    "stacked": 2,
}  # at least
# judged after each epoch of a run, as in the tests' own
FEWER = f"from digitgan.evaluation import quality\nquality.SAMPLES = {quality.SAMPLES}"


def execute(source, target, parameters, cwd):
    """A notebook with some parameters, executed by papermill in that folder."""
    values = {name: str(v) if isinstance(v, Path) else v for name, v in parameters.items()}
    execute_notebook(str(source), str(target), values, cwd=str(cwd), progress_bar=False)


@pytest.mark.parametrize("name", [path.stem for path in PATHS])
def test_notebook_runs_from_any_folder(name, tmp_path, request):
    if name == "main":
        tmp_path = request.getfixturevalue("executed_main")
    else:
        run_small(name, tmp_path)
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert name != "main" or "labels 3333333333" in cells[-2].outputs[0].text
    outputs = [o for c in cells for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= PICTURES[name]
    assert not [o for o in outputs if o.get("name") == "stderr"]
    assert {p.name for p in tmp_path.iterdir()} == {"out.ipynb", "run"}
    assert (tmp_path / "run" / LEAVES[name]).is_file()


def run_small(name, tmp_path):
    """Execute a notebook with its small parameters, from another folder."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    parameters = SMALL[name] | {"run_dir": tmp_path / "run"}
    if "measure" in parameters:
        parameters["results"] = tmp_path / "run"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FEWER))
    (tmp_path / "run").mkdir()
    for file in READS.get(name, []):
        shutil.copy(ASSET / "results" / file, tmp_path / "run")
    nbformat.write(notebook, tmp_path / "run" / "in.ipynb")
    execute(tmp_path / "run" / "in.ipynb", tmp_path / "out.ipynb", parameters, tmp_path)


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_notebooks_are_committed_executed_and_tidy(path):
    assert_executed_and_tidy(nbformat.read(path, 4))


def assert_executed_and_tidy(notebook):
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    assert not {"widgets", "papermill"} & set(notebook.metadata)
    (parameters,) = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    lines = parameters.source.splitlines()[1:]
    assert all(re.fullmatch(r"\w+: \w+ = .+  # .+", line) for line in lines)
    told = json.dumps([c.outputs for c in code])
    assert '"error"' not in told and "widget-view" not in told
    assert not re.search(r"/(home|root|tmp|work|Users)/", told)


def code_of(path):
    return [c.source for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_notebooks_use_the_names_of_today(path):
    code = re.sub(r"^%.*$", "", "\n".join(code_of(path)), flags=re.M)
    fields = "|".join(FIELDS)
    assert not re.search(rf"\b({fields})=[^=]|\"({fields})\":", code)
    for node in filter(is_ours, ast.walk(ast.parse(code))):
        module = importlib.import_module(node.module)
        for name in (alias.name for alias in node.names):
            assert name not in NAMES.get(node.module, {}) and not name.startswith("_")
            assert hasattr(module, name)


def is_ours(node):
    return isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "digitgan"


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_lines_of_notebooks_fit_the_page(path):
    cells = nbformat.read(path, 4).cells
    assert max(len(line) for cell in cells for line in cell.source.splitlines()) <= 100


def test_the_demonstrated_step_leaves_the_training_as_it_is(tmp_path, train_digits):
    (cell,) = [source for source in code_of(NOTEBOOKS / "main.ipynb") if "train_step(" in source]
    hyperparameters = Hyperparameters(epochs=1, images_per_epoch=640)
    weights = []
    for name in ("with", "without"):
        trainer = Trainer(hyperparameters, tmp_path / name)
        names = {"hyperparameters": hyperparameters, "run_dir": trainer.run_dir, "seed": 0}
        if name == "with":
            exec(cell, names | {"Trainer": Trainer, "torch": torch, "real": train_digits})
            assert not trainer.run_dir.exists()
        trainer.train()
        weights.append((trainer.run_dir / "generator.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_the_page_of_results_shows_the_tables_of_the_notebooks():
    page = (results.RESULTS / "README.md").read_text()
    assert page == results.results_page(), "`make results` writes it again"
    assert page.count("| --- |") >= 20
    for path in PATHS:
        outputs = [o for c in nbformat.read(path, 4).cells for o in c.get("outputs", [])]
        texts = [o.data.get("text/markdown", "") for o in outputs if "data" in o]
        assert all(text in page for text in texts if text.startswith("|"))
    for row in read_csv(results.RESULTS / "faults.csv"):
        assert f"| {' | '.join(map(str, row.values()))} |" in page


def test_the_readme_shows_figures_of_the_page():
    readme = (NOTEBOOKS.parent / "README.md").read_text()
    page = (results.RESULTS / "README.md").read_text()
    shown = re.search(r"<!-- shipped -->\n(.+?)<!-- /shipped -->", readme, re.S)[1]
    rows = shown.splitlines()[2:]
    assert len(rows) == 5
    assert all(f"\n{row.rstrip('|').rstrip()}" in page for row in rows)


def test_faults_are_undone_one_at_a_time(tmp_path):
    """Each variant of compare.ipynb trains a step and ends its run; it has changed what is said."""
    cells = nbformat.read(NOTEBOOKS / "compare.ipynb", 4).cells
    (imports,) = [c.source for c in cells if "import MultiplyTrainer" in c.source]
    (variants,) = [c.source for c in cells if c.source.startswith("class Unsaved")]
    names = {"run_dir": tmp_path, "results": tmp_path, "systems": "all"}
    exec(imports.replace("%matplotlib inline", ""), names)
    exec(variants, names)
    for name, (_, trainers) in names["VARIANTS"].items():
        hyperparameters = SYSTEMS[name].replace(epochs=1, images_per_epoch=8, batch_size=8)
        made = {}
        for what, trainer in trainers.items():
            run = trainer(hyperparameters, tmp_path / f"{name}-{len(made)}")
            assert len(run.train()) == 1
            made[what] = run.test(10).images
        for what, images in made.items():  # a step is in train mode for all
            changed = what != "nothing" and not what.startswith("frozen")
            assert (images != made["nothing"]).any() == changed, what
