import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torchvision
from commands import call
from own_images import letters
from PIL import Image

from digitgan import Hyperparameters, aliases, load_digits
from digitgan.app.cli import field_descriptions
from digitgan.evaluation.classifier import load_classifier
from digitgan.systems import system


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


SMALL = ("--epochs", 1, "--images-per-epoch", 64, "--batch-size", 32)


def test_train_and_resume(cli, tmp_path):
    code, out, _ = cli("train", "--system", "dcgan", *SMALL)
    assert code == 0 and "runs/dcgan" in out
    asked = Hyperparameters.from_json("runs/dcgan/hyperparameters.json")
    assert not asked.conditional and asked.images_per_epoch == 64
    assert cli("train", "--resume", "runs/dcgan")[0] == 0
    Path("mine.json").write_text('{"epochs": 1, "images_per_epoch": 64}')
    assert cli("train", "--config", "mine.json", "--seed", 4)[0] == 0
    assert Hyperparameters.from_json("runs/mine/hyperparameters.json").seed == 4


def test_compiling_is_asked_for_by_a_flag(cli, monkeypatch):
    compiled = []
    monkeypatch.setattr("digitgan.runs.compiled.compile_networks", compiled.append)
    assert cli("train", "--system", "fcnn", *SMALL)[0] == 0 and not compiled
    again = ("--run-dir", "again", "--compile")
    assert cli("train", "--system", "fcnn", *SMALL, *again)[0] == 0 and len(compiled) == 2


def asked_for(cli, *flags):
    """The hyperparameters that `digitgan train <flags>` writes down; it trains nothing."""
    code, _, err = cli("train", "--epochs", 0, "--run-dir", "asked", *flags)
    assert code == 0, err
    return Hyperparameters.from_json("asked/hyperparameters.json")


FLAGS = [  # flags, the fields that they change, besides epochs = 0
    (("--z-dim", 8, "--gamma", 1, "--loss", "wasserstein"),
     {"z_dim": 8, "gamma": 1.0, "loss": "wasserstein"}),
    (("--conditional", "false", "--aux-weight", 0), {"conditional": False, "aux_weight": 0}),
    (("--conditional", "No", "--aux-weight", 0), {"conditional": False, "aux_weight": 0}),
    (("--conditional", "TRUE"), {}),
    (("--conditional", "1"), {}),
    (("--limit", 100, "--networks", "dcgan-deep", "--objective", "smoothed", "--classify", 0.5),
     {"images_per_epoch": 100, "architecture": "dcgan-deep", "loss": "smoothed",
      "aux_weight": 0.5}),
    (("--classify-end", 0, "--penalty-every", 4, "--shift", 2, "--keep-every", 3),
     {"aux_weight_end": 0.0, "penalty_interval": 4, "augment_shift": 2, "snapshot_interval": 3}),
    (("--updates", "simultaneous"), {"updates": "one-stage"}),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "changes"), FLAGS)
def test_flags_reach_their_fields_old_names_too(cli, flags, changes):
    assert asked_for(cli, *flags) == Hyperparameters(epochs=0, **changes)


def test_every_old_flag_is_tried():
    tried = {str(word)[2:].replace("-", "_") for flags, _ in FLAGS for word in flags}
    assert set(aliases.FIELDS) <= tried


def test_flags_change_a_systems_preset_and_leave_the_rest(cli):
    expected = system("fcnn", epochs=0, seed=3)
    assert asked_for(cli, "--system", "fcnn", "--seed", 3) == expected
    assert asked_for(cli, "--system", "fcnn", "--seed", 3, "--architecture", "own") == expected


def test_an_old_configuration_file_is_read(cli):
    old = {"limit": 64, "networks": "dcgan-deep", "classify_end": 0.0, "real_range": [-1, 1]}
    Path("old.json").write_text(json.dumps(old))
    expected = {"images_per_epoch": 64, "architecture": "dcgan-deep", "aux_weight_end": 0}
    assert asked_for(cli, "--config", "old.json") == Hyperparameters(epochs=0, **expected)


def test_help_tells_the_docstring_of_each_field(cli):
    code, out, err = cli("train", "--help")
    assert code == 0 and not err
    told = " ".join(out.split())
    described = field_descriptions()
    assert described.keys() == vars(Hyperparameters()).keys()
    for name, text in described.items():
        assert f"--{name.replace('_', '-')}" in told and len(text) > 20
        assert text.replace("- ", "-").replace(" ", "") in told.replace(" ", ""), name


