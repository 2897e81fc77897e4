"""What several tests stand on: real digits, and one small finished run."""

import pytest
import torch

from digitgan import Hyperparameters, Trainer, load_digits


@pytest.fixture(autouse=True)
def two_threads():
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def train_digits():
    return load_digits(train=True)


@pytest.fixture(scope="session")
def test_digits():
    return load_digits(train=False)


@pytest.fixture
def tiny():
    """Hyperparameters of a run that takes about a second."""
    return Hyperparameters(epochs=2, limit=256, batch_size=32, keep_every=2, penalty_every=2)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A trainer after a run of two small epochs of the default system."""
    trainer = Trainer(Hyperparameters(epochs=2, limit=1280), tmp_path_factory.mktemp("run"))
    trainer.train()
    return trainer


def pytest_addoption(parser):
    parser.addoption("--screenshots", help="folder in which test_browser keeps what it saw")
