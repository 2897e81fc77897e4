"""What several tests stand on: real digits, and one small finished run."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from filelock import FileLock

from digitgan import Hyperparameters, Trainer, load_digits
from digitgan.data import datasets
from digitgan.data.tables import write_csv
from digitgan.evaluation import quality
from digitgan.files import ASSET

# of the processes that tests start: several tests run at a time
os.environ.setdefault("OMP_NUM_THREADS", "1")
# judged after each epoch of a run, in place of 1,000: the tests have some hundred epochs
quality.SAMPLES = 100


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def unpacked_once():
    """The repository's MNIST is unpacked once in a process: some hundred runs read it."""
    read, unpacked = datasets.read_idx, {}

    def read_once(path, kinds, sha256=""):
        if path.parent != ASSET / "mnist":
            return read(path, kinds, sha256)
        if path not in unpacked:
            unpacked[path] = read(path, kinds, sha256)
        return unpacked[path].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "read_idx", read_once)
        yield


@pytest.fixture(scope="session")
def train_digits():
    return load_digits(train=True)


@pytest.fixture(scope="session")
def test_digits():
    return load_digits(train=False)


@pytest.fixture(scope="session")
def tiny():
    """Hyperparameters of a run of 16 steps, which takes about a second."""
    size = {"epochs": 2, "images_per_epoch": 256, "batch_size": 32}
    return Hyperparameters(**size, snapshot_interval=2, penalty_interval=2)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A trainer after a run of two small epochs of the default system."""
    hyperparameters = Hyperparameters(epochs=2, images_per_epoch=1280)
    trainer = Trainer(hyperparameters, tmp_path_factory.mktemp("run"))
    trainer.train()
    return trainer


MAIN = {"epochs": 1, "images_per_epoch": 640, "samples": 500, "encoder_steps": 5}
# at its end, what a click on the picker does, and a number
CLICK = """before = picker.png()
picker.digit = 3
assert picker.png() != before and picker.value == "3"
print(picker.digits)"""
NUMBER = "picker.value = '2024'"


@pytest.fixture(scope="session")
def executed_main(tmp_path_factory):
    """A folder with main.ipynb executed by papermill's command with small parameters, as
    out.ipynb, and its files in run/: made once for all processes that test."""
    together = "PYTEST_XDIST_WORKER" in os.environ
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if together else base) / "main"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            notebook = nbformat.read(Path(__file__).parents[1] / "notebooks" / "main.ipynb", 4)
            notebook.cells += map(nbformat.v4.new_code_cell, (CLICK, NUMBER))
            (place / "run").mkdir(parents=True)
            nbformat.write(notebook, place / "run" / "in.ipynb")
            values = MAIN | {"run_dir": place / "run"}
            options = [word for name, v in values.items() for word in ("-p", name, str(v))]
            command = "papermill", place / "run" / "in.ipynb", place / "out.ipynb", *options
            told = subprocess.run(
                [sys.executable, "-m", *map(str, command)],
                cwd=place, capture_output=True, text=True, check=False,
            )  # fmt: skip
            (place / "run" / "told.txt").write_text(told.stderr)
    assert (place / "out.ipynb").exists(), (place / "run" / "told.txt").read_text()[-3000:]
    return place


@pytest.fixture(scope="session")
def torture(pytestconfig):
    """Whether the long versions of tests are asked for."""
    return pytestconfig.getoption("--torture")


@pytest.fixture(scope="session")
def table(torture):
    """Rows of dict(fault, tries, outcome, lost), one for each kind of fault tried, which become
    asset/results/faults.csv."""
    rows = []
    yield rows
    if torture:  # rows of tests that were not asked for stay
        path = ASSET / "results" / "faults.csv"
        old = list(csv.DictReader(path.open())) if path.exists() else []
        write_csv(path, list({row["fault"]: row for row in (*old, *rows)}.values()))


def pytest_addoption(parser):
    parser.addoption("--screenshots", help="folder in which test_browser keeps what it saw")
    text = "long versions: 30 kills, 100,000 hostile inputs"
    parser.addoption("--torture", action="store_true", help=text)
