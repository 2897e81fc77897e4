"""What the notebooks share: paths, tables, source code as text, and runs in processes of their own.

A run in a process of its own has a number of threads and a clock of its own, so that its
CPU-seconds can be compared with those of others.
"""

import inspect
import math
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from IPython.display import Markdown

from ..data.digits import Digits
from ..data.spec import MNIST
from ..data.tables import markdown_table, read_csv
from ..errors import DigitganError, InvalidInputError
from ..evaluation.classifier import load_classifier
from ..evaluation.quality import SAMPLES, Judge
from ..evaluation.scorecard import Scorecard
from ..files import PROJECT, atomic_write, user_path
from ..hyperparameters import Hyperparameters
from ..runs.processes import cpu_capabilities, native_bf16
from ..systems.presets import Trainer


def project_path(path: str | Path) -> Path:
    """A path relative to the project's folder, as an absolute one; an absolute one stays as it is.

    Notebooks start in `notebooks/`, papermill in its caller's folder: neither is where files go.
    """
    return user_path(PROJECT / Path(path).expanduser())


def machine() -> str:
    """This machine in a few words: cores, vector instructions, whether bfloat16 is native."""
    cores, instructions = os.cpu_count(), torch.backends.cpu.get_cpu_capability()
    units = " and AMX" if cpu_capabilities().get("amx_bf16") else ""
    native = "native" if native_bf16(torch.device("cpu")) else "not native"
    return f"{cores} cores, {instructions}{units}, bfloat16 {native}"


# ---- what a cell shows ----


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> Markdown:
    """A table that shows itself in a notebook.

    note: what its figures were measured with (number of samples, precision, machine), below it.
    """
    text = markdown_table(head, rows)
    return Markdown(f"{text}\n\n{note}" if note else text)


def middle(values: Iterable[float], form: str, to: str = " to ") -> str:
    """The median of some values as a text, with their range where there are several: `4.0 (3.5 to
    4.1)`.

    form: of each, as `format` takes it, such as ".1f".
    """
    ordered = sorted(values)
    text, low, high = (format(v, form) for v in (median(ordered), ordered[0], ordered[-1]))
    return f"{text} ({low}{to}{high})" if len(ordered) > 1 else text


def card_figures(card: Scorecard) -> dict[str, Any]:
    """The figures of a scorecard that the tables of compared runs have, and the distance of real
    training digits beside them."""
    names = "label_accuracy", "frechet_distance", "precision", "recall"
    figures = {name: getattr(card, name) for name in names}
    return figures | {"reference_frechet_distance": card.reference.frechet_distance}  # type: ignore[union-attr]


def source(*functions: Any) -> Markdown:
    """The source of functions, methods or classes, as a notebook shows code."""
    texts = (textwrap.dedent(inspect.getsource(function)).strip() for function in functions)
    return Markdown("```python\n" + "\n\n\n".join(texts) + "\n```")


