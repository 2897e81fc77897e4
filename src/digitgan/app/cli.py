"""The command line: arguments in, calls out. `digitgan --help` does not wait for torch."""

import argparse
import ast
import functools
import inspect
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from ..aliases import FIELDS, new_value
from ..data.text import YES_OR_NO, check_number
from ..errors import DigitganError, InvalidInputError, print_error
from ..files import shown, user_path
from ..hyperparameters import Hyperparameters
from ..streams import drop_stdout, prepare_streams


def main() -> NoReturn:
    """Run the command that `sys.argv` asks for. Wrong input exits with 2 and one line."""
    prepare_streams()
    try:
        arguments = parser().parse_args(sys.argv[1:])
        code = arguments.command(arguments)
        sys.stdout.flush()
        sys.exit(code)
    except DigitganError as error:
        sys.exit(print_error(error, error.exit_code))
    except ModuleNotFoundError as error:
        if (error.name or "digitgan").startswith("digitgan"):
            raise
        hint = "pip install 'digitgan[notebooks]' installs what notebooks need"
        sys.exit(print_error(f"{error.name} is not installed: {hint}", 2))
    except BrokenPipeError:  # `| head` has seen enough
        drop_stdout()
        sys.exit(0)
    except OSError as error:
        sys.exit(print_error(error, 2))
    except KeyboardInterrupt:
        sys.exit(print_error("interrupted", 130))


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, told by `main`."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(f"{message} ({self.prog} --help tells more)")


