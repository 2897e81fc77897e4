"""Paths as people write them, and folders that move."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import digitgan
from digitgan import (
    Digits,
    Hyperparameters,
    InvalidInputError,
    Trainer,
    digit_picker,
    load_digits,
    load_generator,
    save_generator,
)
from digitgan.data.tables import read_csv, write_csv
from digitgan.files import user_path

ROOT = Path(digitgan.__file__).parents[2]
HP = Hyperparameters(epochs=2, images_per_epoch=64, batch_size=32)


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A home folder, and beside it the current folder, which is empty."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def test_the_home_folder_is_meant_everywhere(home, test_digits):
    digits = test_digits[:40]
    digits.save("~/a/x.png")
    digits.to_idx("~/data/mine")
    digits.to_image_folder("~/pngs")
    save_generator(load_generator(), "~/g.safetensors")
    load_generator("~/g.safetensors")
    (home / "data/mine/MNIST/raw").rename(home / "data/mine/raw")
    assert len(load_digits("mine", data_dir="~/data")) == 40
    write_csv("~/t.csv", [{"a": 1}])
    assert read_csv("~/t.csv") == [{"a": 1}]
    (home / "h.json").write_text(HP.to_json())
    assert Hyperparameters.from_json("~/h.json") == HP
    Trainer(HP, "~/runs/a").train()
    assert Trainer.resume("~/runs/a").step == 4
    assert digit_picker(folder="~/p").folder == home / "p"
    assert not os.listdir()  # no folder called ~


def test_a_run_stays_where_it_was_made_when_the_current_folder_changes(
    home, monkeypatch, test_digits
):
    test_digits[:64].to_idx("data")
    trainer = Trainer(HP, "runs/mine", data_dir="data")
    trainer.train(lambda t: t.stop() if t.step == 2 else None)
    assert trainer.step == 2
    (home / "other").mkdir()
    monkeypatch.chdir(home / "other")
    begun = []
    trainer.train(lambda t: begun.append(t.step))
    assert begun == [2, 4] and not os.listdir()
    assert trainer.data_dir == home.parent / "here" / "data"
    assert (home.parent / "here/runs/mine/checkpoint.pt").is_file()


def test_without_a_home_the_whole_path_is_asked_for(monkeypatch):
    def no_home(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    for call in (load_generator, Trainer, lambda path: load_digits("KMNIST", data_dir=path)):
        with pytest.raises(
            InvalidInputError, match=r"home directory\. Write the whole path"
        ) as told:
            call(*[HP] * (call is Trainer), "~/x")
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("path", [None, 3, b"x", ["a"]])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InvalidInputError, match="must be a string or a Path"):
        user_path(path)


def test_a_current_folder_that_is_gone_costs_one_line(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert user_path(tmp_path) == tmp_path
    with pytest.raises(InvalidInputError, match="no current folder"):
        user_path("x")


def test_a_run_folder_that_is_not_utf_8_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"run_dir = .*\\udcfc.*UTF-8"):
        Trainer(HP, tmp_path / os.fsdecode(b"\xfc"))


# ---- folders that move, installations ----


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The Makefile beside a source, with a `.venv` whose Python is this one."""
    for name in ("MAKEFLAGS", "MAKELEVEL"):  # of the `make test` that may run these tests
        monkeypatch.delenv(name, raising=False)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    script = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    (tmp_path / ".venv/bin/python").write_text(script)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / ".venv/ready").touch()
    return tmp_path


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_uses_the_source_of_its_own_folder_and_no_script_of_the_environment(project):
    told = run(["make", "-n", "run", "test", "lab", "lint"], cwd=project).stdout
    assert "Installing" not in told and "python -m digitgan run" in told
    used = {word for word in told.split() if word.startswith(".venv/")}
    assert used == {".venv/bin/python"}  # scripts have the old folder's path in their first line
    (project / "Makefile").write_text(
        (project / "Makefile").read_text()
        + "\nwhere: .venv/ready\n\t@$(RUN) inspect digitgan.files >/dev/null\n"
        + "\t@$(BIN)/python -c 'import digitgan; print(digitgan.__file__)'\n"
    )
    (project.parent / "moved").mkdir()
    moved = project.rename(project.parent / "moved" / "project")
    told = run(["make", "where"], cwd=moved)
    assert told.stdout.splitlines()[-1].startswith(str(moved / "src")), told.stderr


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("broken", ["gone", "empty"])
def test_make_makes_a_broken_environment_again(project, broken):
    python = project / ".venv/bin/python"
    python.unlink()
    if broken == "gone":
        python.symlink_to("/nonexistent/python3.9")
    else:  # a Python that does not find the packages
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
        python.chmod(0o755)
    told = run(["make", "-n", "run"], cwd=project).stdout
    assert "Installing into .venv" in told and "-m venv --clear .venv" in told


def test_an_installed_package_finds_its_assets_and_writes_below_the_current_folder(tmp_path):
    installed = tmp_path / "env/lib/python3/site-packages/digitgan"
    shutil.copytree(ROOT / "src/digitgan", installed, ignore=shutil.ignore_patterns("*.pyc"))
    (installed / "asset/pretrained").mkdir(parents=True)
    shutil.copy(ROOT / "asset/pretrained/cdcgan.safetensors", installed / "asset/pretrained")
    (tmp_path / "here").mkdir()
    code = "from digitgan import files, load_generator; load_generator(); print(files.ASSET); "
    code += "(files.PROJECT / 'runs/x').mkdir(parents=True)"
    environment = os.environ | {"PYTHONPATH": str(installed.parent)}
    told = run([sys.executable, "-c", code], cwd=tmp_path / "here", env=environment)
    assert told.stdout.strip() == str(installed / "asset"), told.stderr
    assert (tmp_path / "here/runs/x").is_dir()
    assert not (tmp_path / "env/lib/runs").exists()
    assert not (tmp_path / "env/lib/python3/runs").exists()


def test_saving_returns_the_whole_path(home):
    path = Digits(np.zeros((1, 28, 28))).save("x.png")
    assert path == home.parent / "here" / "x.png" and path.is_file()