def parameter_count(network: Any) -> int:
    """How many weights a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def time_estimate(hyperparameters: Hyperparameters, digits: Digits) -> Markdown:
    """How long a run will take on this machine, from the time of its first steps and of judging an
    epoch's samples.

    digits: of the training set, at least a batch. A trainer of its own takes four times
    `penalty_interval` steps: the first half warms up, the second is measured, penalties in it.
    """
    trainer = Trainer(hyperparameters, PROJECT / "runs" / "never-written")
    turn, size = 2 * hyperparameters.penalty_interval, trainer.batch_size
    pixels = torch.from_numpy(digits.images[:size]).to(trainer.device)  # (B, 28, 28)
    y = torch.from_numpy(digits.labels[:size]).to(trainer.device)  # (B,)
    with torch.random.fork_rng():
        for _ in range(turn):
            trainer.train_step(pixels, y)
        start = time.perf_counter()
        for _ in range(turn):
            metrics = trainer.train_step(pixels, y)
        metrics["discriminator_loss"].item()  # a GPU has finished now
    seconds = (time.perf_counter() - start) / turn
    judging = 0.0
    if trainer.spec == MNIST:
        judge = Judge(load_classifier(), digits.spread(SAMPLES))
        start = time.perf_counter()
        judge(trainer.averaged.module)
        judging = time.perf_counter() - start
    epochs = hyperparameters.epochs
    total = seconds * trainer.total_steps + judging * epochs
    length = f"{total / 60:.1f} minutes" if total > 90 else f"{total:.0f} seconds"
    products = "bfloat16" if trainer.bf16 else "float32"
    steps = f"{trainer.total_steps:,} steps of {1000 * seconds:.0f} ms in {products}"
    looks = f"{epochs} looks at the samples of {judging:.1f} s"
    return Markdown(
        f"Training will take about **{length}** on this machine: {steps}, {looks} ({machine()})."
    )


# ---- runs in processes of their own ----


def run_python(*words: Any, threads: int = 1, processes: int = 1) -> str:
    """Run Python with the given arguments, and return what it printed.

    run_python("-m", "digitgan", "train", "--epochs", 1) is a command line, run_python(file) a
    program. threads: of each process. processes: several share the work through torchrun; then the
    first word must be a file.

    Raises `InvalidInputError` where it ends with exit code 2, `DigitganError` with another one than
    0; either has the last line that it printed as an error, and all of them are printed.
    """
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    command = [sys.executable, *(several if processes > 1 else []), *words]
    ended = subprocess.run(
        list(map(str, command)),
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        print(ended.stderr, file=sys.stderr)
        *_, last = ended.stderr.strip().splitlines() or ["it printed no error"]
        kind = InvalidInputError if ended.returncode == 2 else DigitganError
        told = textwrap.shorten(" ".join(map(str, words)), 60, placeholder=" ...")
        raise kind(f"python {told}: ended with exit code {ended.returncode}: {last}")
    return ended.stdout


def train_run(hyperparameters: Hyperparameters, run_dir: str | Path) -> list[dict[str, Any]]:
    """Train by the command line, with one thread; returns the rows of the run's history.

    A run that is in the folder already is continued; where it is finished, its history is read.
    """
    run_dir = Path(run_dir)
    config = run_dir.with_name(f"{run_dir.name}.json")
    atomic_write(config, hyperparameters.to_json().encode())
    run_python("-m", "digitgan", "train", "--config", config, "--run-dir", run_dir)
    return read_csv(run_dir / "history.csv")


def train_speed(hyperparameters: Hyperparameters, run_dir: str | Path, steps: int = 150) -> float:
    """Images per CPU-second on this machine, in the second epoch of a run of two short ones."""
    images = steps * hyperparameters.batch_size
    trial = begun(run_dir) or hyperparameters.replace(epochs=2, images_per_epoch=images)
    first, second = train_run(trial, run_dir)
    return (second["images"] - first["images"]) / second["cpu_seconds"]


def train_within(
    budget: float,
    hyperparameters: Hyperparameters,
    speed: float,
    run_dir: str | Path,
    epochs: int = 4,
) -> list[dict[str, Any]]:
    """Train for a budget of CPU-seconds at a known speed (images per CPU-second), as `train_run`.

    The schedule ends with the budget. The run has so many epochs or more, none longer than 60,000
    images. One that was begun in the folder goes on as it was planned then.
    """
    images = budget * speed
    epochs = max(epochs, math.ceil(images / 60_000))
    images_per_epoch = max(hyperparameters.batch_size, int(images / epochs))
    planned = hyperparameters.replace(epochs=epochs, images_per_epoch=images_per_epoch)
    return train_run(begun(run_dir) or planned, run_dir)


def begun(run_dir: str | Path) -> Hyperparameters | None:
    """The hyperparameters of the run in a folder, or None where there is no run."""
    path = Path(run_dir) / "hyperparameters.json"
    return Hyperparameters.from_json(path) if path.is_file() else None
