"""What laptops and users do to a run: killed, disk full, folder deleted, files damaged. Nothing may
be lost.

`--torture` tries more often, and adds the rows to asset/results/faults.csv.
"""

import csv
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from digitgan import Hyperparameters, RunFolderError, Trainer, TrainingDivergedError
from digitgan.evaluation import quality
from digitgan.runs.run import TRAINERS
from digitgan.systems import system

# a few seconds
SMALL = system("fcnn", epochs=12, images_per_epoch=640, snapshot_interval=4, ema_half_life=1000.0)
WALL_CLOCK = {"seconds", "cpu_seconds", "images_per_second"}


TRAIN = """
import torch
from digitgan import Hyperparameters, Trainer
from digitgan.evaluation import quality
torch.set_num_threads(1)
quality.SAMPLES = {samples}
Trainer(Hyperparameters.from_text({text!r}), {folder!r}).train()
"""


@pytest.fixture(scope="session")
def start():
    """start(folder) trains `SMALL`, or others, there in a process of its own. It has torch loaded
    already, so that a kill strikes training and not its imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "digitgan.systems.presets",
            "digitgan.evaluation.quality",
            "torch.utils.tensorboard",
            "torch._dynamo",  # of the first optimiser
            "imageio",
        ]
    )

    def start(folder, hyperparameters=SMALL):
        code = TRAIN.format(
            text=hyperparameters.to_json(), folder=str(folder), samples=quality.SAMPLES
        )
        child = context.Process(target=exec, args=(code,))
        child.start()
        return child

    return start


@pytest.fixture(scope="session")
def unbroken(start, tmp_path_factory):
    """What a run leaves that was never stopped, and the seconds it took."""
    start(tmp_path_factory.mktemp("warm"), SMALL.replace(epochs=1)).join()
    folder, begin = tmp_path_factory.mktemp("unbroken"), time.monotonic()
    start(folder).join()
    return contents(folder), time.monotonic() - begin


def row(table, fault, tries, outcome, lost=0):
    """Add a row to the table of faults."""
    table.append({"fault": fault, "tries": tries, "outcome": outcome, "lost": lost})


def plain(value):
    """Tensors as something that can be compared."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in WALL_CLOCK}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return (value.dtype, value.tolist()) if isinstance(value, torch.Tensor) else value


