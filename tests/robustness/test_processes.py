"""Several processes train as one does: torchrun on this machine's processor."""

import csv
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from safetensors.torch import load_file

from digitgan import Hyperparameters, InvalidInputError, Trainer
from digitgan.runs import processes
from digitgan.systems import system

SIZE = {"epochs": 2, "images_per_epoch": 1600, "batch_size": 64, "precision": "fp32"}
FIFTY_STEPS = system("fcnn", **SIZE)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

# A system without BatchNorm, whose steps draw latents and mixtures of images. The arguments are
# hyperparameters and folder of one run after another.
MIXTURES = """
import sys

import torch
from torch import nn

from digitgan.hyperparameters import Hyperparameters
from digitgan.systems.cdcgan_gp import wgan_gp_penalty
from digitgan.models import BUILDERS, Discriminator, Generator
from digitgan.runs.run import TRAINERS
from digitgan.trainer import Trainer


def build(hp):
    layers = nn.Linear(hp.z_dim + hp.embedding_dim, 128), nn.LeakyReLU(0.2), nn.Linear(128, 784)
    generator = nn.Sequential(*layers, nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.LeakyReLU(0.2))
    return Generator(generator, hp), Discriminator(discriminator, 128, hp)


class MixtureTrainer(Trainer):
    def penalty(self, real, fake, y):
        alpha = self.processes.shard(torch.rand(self.batch_size, 1, 1, 1))
        return wgan_gp_penalty(self.discriminator, real, fake, y, alpha)


BUILDERS["mixtures"] = build
TRAINERS["mixtures"] = MixtureTrainer
for config, folder in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    print("epochs:", len(Trainer(Hyperparameters.from_json(config), folder).train()))
"""
UPDATES = "one-stage", "alternating"


def command(tmp_path, hyperparameters, folder):
    """The words of `digitgan train`."""
    config = tmp_path / "config.json"
    config.write_text(hyperparameters.to_json())
    return ["-m", "digitgan", "train", "--config", config, "--run-dir", tmp_path / folder]


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # which only waits for its parent to notice
    except psutil.NoSuchProcess:
        return False


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def train_mixtures(place):
    """Train by one process and by two, in one start each, in one/<updates> and two/<updates>."""
    own = {"system": "mixtures", "architecture": "own", "aux_weight": 0, "loss": "non-saturating"}
    penalty = {"gamma": 1.0, "gamma_end": 1.0, "penalty_interval": 2}
    hp = Hyperparameters(**SIZE, **own, **penalty, snapshot_interval=1)
    script = place / "mixtures.py"
    script.write_text(MIXTURES)
    for updates in UPDATES:
        (place / f"{updates}.json").write_text(hp.replace(updates=updates).to_json())
    for count, launcher in (("one", [sys.executable]), ("two", TORCHRUN)):
        runs = [word for name in UPDATES for word in (place / f"{name}.json", place / count / name)]
        told = subprocess.run(
            [*launcher, script, *runs], capture_output=True, text=True, timeout=240, check=False
        )
        assert told.returncode == 0, told.stderr[-2000:]
        assert told.stdout.count("epochs: 2") == 2 * (1 + (count == "two"))  # each ends in order


def test_two_processes_train_as_one_does(tmp_path, table):
    """Each takes half of every batch; weights and history are those of one process. With both kinds
    of random numbers, latents and mixtures of images."""
    train_mixtures(tmp_path)
    apart = [
        assert_the_same_training(tmp_path / "one" / updates, tmp_path / "two" / updates)
        for updates in UPDATES
    ]
    outcome = f"the same training: weights apart by {max(apart):.0e} at most after 50 steps"
    fault = "two processes in place of one"
    table.append({"fault": fault, "tries": 2, "outcome": outcome, "lost": 0})


def assert_the_same_training(*folders):
    """How far apart the weights of two runs are at most."""
    one, two = (load_file(folder / "generator.safetensors") for folder in folders)
    half_way = load_file(folders[0] / "weights" / "001-generator.safetensors")
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    moved = max(float((one[name] - half_way[name]).abs().max()) for name in one)
    assert apart < 1e-4 and moved > 1e-2
    for a, b in zip(*map(history, folders), strict=True):
        for name in a.keys() - {"seconds", "cpu_seconds", "images_per_second"}:
            assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-3, abs=1e-5), name
        assert float(a["penalty"]) > 0
    return apart


def test_a_batch_must_divide_among_the_processes(monkeypatch):
    monkeypatch.setattr(processes.Accelerator, "num_processes", 2)
    with pytest.raises(InvalidInputError, match="batches of 33 for 2 processes"):
        Trainer(FIFTY_STEPS.replace(batch_size=33))


def started(tmp_path, hyperparameters):
    """Two processes that have trained two epochs into tmp_path/run."""
    words = [*TORCHRUN, *command(tmp_path, hyperparameters, "run")]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    run = subprocess.Popen(words, start_new_session=True, **streams)
    while not (tmp_path / "run" / "progress" / "002.png").exists():
        assert run.poll() is None
        time.sleep(0.05)
    return run


def test_ctrl_c_ends_all_processes_with_a_whole_checkpoint(tmp_path):
    """The terminal tells all of them, and torchrun tells its processes again."""
    run = started(tmp_path, FIFTY_STEPS.replace(epochs=400, images_per_epoch=16000))
    time.sleep(0.5)  # in the middle of an epoch
    os.killpg(run.pid, signal.SIGINT)
    told, _ = run.communicate(timeout=60)
    assert told.count("epoch ") == 2  # each ends in order
    step = int(re.search("stopped after step ([0-9,]+) of", told)[1].replace(",", ""))
    assert step % 250 and Trainer.resume(tmp_path / "run").step == step


def test_one_process_killed_ends_the_others_and_the_run_goes_on(tmp_path, table):
    hp = FIFTY_STEPS.replace(epochs=400)
    run = started(tmp_path, hp)
    workers = [p for p in psutil.Process(run.pid).children() if "digitgan" in p.cmdline()]
    (second,) = [p for p in workers if p.environ().get("RANK") == "1"]
    os.kill(second.pid, signal.SIGKILL)
    assert run.wait(180) != 0
    for _ in range(300):
        if any(map(alive, workers)):
            time.sleep(0.1)
    assert not any(map(alive, workers))
    resumed = Trainer.resume(tmp_path / "run")
    reached = len(resumed.history)
    assert reached >= 1
    wanted = reached + 1
    resumed.train(lambda trainer: len(trainer.history) >= wanted and trainer.stop())
    assert len(resumed.history) == wanted
    fault, outcome = "one of two processes killed", "both end; the run goes on"
    table.append({"fault": fault, "tries": 1, "outcome": outcome, "lost": 0})