def test_help_names_the_commands_with_their_first_lines(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in ("train", "run", "generate", "export", "score", "classifier"):
        assert re.search(rf"^    {command}\b", out, re.M), command
    assert "Write a whole number in one handwriting" in " ".join(out.split())


def test_generate(cli):
    assert cli("generate", "241256", "--inverted", "--out", "deep/number.png", "--seed", 1)[0] == 0
    with Image.open("deep/number.png") as picture:
        assert picture.height == 28 * 4 and 300 < picture.width < 6 * 28 * 4
        assert picture.getpixel((0, 0)) > 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("generate", "12a4"), "'12a4'"),
        (("generate", ""), "digits 0 to 9"),
        (("generate", "1", "--generator", "none.safetensors"), "none.safetensors: no such file"),
        (("generate", "1", "--out", "x.jpg"), "must end in .png"),
        (("generate", "1", "--out", "file/x.png"), "file"),
        (("train", "--system", "nonsense"), "cdcgan"),
        (("train", "--epochs", "-1"), "epochs = -1"),
        (("train", "--epochs", "many"), "--epochs"),
        (("train", "--epoch", "1"), "--epoch"),
        (("train", "--config", "none.json"), "none.json"),
        (("train", "--resume", "none"), "no run to resume"),
        (("train", "--resume", "none", "--epochs", "3"), "--resume"),
        (("train", "--dataset", "mine", "--data-dir", "."), "no IDX files"),
        (("run", "none.ipynb"), "none.ipynb: no such notebook"),
        (("run", "none.ipynb", "-p", "a", "1", "2"), "none.ipynb: no such notebook"),
        (("export", "--out", "x", "--count", "0"), "must be 1 or more"),
        (("export", "--out", "file"), "file"),
        (("score", "--num", "3"), "100 or more"),
        (("run", "file", "-p", "a", "1"), "file: not a notebook"),
        (("run", "n.ipynb", "-p", "a", "1", "-p", "a", "2"), "each name once"),
        (("run", "n.ipynb", "-p", "a", "1", "--jobs", "2"), "several values"),
        (("train", "--resume", "runs/x", "--system", "dcgan"), "--resume"),
        # though that is the default
        (("train", "--resume", "runs/x", "--epochs", "16"), "--resume"),
        (("train", "--resume", "runs/x", "--run-dir", "y"), "--resume"),
        (("generate", "1", "--seed", "-1"), "seed = -1"),
        (("score", "--seed", "-1"), "--seed -1"),
        (("classifier", "--epochs", "0"), "epochs = 0"),
        (("reader", "--epochs", "0"), "epochs = 0"),  # its old name
        (("train", "--conditional", "maybe"), "'maybe': must be true or false"),
        (("train", "--conditional"), "--conditional"),
        (("train", "--loss", "hinge"), "'hinge' (choose from"),
        (("train", "--z-dim", "1.5"), "--z-dim: '1.5': must be of type int"),
        (("train", "--gamma", "nan"), "gamma = nan: must be from 0"),
        (("train", "--aux-weight", "-1"), "aux_weight = -1.0: must be from 0"),
        (("train", "--conditional", "false"), "aux_weight = 0.3: must be 0 without labels"),
        (("train", "--system", "dcgan", "--config", "x.json"), "give one of them"),
        (("train", "--config", "bad.json"), "bad.json: not JSON"),
        (("train", "--clip", "0.1"), "unrecognized arguments: --clip 0.1"),
        (("generate", "1", "2"), "unrecognized arguments: 2"),
        (("nonsense",), "nonsense"),
        ((), "train"),
    ],
)
def test_wrong_input_gives_one_line_and_exit_2_and_writes_nothing(cli, tmp_path, arguments, said):
    (tmp_path / "file").write_text("")  # a folder cannot be made of it
    (tmp_path / "bad.json").write_text("{")
    code, out, err = cli(*arguments)
    assert code == 2 and out == "" and len(err.splitlines()) == 1 and said in err, err
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"file", "bad.json"}


