"""The command line: arguments in, calls out. `digitgan --help` does not wait for torch."""

import argparse
import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from .common import Mistake, write_whole
from .hyperparameters import Hyperparameters, system


def main():
    """Run the command that `sys.argv` asks for; a user's mistake exits with 2 and one line."""
    try:
        sys.exit(parse(sys.argv[1:])())
    except (Mistake, OSError) as error:
        sys.exit(complain(error, 2))
    except FloatingPointError as error:
        sys.exit(complain(error, 1))
    except KeyboardInterrupt:
        sys.exit(complain("interrupted", 130))


def complain(error, code):
    print("digitgan:", " ".join(str(error).split()), file=sys.stderr)
    return code


def parse(arguments):
    """The call that the arguments ask for, ready to be made. Raises `Mistake` in one line."""
    commands = {"train": train_from(preset(arguments)), "run": run, "generate": generate, "score": score}
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.extras.subcommand_cli_from_dict(
                commands | {"reader": reader},
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


def preset(arguments):
    """The hyperparameters that --system or --config name: the defaults of all other flags."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--system", nargs="?")
    parser.add_argument("--config", nargs="?")
    known, _ = parser.parse_known_args(arguments)
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
            run_dir: Where to write; runs/<system> if left out.
            data_dir: Where a data set other than the repository's MNIST lies.
        """

        def call():
            from .trainer import Trainer

            if resume and hyperparameters != start:
                raise Mistake("--resume continues a run as it was asked for: leave out all hyperparameters")
            name = config.stem if config else system
            trainer = (
                Trainer.resume(resume, data_dir)
                if resume
                else Trainer(hyperparameters, run_dir or Path("runs") / name, data_dir)
            )
            trainer.train()
            print(f"epoch {len(trainer.history)} of {trainer.hyperparameters.epochs}; see {trainer.run_dir}")
            return 130 if trainer.stopping else 0

        return call

    return train


def run(
    notebook: tyro.conf.Positional[Path],
    parameter: Annotated[tyro.conf.UseAppendAction[tuple[tuple[str, str], ...]], tyro.conf.arg(aliases=["-p"])] = (),
    output: Path | None = None,
    in_place: bool = False,
):
    """Execute a notebook from top to bottom: papermill, with the parameters' names checked first.

    Args:
        notebook: The notebook.
        parameter: A parameter's name and value; may be given several times.
        output: Where the executed notebook goes; runs/<notebook>/<notebook>.ipynb if left out.
        in_place: Write it back into NOTEBOOK, as it is committed: without widget state.
    """
    return lambda: execute(notebook, dict(parameter), output, in_place)


def execute(notebook, values, output=None, in_place=False):
    import nbformat
    import papermill

    if not notebook.is_file():
        raise FileNotFoundError(f"{notebook}: no such notebook")
    known = papermill.inspect_notebook(str(notebook))
    parameters = {name: as_asked(name, text, known, notebook) for name, text in values.items()}
    output = output or Path("runs") / notebook.stem / notebook.name
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        papermill.execute_notebook(str(notebook), str(output), parameters, cwd=".")
    except papermill.PapermillExecutionError as error:
        code = 2 if error.ename == "Mistake" else 1
        return complain(f"{notebook}: {error.ename}: {error.evalue} (cell {error.exec_count}; see {output})", code)
    if in_place:
        write_whole(notebook, nbformat.writes(tidy(nbformat.read(output, 4))).encode())
    print(f"see {notebook if in_place else output}")
    return 0


def as_asked(name, text, known, notebook):
    """A parameter's value, of the type that the notebook's parameters cell gives it."""
    if name not in known:
        raise Mistake(f"{name}: no such parameter in {notebook}; there are {', '.join(known)}")
    kind = known[name]["inferred_type_name"]
    if kind in ("str", "None"):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if type(value).__name__ != kind and (type(value), kind) != (int, "float"):
        raise Mistake(f"{name} = {text}: must be of type {kind}, as in {notebook}")
    return value


def tidy(notebook):
    """A notebook as it is committed: pictures and tables stay, widget state and papermill's notes go."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data.pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def generate(
    number: tyro.conf.Positional[str],
    out: Path = Path("number.png"),
    generator: Path | None = None,
    inverted: bool = False,
    seed: int | None = None,
):
    """Write a whole number in one hand, as one picture.

    Args:
        number: Its digits; as many as you like.
        out: The PNG to write.
        generator: A generator.safetensors; the repository's own if left out.
        inverted: Ink on white paper.
        seed: Of the handwriting; a new one each time if left out.
    """

    def call():
        if not number or not set(number) <= set("0123456789"):  # before waiting for torch
            raise Mistake(f"number = {number!r}: must be made of the digits 0 to 9")
        from .handwriting import write
        from .models import load_generator

        digits = write(load_generator(generator), number, seed)
        print(f"see {digits.save(out, columns=len(digits), scale=4, inverted=inverted)}")

    return call


def score(generator: Path | None = None, num: int = 10_000, seed: int = 0):
    """Judge a generator's digits against real ones.

    Args:
        generator: A generator.safetensors; the repository's own if left out.
        num: Digits to generate, with balanced labels.
        seed: Of their latents, and of the real digits in the floor.
    """

    def call():
        import numpy as np

        from .handwriting import generate as make
        from .models import load_generator
        from .scorecard import score as judge

        print(judge(make(load_generator(generator), np.arange(num) % 10, seed), seed=seed))

    return call


def reader(out: Path = Path("runs/reader.safetensors"), epochs: int = 12, seed: int = 0):
    """Train the scorecard's reader on the real training digits.

    Args:
        out: Where its weights go.
        epochs: Passes over the 60,000 digits.
        seed: Of its weights and of the digits' order.
    """

    def call():
        from .scorecard import train_reader

        print(json.dumps({"accuracy on 10,000 test digits": train_reader(out, epochs, seed), "see": str(out)}))

    return call


if __name__ == "__main__":
    main()
