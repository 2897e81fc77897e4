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

from digitgan import Mistake, Trainer
from digitgan import trainer as trainer_module
from digitgan.hyperparameters import system

PENALTY = {"penalty": "one-centred", "gamma": 1.0, "gamma_end": 1.0}
FIFTY_STEPS = system("fcnn", epochs=2, limit=1600, batch_size=64, precision="fp32", **PENALTY)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def command(tmp_path, hyperparameters, folder):
    config = tmp_path / "config.json"
    config.write_text(hyperparameters.to_json())
    return [*TORCHRUN, "-m", "digitgan", "train", "--config", config, "--run-dir", tmp_path / folder]


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # which only waits for its parent to notice
    except psutil.NoSuchProcess:
        return False


def history(folder):
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_processes_train_as_one_does(tmp_path, table):
    """Each takes half of every batch; weights and history are those of one process. With both kinds of random numbers."""
    hp = FIFTY_STEPS
    told = subprocess.run(command(tmp_path, hp, "two"), capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr[-2000:]
    assert told.stdout.count("epoch 2 of 2") == 2  # each ends in order
    alone = Trainer(hp, tmp_path / "one")
    alone.train()
    one, two = (load_file(tmp_path / folder / "generator.safetensors") for folder in ("one", "two"))
    apart = max(float((one[name] - two[name]).abs().max()) for name in one)
    moved = max(float((one[name] - start).abs().max()) for name, start in Trainer(hp).generator.state_dict().items())
    assert apart < 1e-4 and moved > 1e-2
    for a, b in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        for name in a.keys() - {"seconds", "cpu_seconds", "images_per_second"}:
            assert float(a[name]) == pytest.approx(float(b[name]), rel=1e-3, abs=1e-5), name
    outcome = f"the same training: weights apart by {apart:.0e} at most after 50 steps"
    table.append({"fault": "two processes in place of one", "tries": 1, "outcome": outcome, "lost": 0})


def test_a_batch_must_divide_among_the_processes(monkeypatch):
    monkeypatch.setattr(trainer_module.Accelerator, "num_processes", 2)
    with pytest.raises(Mistake, match="batches of 33 for 2 processes"):
        Trainer(FIFTY_STEPS.replace(batch_size=33))


def started(tmp_path, hyperparameters):
    """Two processes that have trained three epochs into tmp_path/run."""
    words = command(tmp_path, hyperparameters, "run")
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    while not (tmp_path / "run" / "progress" / "003.png").exists():
        assert run.poll() is None
        time.sleep(0.05)
    return run


def test_ctrl_c_ends_all_processes_with_a_whole_checkpoint(tmp_path):
    """The terminal tells all of them, and torchrun tells its processes again."""
    run = started(tmp_path, FIFTY_STEPS.replace(epochs=400, limit=16000))
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
    assert reached >= 2
    wanted = reached + 1
    resumed.train(lambda trainer: len(trainer.history) >= wanted and trainer.stop())
    assert len(resumed.history) == wanted
    table.append(
        {"fault": "one of two processes killed", "tries": 1, "outcome": "both end; the run goes on", "lost": 0}
    )