def test_a_folder_of_another_run_exits_with_1(cli):
    assert cli("train", "--epochs", 0, "--run-dir", "x")[0] == 0
    code, _, err = cli("train", "--epochs", 0, "--seed", 1, "--run-dir", "x")
    assert code == 1 and len(err.splitlines()) == 1 and "seed = 0, asked for 1" in err


def write_notebook(path, *cells):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.cells[0].metadata["tags"] = ["parameters"]
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    nbformat.write(notebook, path)


def test_run_passes_parameters_and_refuses_wrong_ones(cli, tmp_path):
    write_notebook(
        "n.ipynb",
        "epochs: int = 3  # how many\nname: str = 'x'\nlr: float = 0.5",
        "print(epochs, name, lr)",
    )
    assert cli("run", "n.ipynb", "-p", "epochs", 5, "-p", "name", "12", "-p", "lr", 1)[0] == 0
    done = nbformat.read("runs/n/n.ipynb", 4)
    assert done.cells[-1].outputs[0].text == "5 12 1\n"
    for wrong in (("epoch", 5), ("epochs", "five"), ("epochs", 1.5)):
        code, _, err = cli("run", "n.ipynb", "-p", *wrong, "--output", "other/n.ipynb")
        assert code == 2 and str(wrong[0]) in err
    assert not Path("other").exists()


def test_run_tells_a_failing_cell_in_one_line(cli):
    write_notebook(
        "n.ipynb",
        "x: int = 1",
        "from digitgan import Hyperparameters\nHyperparameters(epochs=-x)",
        "1 / 0",
    )
    code, _, err = cli("run", "n.ipynb")
    line = err.splitlines()[-1]
    assert code == 2 and "epochs = -1: must be" in line and "runs/n/n.ipynb" in line
    write_notebook("n.ipynb", "x: int = 1", "print(x, 1 / x)")
    assert cli("run", "n.ipynb", "-p", "x", 2)[0] == 0
    code, _, err = cli("run", "n.ipynb", "-p", "x", 0)
    assert code == 1 and "see runs/n/unfinished-n.ipynb" in err
    done = nbformat.read("runs/n/n.ipynb", 4)  # the good one is still there
    assert done.cells[-1].outputs[0].text == "2 0.5\n"
    assert cli("run", "n.ipynb", "-p", "x", 4)[0] == 0
    assert "4 0.25" in Path("runs/n/n.ipynb").read_text()


def test_several_values_run_every_combination_and_go_on_where_they_were(cli, tmp_path):
    write_notebook(
        "n.ipynb",
        "a: int = 1\nb: str = 'x'\nrun_dir: str = ''",
        "from pathlib import Path\nwith open('log.txt', 'a') as log:\n    log.write(f'{a}{b} ')",
        "assert a != 3 or Path('mended').exists()",
        "import json",
        "card = {'frechet_distance': a + 0.5, 'recall': 0.5}",
        "Path(run_dir, 'scorecard.json').write_text(json.dumps(card))",
    )
    Path("log.txt").write_text("")
    sweep = ("run", "n.ipynb", "-p", "a", 2, 3, "-p", "b", "x", "y", "--output", "s")
    code, out, _ = cli(*sweep)
    assert code == 1 and Path("log.txt").read_text().split() == ["2x", "2y", "3x", "3y"]
    failed = "failed: n.ipynb: AssertionError"
    assert out.count(failed) == 4  # told at once, and in the table
    rows = list(csv.DictReader(Path("s/table.csv").read_text().splitlines()))
    columns = "a", "b", "frechet_distance", "recall"
    assert [(*(row[name] for name in columns), row["status"][:6]) for row in rows] == [
        ("2", "x", "2.5", "0.5", "done"), ("2", "y", "2.5", "0.5", "done"),
        ("3", "x", "", "", "failed"), ("3", "y", "", "", "failed"),
    ]  # fmt: skip
    Path("mended").touch()
    assert cli(*sweep, "--jobs", 2)[0] == 0
    assert sorted(Path("log.txt").read_text().split()[4:]) == ["3x", "3y"]
    assert (tmp_path / "s" / "a=2,b=x" / "n.ipynb").is_file()
    code, _, err = cli("run", "n.ipynb", "-p", "a", 2, "three")
    assert code == 2 and "a = three: must be of type int" in err


