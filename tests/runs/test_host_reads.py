"""No step waits for the device: what a step measures stays there until it is fetched."""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from digitgan import Hyperparameters, Trainer
from digitgan.data.batches import Batches
from digitgan.runs.metrics import STEP_METRICS, EpochMetrics

READS = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "item")


class HostReads(TorchDispatchMode):
    """Counts the operations that return a tensor's value to Python."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket.__name__ in READS
        return function(*args, **(kwargs or {}))


class OnMeta(Trainer):
    """A trainer on the device `meta`, whose tensors have no values that could be read."""

    def start_over(self):
        self.device = torch.device("meta")
        super().start_over()

    def build_optimizers(self):
        rates = self.hyperparameters.generator_lr, self.hyperparameters.discriminator_lr
        networks = self.generator, self.discriminator  # the fused Adam is not for this device
        pairs = zip(networks, rates, strict=True)
        return tuple(torch.optim.SGD(network.parameters(), rate) for network, rate in pairs)


def batch(digits):
    return torch.from_numpy(digits.images[:32]), torch.from_numpy(digits.labels[:32])


def test_the_counter_counts():
    with HostReads() as reads:
        torch.ones(3).sum().item()
        bool(torch.ones(()) > 0)
    assert reads.count == 2


@pytest.mark.parametrize("updates", ["one-stage", "alternating"])
def test_a_step_reads_nothing_back(updates, train_digits):
    trainer = Trainer(Hyperparameters(batch_size=32, updates=updates, penalty_interval=2))
    pixels, y = batch(train_digits)
    with HostReads() as reads:
        for _ in range(3):  # with and without a penalty
            metrics = trainer.train_step(pixels, y)
            trainer.metrics.add(metrics, 0.0, 0.0)
    assert reads.count == 0
    assert set(metrics) == set(STEP_METRICS)
    with HostReads() as reads:
        assert len(trainer.metrics.means(3)) == 7
    assert reads.count == 0  # one copy of all steps, no reads of single values


READINGS = {
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "cpu": lambda x: x.cpu(),
    "a mask": lambda x: x[x > 0],
    "float": lambda x: float(x.sum()),
    "if": lambda x: bool(x.sum() > 0),
}


@pytest.mark.parametrize("updates", ["one-stage", "alternating"])
def test_a_step_works_where_nothing_can_be_read_back(updates, train_digits, monkeypatch):
    """On the device `meta` every reading raises, also those that go by a copy."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # not there
    trainer = OnMeta(Hyperparameters(batch_size=32, updates=updates, penalty_interval=2))
    pixels, y = (part.to("meta") for part in batch(train_digits))
    for _ in range(3):
        metrics = trainer.train_step(pixels, y)
        trainer.metrics.add(metrics, 0.0, 0.0)
    assert {value.device.type for value in metrics.values()} == {"meta"}
    for read in READINGS.values():
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            read(metrics["penalty"].reshape(1))


def test_sums_do_not_depend_on_when_they_are_fetched(train_digits):
    rows = [{name: torch.randn(()) for name in STEP_METRICS} for _ in range(7)]
    at_once, often = EpochMetrics(lambda values: values), EpochMetrics(lambda values: values)
    for row in rows:
        at_once.add(row, 0.1, 0.2)
        often.add(row, 0.1, 0.2)
        often.fetch()
    assert at_once.means(7) == often.means(7)


def test_a_set_on_the_device_gives_the_same_batches(train_digits, monkeypatch):
    """As on a GPU, where the whole set is kept; here on the CPU."""
    usual = Batches(train_digits[:100], 16, 100, seed=3)
    resident = Batches(train_digits[:100], 16, 100, seed=3)
    resident._resident = (
        torch.from_numpy(usual.digits.images),
        torch.from_numpy(usual.digits.labels),
    )
    for step in range(12):
        assert torch.equal(usual.rows(step), resident.rows(step))
        pairs = zip(usual.load(usual.rows(step)), resident.load(resident.rows(step)), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
