"""What several tests stand on: real digits, and one small finished run."""

import csv
import os

import pytest
import torch

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