@pytest.mark.parametrize("missing", ["papermill", "distributed"])
def test_without_the_notebooks_packages_a_line_says_what_to_install(missing, cli, monkeypatch):
    write_notebook("n.ipynb", "a: int = 1")
    for module in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    for module in ("notebooks", "sweeps"):
        monkeypatch.delitem(sys.modules, f"digitgan.app.{module}", raising=False)
    code, out, err = cli("run", "n.ipynb", "-p", "a", 1, 2)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert f"{missing} is not installed: pip install 'digitgan[notebooks]'" in err


def test_own_pictures_are_trained_on_written_and_scored(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("digitgan.evaluation.quality.IMAGES_SEEN", 0)
    monkeypatch.setattr("digitgan.evaluation.scorecard.STYLE_ROWS", 4)
    letters(1040).to_image_folder(tmp_path / "mine")
    command = ("train", "--images", "mine", "--size", 20, *SMALL)
    code, out, _ = cli(*command)
    assert code == 0 and "1,040 pictures in 26 classes" in out and "runs/mine" in out
    assert cli(*command)[0] == 0  # done already
    generator = ("--generator", "runs/mine/generator.safetensors")
    assert cli("generate", "HELLO", *generator)[0] == 0
    code, _, error = cli("generate", "42", *generator)
    assert code == 2 and "no class for 4 2" in error and error.count("\n") == 1
    code, out, _ = cli("score", *generator, "--images", "mine", "--num", 104)
    assert code == 0 and "label accuracy, A to Z" in out
    resume = ("train", "--resume", "runs/mine")
    assert cli(*resume, "--images", "mine")[0] == 0  # in the size of the run
    code, _, error = cli(*resume)
    assert code == 2 and error.endswith("give them again, as `digits` or by --images\n")
    code, _, error = cli("score", *generator)
    assert code == 2 and "trained on own images, give them by --images" in error
    assert cli("export", *generator, "--out", "e", "--count", 30, "--test-count", 26)[0] == 0
    assert load_digits("raw", data_dir="e/MNIST").images.shape == (30, 20, 20)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--images", "nowhere"), "nowhere: must be a folder of pictures"),
        (("--size", 32), "--size 32: is of the pictures of --images"),
        (("--images", "few", "--size", 30), "images of 30x30 pixels: must be square"),
    ],
)
def test_wrong_pictures_give_one_line(cli, tmp_path, arguments, said):
    letters(4).to_image_folder(tmp_path / "few")
    code, _, error = cli("train", *arguments)
    assert code == 2 and said in error and error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_export_is_an_mnist_that_torchvision_reads(cli, tmp_path):
    assert cli("export", "--out", "synthetic", "--count", 1030, "--test-count", 20)[0] == 0
    for train, count in ((True, 1030), (False, 20)):
        read = torchvision.datasets.MNIST("synthetic", train=train)
        assert len(read) == count and read.targets[:12].tolist() == [*range(10), 0, 1]
    digits = load_digits("MNIST", data_dir="synthetic")
    assert (load_classifier().predict(digits) == digits.labels).mean() > 0.95
    assert len(np.unique(digits.images, axis=0)) > 1000  # later batches are not the first again


def test_run_in_place_leaves_no_widget_state(cli):
    write_notebook("n.ipynb", "x: int = 1", "from digitgan import digit_picker\ndigit_picker()")
    assert cli("run", "n.ipynb", "--in-place")[0] == 0
    notebook = nbformat.read("n.ipynb", 4)
    (output,) = notebook.cells[-1].outputs
    assert "image/png" in output.data and not any("widget" in kind for kind in output.data)
    assert "widgets" not in notebook.metadata and "papermill" not in notebook.metadata


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "--epochs", "x"]])
def test_help_and_wrong_flags_do_not_wait_for_torch(words):
    code = (
        f"import sys\nsys.argv = {['digitgan', *words]}\n"
        "try:\n    from digitgan.app.cli import main\n    main()\n"
        "finally:\n    assert not {'torch', 'matplotlib'} & set(sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == (2 if "x" in words else 0), told.stderr
    assert "--epochs" in told.stderr if "x" in words else "train" in told.stdout


def test_as_a_module_it_is_the_same_command():
    command = [sys.executable, "-m", "digitgan", "train", "--epoch", "1"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2 and told.stderr.startswith("digitgan: ") and not told.stdout
