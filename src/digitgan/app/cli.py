"""The command line: arguments in, calls out. `digitgan --help` does not wait for torch."""

import argparse
import contextlib
import functools
import io
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from ..common import Mistake, check_number, complain
from ..hyperparameters import Hyperparameters, system


def main():
    """Run the command that `sys.argv` asks for; a user's mistake exits with 2 and one line."""
    try:
        sys.exit(parse(sys.argv[1:])())
    except (Mistake, OSError) as error:
        sys.exit(complain(error, 2))
    except KeyboardInterrupt:
        sys.exit(complain("interrupted", 130))


def parse(arguments):
    """The call that the arguments ask for, ready to be made. Raises `Mistake` in one line."""
    commands = train_from(preset(arguments)), run, generate, export, score, reader
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.extras.subcommand_cli_from_dict(
                {command.__name__: later(command) for command in commands},
                prog="digitgan",
                description="Train, measure and play with generators of handwritten digits.",
                args=arguments,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as end:
        if end.code:  # tyro's box: its first paragraph says what is wrong
            lines = [line.strip("│ ") for line in told.getvalue().splitlines() if line.startswith("│")]
            said = lines[: next((i for i, line in enumerate(lines) if line.startswith("──")), len(lines))]
            raise Mistake(" ".join(said) or told.getvalue()) from None
        raise


def later(command):
    """The same command to tyro, but calling it only gives the call, to be made when all arguments are read."""

    @functools.wraps(command)
    def put_off(*values, **named):
        return functools.partial(command, *values, **named)

    return put_off


def preset(arguments):
    """The hyperparameters that --system or --config name: the defaults of all other flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--system", nargs="?")
    parser.add_argument("--config", nargs="?")
    parser.add_argument("--resume", nargs="?")
    parser.add_argument("--data-dir", "--data_dir", nargs="?")
    known, others = parser.parse_known_args(arguments)
    if known.resume and (known.config or known.system or others != ["train"]):
        raise Mistake("--resume continues a run as it was asked for: leave out all flags but --data-dir")
    if known.config and known.system:
        raise Mistake("--system and --config: give one of them")
    return Hyperparameters.from_json(known.config) if known.config else system(known.system or "cdcgan")


def train_from(start):
    def train(
        hyperparameters: Annotated[Hyperparameters, tyro.conf.arg(name="")] = start,
        system: str = "cdcgan",
        config: Path | None = None,
        resume: Path | None = None,
        run_dir: Path | None = None,
        data_dir: Path | None = None,
    ):
        """Train a system; Ctrl-C stops it, the same command continues.

        Args:
            system: Preset to start from.
            config: JSON file of hyperparameters to start from.
            resume: Run folder to continue as it was asked for.
            run_dir: Where to write; runs/<system>, or runs/<config's name>, if left out.
            data_dir: Where a data set other than the repository's MNIST lies.
        """
        from ..trainer import Trainer

        if resume:
            trainer = Trainer.resume(resume, data_dir)
        else:
            trainer = Trainer(hyperparameters, run_dir or Path("runs") / (config.stem if config else system), data_dir)
        trainer.train()
        print(f"epoch {len(trainer.history)} of {trainer.hyperparameters.epochs}; see {trainer.run_dir}")
        return 130 if trainer.step < trainer.total else 0

    return train


def run(
    notebook: tyro.conf.Positional[Path],
    parameter: Annotated[tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]], tyro.conf.arg(aliases=["-p"])] = (),
    output: Path | None = None,
    jobs: int = 1,
    in_place: bool = False,
):
    """Execute a notebook from top to bottom: papermill, with the parameters' names checked first.

    Several values for a parameter (-p lr 0.1 0.2) run every combination, each in a folder of its own, and end in
    one table. What is done already is not run again, what fails does not stop the rest.

    Args:
        notebook: The notebook.
        parameter: A parameter's name and its value, or several values; may be given several times.
        output: Where the executed notebook goes, a folder for several; below runs/ if left out.
        jobs: How many to run at a time.
        in_place: Write it back into NOTEBOOK, as it is committed: without widget state.
    """
    from .notebooks import execute, sweep

    grid = {words[0]: words[1:] for words in parameter if len(words) > 1}
    if len(grid) < len(parameter):
        raise Mistake("-p: must be a name and its values, each name once, as in -p epochs 3")
    if all(len(values) == 1 for values in grid.values()):
        return execute(notebook, {name: value for name, (value,) in grid.items()}, output, in_place)
    if in_place or jobs < 1:
        raise Mistake(f"--jobs {jobs}, --in-place {in_place}: several values go to folders, 1 or more at a time")
    return sweep(notebook, grid, output or Path("runs") / f"{notebook.stem}-sweep", jobs)


def generate(
    number: tyro.conf.Positional[str],
    out: Path = Path("number.png"),
    generator: Path | None = None,
    inverted: bool = False,
    seed: int | None = None,
):
    """Write a whole number in one hand, as one picture; long ones wrap.

    Args:
        number: Its digits, with spaces if you like; as many as you like.
        out: The PNG to write.
        generator: A generator.safetensors; the repository's own if left out.
        inverted: Ink on white paper.
        seed: Of the handwriting; a new one each time if left out.
    """
    check_number(number)  # before waiting for torch
    from ..handwriting.sampling import write
    from ..models import load_generator

    digits = write(load_generator(generator), number, seed)
    print(f"see {digits.save(out, strip=True, inverted=inverted)}")


def score(generator: Path | None = None, num: int = 10_000, seed: int = 0, teach: bool = False):
    """Judge a generator's digits against real ones.

    Args:
        generator: A generator.safetensors; the repository's own if left out.
        num: Digits to generate, with balanced labels.
        seed: Of their latents, and of the real digits in the floor.
        teach: Also train readers on 60,000 generated and on the real digits, a few minutes.
    """
    from ..models import load_generator
    from ..evaluation.classifier import READS
    from ..evaluation.scorecard import score_generator

    if not 0 <= seed < 2**32:
        raise Mistake(f"--seed {seed}: must be from 0 to {2**32 - 1}")
    network = load_generator(generator)
    if (dataset := network.hyperparameters.dataset) not in READS:
        raise Mistake(f"{generator}: trained on {dataset}, the reader reads the digits 0 to 9")
    print(score_generator(network, num, seed, teach=teach))


def export(out: Path, count: int = 60_000, test_count: int = 10_000, generator: Path | None = None, seed: int = 0):
    """Write a synthetic MNIST, which torchvision.datasets.MNIST(OUT) reads: uncompressed IDX files in OUT/MNIST/raw.

    Args:
        out: The folder.
        count: Training digits, with balanced labels.
        test_count: Test digits.
        generator: A generator.safetensors; the repository's own if left out.
        seed: Of the latents.
    """
    if min(count, test_count) < 1:
        raise Mistake(f"--count {count}, --test-count {test_count}: must be 1 or more")
    from ..data.digits import write_idx
    from ..handwriting.sampling import stream
    from ..models import load_generator

    network = load_generator(generator)
    if not network.hyperparameters.conditional:
        raise Mistake(f"{generator}: an unconditional generator's digits have no labels, a data set needs them")
    write_idx(out, stream(network, count, seed), count, train=True)
    print(f"see {write_idx(out, stream(network, test_count, seed ^ 1 << 31), test_count, train=False)}")


def reader(out: Path = Path("runs/reader.safetensors"), epochs: int = 12, seed: int = 0):
    """Train the scorecard's reader on the real training digits.

    Args:
        out: Where its weights go.
        epochs: Passes over the 60,000 digits.
        seed: Of its weights and of the digits' order.
    """
    from ..evaluation.classifier import train_reader

    print(json.dumps({"accuracy on 10,000 test digits": train_reader(out, epochs, seed), "see": str(out)}))