def parser() -> Parser:
    """All commands with their flags."""
    top = Parser(
        prog="digitgan",
        description="Train, measure and play with generators of handwritten digits.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(metavar="COMMAND")
    for add in (
        add_train, add_run, add_generate, add_page, add_export, add_score, add_classifier,
    ):  # fmt: skip
        add(commands)
    add_style_encoder(commands)

    def missing(arguments: argparse.Namespace) -> NoReturn:
        top.error(f"no command: must be one of {', '.join(commands.choices)}")

    top.set_defaults(command=missing)
    return top


def new_command(commands: Any, name: str, run: Callable[..., int], **options: Any) -> Parser:
    """A command of that name; the docstring of what it runs is its help."""
    about = inspect.getdoc(run) or ""
    made = commands.add_parser(
        name, help=about.splitlines()[0], description=about, allow_abbrev=False, **options
    )
    made.set_defaults(command=run)
    return made


# ---- train ----


def add_train(commands: Any) -> None:
    train_parser = new_command(commands, "train", train)
    add = train_parser.add_argument
    folder: dict[str, Any] = {"type": path, "metavar": "FOLDER"}
    add("--config", type=path, metavar="FILE", help="JSON file of hyperparameters to start at")
    add("--resume", **folder, help="run folder to continue, as it was begun")
    add("--run-dir", **folder, help="where to write; runs/<system or config> if left out")
    add("--data-dir", **folder, help="where a data set other than MNIST lies")
    add_images(train_parser)
    text = "compile the networks, with CUDA graphs on a GPU (not tried on one; slower on CPUs)"
    add("--compile", action="store_true", help=text)
    group = train_parser.add_argument_group(
        "hyperparameters, in place of the system's or the file's"
    )
    described, old_names = field_descriptions(), {new: old for old, new in FIELDS.items()}
    for name, hint in get_type_hints(Hyperparameters).items():
        flags = [
            f"--{spelling.replace('_', '-')}" for spelling in (name, old_names.get(name, name))
        ]
        options = get_args(hint) if get_origin(hint) is Literal else None
        group.add_argument(
            *dict.fromkeys(flags),
            dest=name,
            default=argparse.SUPPRESS,
            type=functools.partial(convert, name, str if options else hint),
            choices=options,
            metavar=None if options else name.upper(),
            help=described[name].replace("%", "%%"),
        )


def add_images(command: Parser) -> None:
    text = "one's own pictures, FOLDER/<class>/*.png, or an .npz file of images and labels"
    command.add_argument("--images", type=path, metavar="FOLDER", help=text)
    text = "side of their images in pixels, a multiple of 4 from 8 to 64; found if left out"
    command.add_argument("--size", type=int, help=text)


def convert(name: str, kind: type, text: str) -> Any:
    """The value of a flag, as the type of its field; an old value under its name of today."""
    if kind is bool:
        return yes_or_no(text)
    try:
        return new_value(name, kind(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: must be of type {kind.__name__}") from None


def field_descriptions() -> dict[str, str]:
    """The docstring under each field of `Hyperparameters`."""
    tree = ast.parse(inspect.getsource(inspect.getmodule(Hyperparameters)))  # type: ignore[arg-type]
    (body,) = (
        n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Hyperparameters"
    )
    described = {}
    for field, text in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            described[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # type: ignore[attr-defined]
    return described


def path(text: str) -> Path:
    """A path as a person writes it."""
    try:
        return user_path(text)
    except InvalidInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def yes_or_no(text: str) -> bool:
    """True or False, as people write them."""
    if text.lower() not in YES_OR_NO:
        raise argparse.ArgumentTypeError(f"{text!r}: must be true or false")
    return YES_OR_NO[text.lower()]


def train(arguments: argparse.Namespace) -> int:
    """Train a system. Ctrl-C stops it; the same command continues.

    Without any flag, the conditional DCGAN is trained on MNIST into runs/cdcgan. With --images, on
    one's own pictures, whatever their number, size and classes, into a folder of their name; a
    tenth of them is held out, by which the run is judged after each epoch.
    """
    given = {
        name: getattr(arguments, name) for name in vars(Hyperparameters()) if name in arguments
    }
    if arguments.resume:
        if given or arguments.config or arguments.run_dir:
            rule = "continues a run as it was begun: leave out all flags but where its data lies"
            raise InvalidInputError(f"--resume {rule}")
    elif arguments.config and "system" in given:
        raise InvalidInputError("--system and --config: give one of them")
    if arguments.config:
        start, name = Hyperparameters.from_json(arguments.config), arguments.config.stem
    else:
        fields = {k: v for k, v in given.items() if k != "system"}
        Hyperparameters(**fields | {"aux_weight": 0})  # before torch; this one depends on others
        from ..systems.presets import system

        name = given.pop("system", "cdcgan")
        start = system(name)
    hyperparameters = start.replace(**given)
    from ..runs.folder import RunFolder
    from ..systems.presets import Trainer

    spec = RunFolder(arguments.resume).read_spec() if arguments.resume else None
    digits = own_images(arguments, spec.size if spec else None)
    if arguments.resume:
        trainer = Trainer.resume(arguments.resume, arguments.data_dir, digits)
    else:
        name = arguments.images.stem if arguments.images and name == "cdcgan" else name
        run_dir = arguments.run_dir or Path("runs") / name
        trainer = Trainer(hyperparameters, run_dir, arguments.data_dir, digits)
    from ..runs.compiled import compile_networks

    trainer.train(compile_networks if arguments.compile else None)
    epochs = trainer.hyperparameters.epochs
    print(f"epoch {len(trainer.history)} of {epochs}; see {shown(trainer.run_dir)}")
    return 130 if trainer.step < trainer.total_steps else 0


def own_images(arguments: argparse.Namespace, size: int | None = None) -> Any:
    """The training and test images of --images, or None."""
    size = arguments.size if arguments.size is not None else size
    if arguments.images is None:
        if arguments.size is not None:
            raise InvalidInputError(f"--size {size}: is of the pictures of --images, give both")
        return None
    from ..data.sources import load_images

    return load_images(arguments.images, size)


# ---- run ----


def add_run(commands: Any) -> None:
    add = new_command(commands, "run", run).add_argument
    add("notebook", type=path, metavar="NOTEBOOK")
    text = "a parameter's name and its value, or several values; may be given several times"
    words = ("NAME", "VALUE")
    add("-p", "--parameter", help=text, action="append", nargs="+", metavar=words, default=[])
    text = "where it goes, a folder for several; below runs/ if left out"
    add("--output", type=path, help=text)
    add("--jobs", type=int, help="how many of several to run at a time (default: 1)")
    text = "address of a Dask cluster that runs several, as in tcp://127.0.0.1:8786"
    add("--scheduler", metavar="ADDRESS", help=text)
    add("--in-place", action="store_true", help="write it back to NOTEBOOK, without widget state")


def run(arguments: argparse.Namespace) -> int:
    """Execute a notebook from top to bottom: papermill, with the parameters' names checked first.

    Several values for a parameter (-p lr 0.1 0.2) run every combination, each in a folder of its
    own, and end in one table. What is done already is not run again; what fails does not stop the
    rest.
    """
    notebook, jobs, scheduler = arguments.notebook, arguments.jobs, arguments.scheduler
    grid = {words[0]: tuple(words[1:]) for words in arguments.parameter if len(words) > 1}
    if len(grid) < len(arguments.parameter):
        raise InvalidInputError(
            "-p: must be a name and its values, each name once, as in -p epochs 3"
        )
    if all(len(values) == 1 for values in grid.values()):
        if jobs is not None or scheduler:
            told = f"--jobs {jobs}, --scheduler {scheduler}"
            raise InvalidInputError(f"{told}: are for several values of a parameter, give them")
        from .notebooks import execute

        single = {name: value for name, (value,) in grid.items()}
        return execute(notebook, single, arguments.output, arguments.in_place)
    if arguments.in_place or (jobs is not None and (jobs < 1 or scheduler)):
        told = f"--jobs {jobs}, --scheduler {scheduler}, --in-place {arguments.in_place}"
        rule = (
            "several values go to folders, 1 or more at a time, here or on a scheduler's machines"
        )
        raise InvalidInputError(f"{told}: {rule}")
    from .sweeps import sweep

    output = arguments.output or Path("runs") / f"{notebook.stem}-sweep"
    return sweep(notebook, grid, output, jobs or 1, scheduler)


# ---- with a trained generator ----


def add_generator(command: Parser) -> None:
    text = "a generator.safetensors; the shipped one if left out"
    command.add_argument("--generator", type=path, metavar="FILE", help=text)


def add_generate(commands: Any) -> None:
    command = new_command(commands, "generate", generate)
    add_generator(command)
    text = "digits, and spaces if you like; or letters, where the generator's classes are"
    command.add_argument("number", metavar="TEXT", help=text)
    out = Path("number.png")
    command.add_argument("--out", type=path, default=out, help="the PNG to write (number.png)")
    command.add_argument("--inverted", action="store_true", help="ink on white paper")
    command.add_argument(
        "--seed", type=int, help="of the handwriting; a new one each time if left out"
    )


def generate(arguments: argparse.Namespace) -> int:
    """Write a whole number in one handwriting, as one picture; long ones wrap.

    A generator whose classes are letters writes a text of them.
    """
    if arguments.generator is None:
        check_number(arguments.number)  # before waiting for torch
    from ..handwriting.sampling import write
    from ..systems.presets import load_generator

    digits = write(load_generator(arguments.generator), arguments.number, arguments.seed)
    saved = digits.save(arguments.out, strip=True, inverted=arguments.inverted)
    print(f"see {shown(saved)}")
    return 0


def add_page(commands: Any) -> None:
    command = new_command(commands, "page", page)
    add_generator(command)
    out = Path("picker.html")
    command.add_argument("--out", type=path, default=out, help="the HTML to write (picker.html)")


def page(arguments: argparse.Namespace) -> int:
    """Write a page that picks digits and imitates a drawn one, in any browser, without a network.

    It is one HTML file with the generator inside. The pad is for generators of digits and needs an
    encoder; for another than the shipped one, it is trained first, for half a minute.
    """
    from .page import page as write_page

    print(f"see {shown(write_page(arguments.out, arguments.generator))}")
    return 0


def add_score(commands: Any) -> None:
    command = new_command(commands, "score", score)
    add_generator(command)
    command.add_argument("--num", type=int, default=10_000, help="digits to judge (default: 10000)")
    command.add_argument(
        "--seed", type=int, default=0, help="of latents and reference (default: 0)"
    )
    text = "measure the classification accuracy score too (some minutes)"
    command.add_argument("--cas", "--teach", action="store_true", help=text)
    text = "where the data set lies that the generator was trained on, if not MNIST"
    command.add_argument("--data-dir", type=path, metavar="FOLDER", help=text)
    add_images(command)


def score(arguments: argparse.Namespace) -> int:
    """Judge a generator's digits against real ones.

    Those of one that was trained on another set are judged by a classifier of that set, which is
    trained when first needed and kept beside the generator's file.
    """
    check_seed(arguments.seed)
    from ..evaluation.quality import classifier_for
    from ..evaluation.scorecard import score_generator
    from ..systems.presets import load_generator

    network = load_generator(arguments.generator)
    judged: dict[str, Any] = {"num": arguments.num, "seed": arguments.seed, "cas": arguments.cas}
    if sets := real_images(arguments, network):
        train, real = sets
        folder = arguments.generator.parent if arguments.generator else None
        classifier = classifier_for(train, real, folder)
        judged |= {"train": train, "real": real.spread(arguments.num), "classifier": classifier}
    print(score_generator(network, **judged))
    return 0


def real_images(arguments: argparse.Namespace, network: Any) -> Any:
    """Training and test images of the set that a generator was trained on; None for digits as
    MNIST's."""
    from ..data.datasets import known_spec
    from ..data.sources import load_sets
    from ..evaluation.classifier import SUPPORTED_DATASETS

    dataset = network.hyperparameters.dataset
    if sets := own_images(arguments, network.spec.size):
        return sets
    if dataset in SUPPORTED_DATASETS:
        return None
    if known_spec(dataset) is None and arguments.data_dir is None:
        rule = "give them by --images, or their IDX files by --data-dir"
        raise InvalidInputError(f"{arguments.generator}: trained on {dataset}, {rule}")
    return load_sets(dataset, arguments.data_dir)


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise InvalidInputError(f"--seed {seed}: must be from 0 to {2**32 - 1}")


def add_export(commands: Any) -> None:
    command = new_command(commands, "export", export)
    add_generator(command)
    command.add_argument("--out", type=path, required=True, metavar="FOLDER")
    text = "training digits, with balanced labels (default: 60000)"
    command.add_argument("--count", type=int, default=60_000, help=text)
    command.add_argument(
        "--test-count", type=int, default=10_000, help="test digits (default: 10000)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the latents (default: 0)")


def export(arguments: argparse.Namespace) -> int:
    """Write a synthetic MNIST, which torchvision.datasets.MNIST(FOLDER) reads.

    It is made of uncompressed IDX files in FOLDER/MNIST/raw.
    """
    out, count, test_count, seed = (
        arguments.out,
        arguments.count,
        arguments.test_count,
        arguments.seed,
    )
    if min(count, test_count) < 1:
        raise InvalidInputError(f"--count {count}, --test-count {test_count}: must be 1 or more")
    from ..data.idx import write_idx
    from ..handwriting.sampling import stream
    from ..systems.presets import load_generator

    network = load_generator(arguments.generator)
    if not network.hyperparameters.conditional:
        rule = "an unconditional generator's digits have no labels, a data set needs them"
        raise InvalidInputError(f"{arguments.generator}: {rule}")
    spec = network.spec
    write_idx(out, stream(network, count, seed), count, True, spec)
    raw = write_idx(out, stream(network, test_count, seed ^ 1 << 31), test_count, False, spec)
    print(f"see {shown(raw)}")
    return 0


def add_classifier(commands: Any) -> None:
    command = new_command(commands, "classifier", classifier, aliases=["reader"])
    out = Path("runs/classifier.safetensors")
    command.add_argument("--out", type=path, default=out, help=f"where its weights go ({out})")
    text = "passes over the 60,000 digits (default: 12)"
    command.add_argument("--epochs", type=int, default=12, help=text)
    command.add_argument("--seed", type=int, default=0, help="of weights and order (default: 0)")


def classifier(arguments: argparse.Namespace) -> int:
    """Train the scorecard's classifier on the real training digits."""
    from ..evaluation.classifier import train_classifier

    accuracy = train_classifier(arguments.out, arguments.epochs, arguments.seed)
    place = str(shown(arguments.out))
    print(json.dumps({"accuracy on 10,000 test digits": accuracy, "see": place}))
    return 0


def add_style_encoder(commands: Any) -> None:
    command = new_command(commands, "style-encoder", style_encoder)
    text = "residual (the default), or plain, the second one, which judges the first"
    command.add_argument("--architecture", default="residual", help=text)
    out = Path("runs/style-encoder.safetensors")
    command.add_argument("--out", type=path, default=out, help=f"where its weights go ({out})")
    text = "batches of 256 digits; as for the shipped one if left out"
    command.add_argument("--steps", type=int, help=text)
    text = "of weights and batches; as for the shipped one if left out"
    command.add_argument("--seed", type=int, help=text)


def style_encoder(arguments: argparse.Namespace) -> int:
    """Train an encoder of handwriting on MNIST's training writers.

    A line tells how well writers are recognised that training did not see.
    """
    from ..evaluation.writers import train_style_encoder

    train_style_encoder(
        arguments.out, arguments.architecture, arguments.steps, arguments.seed, quiet=False
    )
    print(f"see {shown(arguments.out)}")
    return 0