def contents(folder):
    """All that a run folder holds, but for wall-clock times."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    state["sums"] = state["sums"][:-2]
    board = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "images": 0}).Reload()
    tags = board.Tags()
    with (folder / "history.csv").open() as file:
        history = plain(list(csv.DictReader(file)))
    names = "hyperparameters.json", "progression.gif", "generator.safetensors"
    paths = [folder / name for name in names]
    paths += [*sorted(folder.glob("progress/*")), *sorted(folder.glob("weights/*"))]
    scalars = {tag: board.Scalars(tag) for tag in tags["scalars"] if tag not in WALL_CLOCK}
    images = {tag: board.Images(tag) for tag in tags["images"]}
    return {
        "state": plain(state),
        "history": history,
        "files": {str(path.relative_to(folder)): path.read_bytes() for path in paths},
        "scalars": {t: [(e.step, e.value) for e in scalars[t]] for t in scalars},
        "images": {t: [(e.step, e.encoded_image_string) for e in images[t]] for t in images},
    }


@pytest.mark.xdist_group("unbroken")  # one such run serves both
def test_killed_at_any_moment_and_resumed_is_the_same_to_the_bit(
    start, unbroken, tmp_path, torture, table
):
    """Two of three kills at random moments, one while a file is being written."""
    expected, seconds = unbroken
    rng, kills, in_saves = random.Random(0), 0, 0
    tries = 30 if torture else 3
    while kills < tries:
        folder, wait = tmp_path / str(kills), rng.uniform(0.02, 0.8) * seconds
        shutil.rmtree(folder, ignore_errors=True)
        child = start(folder)
        time.sleep(wait)
        while kills % 3 == 0 and child.is_alive() and not any(folder.rglob("*.partial")):
            time.sleep(0.0005)
        child.kill()
        child.join()
        if child.exitcode != -signal.SIGKILL:  # it was faster
            continue
        in_save = any(folder.rglob("*.partial"))
        if kills % 3 == 0 and not in_save:  # it was faster
            continue
        kills, in_saves = kills + 1, in_saves + in_save
        child = start(folder)
        child.join()
        assert child.exitcode == 0
        assert contents(folder) == expected
    compared = "weights, history, pictures, TensorBoard"
    outcome = f"resumed, equal to the bit: {compared} ({in_saves} of them in a save)"
    row(table, "SIGKILL at a random moment", kills, outcome)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 32 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount") or "false"
    command = [mount, "-t", "tmpfs", "-o", "size=32m", "none", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk: mounting one needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.xdist_group("unbroken")  # one such run serves both
def test_a_full_disk_is_told_and_training_goes_on_when_there_is_room(
    small_disk, unbroken, table, torture
):
    tries = 10 if torture else 2
    expected, _ = unbroken
    for i in range(tries):
        filler, folder = small_disk / "filler", small_disk / "run"

        def fill(trainer, filler=filler, i=i):
            if len(trainer.history) == 1 + i:
                room = shutil.disk_usage(small_disk).free  # a checkpoint takes 5 MB
                filler.write_bytes(bytes(room - 400_000 - 800_000 * (i % 5)))

        rule = r"cannot be written.*No space left on device"
        with pytest.raises(RunFolderError, match=rule) as told:
            Trainer(SMALL, folder).train(fill)
        assert "\n" not in str(told.value)
        kept = Trainer.resume(folder)
        assert len(kept.history) >= 1 + i
        filler.unlink()
        kept.train()
        assert contents(folder) == expected
        shutil.rmtree(folder)
    row(table, "disk full", tries, "told; with room again resumed to the bit")


def test_a_folder_that_cannot_be_written_is_told(request, tmp_path, table):
    if os.geteuid():
        place = tmp_path / "mine"
        place.mkdir(mode=0o500)
    else:  # root may write everywhere but to a disk that is read-only
        place = request.getfixturevalue("small_disk")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    command = [sys.executable, "-m", "digitgan", "train", "--system", "fcnn", "--epochs", "1"]
    command += ["--images-per-epoch", "64", "--run-dir", str(place / "run")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and len(told.stderr.splitlines()) == 1
    assert "cannot be written" in told.stderr
    row(table, "folder that cannot be written", 1, "told, exit code 1")


@pytest.mark.parametrize("moment", ["epoch", "step"])
def test_a_run_folder_deleted_under_it_is_told_and_not_half_made_again(tmp_path, moment, table):
    folder = tmp_path / "run"

    class Deleted(TRAINERS["fcnn"]):
        def train_step(self, *batch):
            if moment == "step" and self.step == 25:
                shutil.rmtree(folder)
                self.stop()
            return super().train_step(*batch)

    def delete(trainer):
        if moment == "epoch" and len(trainer.history) == 1:
            shutil.rmtree(folder)

    with pytest.raises(RunFolderError, match="was deleted or moved while training"):
        Deleted(SMALL, folder).train(delete)
    assert not folder.exists()
    if moment == "step":
        outcome = "told; not made again by halves"
        row(table, "run folder deleted in training", 2, outcome, "what was deleted")


def test_a_folder_made_again_under_a_trainer_is_not_written_by_it(tmp_path):
    folder = tmp_path / "run"

    def replace(trainer):
        if len(trainer.history) == 1:
            shutil.rmtree(folder)
            Trainer(SMALL.replace(epochs=1), folder).train()

    with pytest.raises(RunFolderError, match="was deleted or moved while training"):
        Trainer(SMALL, folder).train(replace)
    assert len(Trainer.resume(folder).history) == 1


def test_two_trainers_do_not_share_a_folder(start, tmp_path, table):
    told = []

    def second(trainer):
        if len(trainer.history) == 1:
            before = (tmp_path / "checkpoint.pt").read_bytes()
            with pytest.raises(RunFolderError, match="another process trains in it") as refusal:
                Trainer(SMALL, tmp_path).train()
            told.append(str(refusal.value))
            other = start(tmp_path)
            other.join()
            assert other.exitcode == 1
            assert (tmp_path / "checkpoint.pt").read_bytes() == before

    assert len(Trainer(SMALL, tmp_path).train(second)) == 12 and told
    outcome = "the second told, the first undisturbed; free after a kill"
    row(table, "two trainers in one folder", 2, outcome)


def test_other_hyperparameters_are_refused_by_the_field_that_differs(tmp_path, table):
    hp = SMALL.replace(epochs=2)
    Trainer(hp, tmp_path).train()
    others = [{"epochs": 3}, {"generator_lr": 0.1}, {"z_dim": 8}, {"seed": 5}, {"batch_size": 64}]
    for other in others:
        with pytest.raises(RunFolderError, match=f"{next(iter(other))} = .*, asked for"):
            Trainer(hp.replace(**other), tmp_path).train()
        path = tmp_path / "hyperparameters.json"
        text = path.read_text()
        path.write_text(json.dumps(json.loads(text) | other))
        with pytest.raises(RunFolderError, match=f"{next(iter(other))} = .*, asked for"):
            Trainer.resume(tmp_path)
        path.write_text(text)
    assert len(Trainer.resume(tmp_path).history) == 2
    outcome = "told which field differs, nothing overwritten"
    row(table, "checkpoint of other hyperparameters", 2 * len(others), outcome)


def test_an_orphaned_checkpoint_is_refused_before_anything_is_written_beside_it(tmp_path):
    Trainer(SMALL.replace(epochs=1), tmp_path).train()
    (tmp_path / "hyperparameters.json").unlink()
    with pytest.raises(RunFolderError, match=r"seed = .*, asked for 5"):
        Trainer(SMALL.replace(epochs=1, seed=5), tmp_path).train()
    assert not (tmp_path / "hyperparameters.json").exists()
    assert len(Trainer(SMALL.replace(epochs=1), tmp_path).train()) == 1


def test_a_run_from_before_a_hyperparameter_existed_goes_on(tmp_path):
    Trainer(SMALL.replace(epochs=1), tmp_path).train()
    state = torch.load(tmp_path / "checkpoint.pt")
    del state["hyperparameters"]["augment_shift"]
    torch.save(state, tmp_path / "checkpoint.pt")
    assert len(Trainer.resume(tmp_path).train()) == 1


def test_a_run_does_not_go_on_with_other_digits(tmp_path, train_digits):
    """Those of one's own data_dir are not silently replaced by the repository's of the same
    name."""
    hp = SMALL.replace(epochs=2, images_per_epoch=64)
    train_digits[:200].to_idx(tmp_path / "mine")
    Trainer(hp, tmp_path / "run", tmp_path / "mine").train(lambda trainer: trainer.stop())
    with pytest.raises(RunFolderError, match="other images than those of MNIST"):
        Trainer.resume(tmp_path / "run").train()
    with pytest.raises(RunFolderError, match="other images than those given"):
        Trainer.resume(tmp_path / "run", digits=train_digits[:199]).train()
    assert len(Trainer.resume(tmp_path / "run", tmp_path / "mine").train()) == 2


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_serves(
    tmp_path, capsys, table, torture
):
    """One bit flipped, a stretch overwritten, the end cut off: what is loaded is one of the two
    that were saved."""
    hp = SMALL.replace(epochs=3)
    Trainer(hp, tmp_path / "run").train()
    path = tmp_path / "run" / "checkpoint.pt"
    last, before = path.read_bytes(), path.with_name("checkpoint.previous.pt").read_bytes()
    rng, fallen_back = random.Random(1), 0
    tries = 300 if torture else 24
    for i in range(tries):
        damaged = bytearray(last)
        if i % 3 == 0:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        elif i % 3 == 1:
            start = rng.randrange(len(damaged))
            damaged[start : start + 4096] = rng.randbytes(len(damaged[start : start + 4096]))
        else:
            del damaged[rng.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        path.with_name("checkpoint.previous.pt").write_bytes(before)
        resumed = Trainer.resume(tmp_path / "run")
        assert len(resumed.history) in (2, 3)
        told = "checkpoint.pt cannot be read" in capsys.readouterr().err
        assert told == (len(resumed.history) == 2)
        if not told:  # the bit lies where nothing is stored
            (tmp_path / "good.pt").write_bytes(last)
            found, good = (torch.load(p, weights_only=True) for p in (path, tmp_path / "good.pt"))
            assert plain(found) == plain(good)
        fallen_back += told
    assert fallen_back > 0.9 * tries
    none = f"in {tries - fallen_back} a bit that holds nothing"
    outcome = f"{fallen_back} noticed, told, the one before served; {none}"
    row(table, "checkpoint damaged or truncated", tries, outcome, "at most an epoch")


class Brilliant(TRAINERS["fcnn"]):
    """Real images a thousand times brighter than they may be."""

    def to_images(self, pixels):
        return 1000 * super().to_images(pixels)


def test_divergence_is_told_and_the_last_good_state_kept(tmp_path, table):
    steep = {"loss": "wasserstein", "discriminator_lr": 1.0, "generator_lr": 1.0, "gamma": 0.0}
    size = {"epochs": 12, "images_per_epoch": 640}
    wild = {
        "exploding logits": (Trainer, Hyperparameters(aux_weight=0, **steep, **size)),
        "exploding losses": (Brilliant, SMALL.replace(discriminator_lr=1.0)),
    }
    for name, (trainer, hp) in wild.items():
        rule = r"diverged and stopped.*may help"
        with pytest.raises(TrainingDivergedError, match=rule) as told:
            trainer(hp, tmp_path / name).train()
        assert "\n" not in str(told.value)
        kept = Trainer.resume(tmp_path / name)
        assert all(p.isfinite().all() for p in kept.averaged.parameters())
    outcome = "stopped, what to try is told, the last good checkpoint kept"
    row(table, "divergence", len(wild), outcome)


def test_a_notebook_killed_in_training_goes_on_when_run_again(tmp_path, torture, table):
    if not torture:
        pytest.skip("long: the notebook itself, killed and run again, comes with --torture")
    notebook = Path(__file__).parents[2] / "notebooks" / "main.ipynb"
    parameters = {"epochs": 6, "images_per_epoch": 6400, "run_dir": tmp_path / "run"}
    words = [str(word) for name, value in parameters.items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "digitgan", "run", str(notebook), *words]
    command += ["--output", str(tmp_path / "out.ipynb")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen(command, start_new_session=True, **quiet)
    while not (tmp_path / "run" / "progress" / "003.png").exists():
        time.sleep(0.1)
        assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    early = (tmp_path / "run" / "progress" / "001.png").stat().st_mtime_ns
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "run" / "progress" / "001.png").stat().st_mtime_ns == early
    assert len(Trainer.resume(tmp_path / "run").history) == 6
    outcome = "run again from the first cell: goes on, no epoch trained twice"
    row(table, "notebook killed in training", 1, outcome)
