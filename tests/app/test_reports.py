"""What the notebooks share: paths, tables, source code, and runs in processes of their own."""

import csv
from types import SimpleNamespace

import pytest
import torch
from commands import call

from digitgan import DigitganError, Hyperparameters, InvalidInputError
from digitgan.app import reports, results
from digitgan.app.reports import (
    begun,
    machine,
    middle,
    project_path,
    run_python,
    source,
    table,
    time_estimate,
    train_run,
    train_speed,
    train_within,
)
from digitgan.files import PROJECT

SHORT = Hyperparameters(images_per_epoch=128, batch_size=32, epochs=1)


def test_paths_start_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_path("runs/main") == PROJECT / "runs" / "main"
    assert project_path(tmp_path) == tmp_path


def test_a_table_has_its_note_below():
    text = table(["name", "figure"], [["a", 1], ["b", 2.5]], "10 digits.").data
    assert text.splitlines() == [
        "| name | figure |",
        "| --- | --- |",
        "| a | 1 |",
        "| b | 2.5 |",
        "",
        "10 digits.",
    ]
    assert not table(["name"], [["a"]]).data.endswith("\n")
    assert "cores" in machine()


def test_source_is_shown_as_code():
    text = source(project_path, Hyperparameters.to_json).data
    assert text.startswith("```python\ndef project_path") and text.endswith("\n```")
    assert "\n\n\ndef to_json(self)" in text  # a method stands at the margin


def test_python_runs_with_its_own_number_of_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    code = "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.argv[1:])"
    assert run_python("-c", code, 5, "six", threads=3) == "3 ['5', 'six']\n"


def test_a_process_that_fails_is_told_in_one_line(capsys):
    with pytest.raises(DigitganError, match="exit code 1: ValueError: too far") as caught:
        run_python("-c", "raise ValueError('too far')")
    assert not isinstance(caught.value, InvalidInputError)
    assert "Traceback" in capsys.readouterr().err
    with pytest.raises(InvalidInputError, match="exit code 2: digitgan: epochs = -1: must be"):
        run_python("-m", "digitgan", "train", "--epochs", -1)
    with pytest.raises(DigitganError, match="exit code 3: it printed no error"):
        run_python("-c", "raise SystemExit(3)")


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """The command line is called here, and not in a process of its own, which costs seconds."""

    def run_python(*words):
        assert words[:2] == ("-m", "digitgan")
        code, _, err = call(monkeypatch, capsys, *words[2:])
        if code:
            raise DigitganError(err)

    monkeypatch.setattr(reports, "run_python", run_python)


@pytest.mark.usefixtures("in_this_process")
def test_a_run_is_continued_as_it_was_begun(tmp_path):
    assert begun(tmp_path / "run.0") is None
    (row,) = train_run(SHORT, tmp_path / "run.0")
    assert row["images"] == 128 and begun(tmp_path / "run.0") == SHORT
    before = (tmp_path / "run.0" / "checkpoint.pt").stat().st_mtime_ns
    # far more CPU-seconds: but the run was planned for one epoch, and it is finished
    assert train_within(10**6, SHORT, 1000.0, tmp_path / "run.0") == [row]
    assert (tmp_path / "run.0" / "checkpoint.pt").stat().st_mtime_ns == before
    with pytest.raises(DigitganError, match="a run with seed = 0, asked for 1"):
        train_run(SHORT.replace(seed=1), tmp_path / "run.0")


@pytest.mark.usefixtures("in_this_process")
def test_a_budget_decides_epochs_and_images(tmp_path):
    assert train_speed(SHORT, tmp_path / "trial", steps=4) > 0
    assert begun(tmp_path / "trial") == SHORT.replace(epochs=2, images_per_epoch=128)
    history = train_within(2, SHORT, 160.0, tmp_path / "run", epochs=5)
    assert len(history) == 5 and begun(tmp_path / "run").images_per_epoch == 64


def test_the_page_follows_notebooks_and_faults(tmp_path, monkeypatch):
    rows = [{"fault": "disk full", "tries": 10, "outcome": "one line", "lost": 0}]
    with (tmp_path / "faults.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    page = results.results_page()
    assert "| disk full | 10 | one line | 0 |" in page
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles[0] == "## How good are the digits?" and len(titles) >= 7


def test_the_estimate_is_of_all_steps_and_leaves_no_trace(train_digits, monkeypatch):
    clock = iter([0.0, 6.4, 7.0, 7.5])  # seconds, around 32 steps and around judging
    monkeypatch.setattr(reports, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    hyperparameters = Hyperparameters(epochs=2, images_per_epoch=640, penalty_interval=16)
    before = torch.random.get_rng_state()
    text = time_estimate(hyperparameters, train_digits).data
    assert "about **5 seconds** on this machine: 20 steps of 200 ms in " in text
    assert "2 looks at the samples of 0.5 s" in text
    assert (torch.random.get_rng_state() == before).all()
    assert not (reports.PROJECT / "runs" / "never-written").exists()


def test_the_middle_of_some_values_is_told_with_their_range():
    assert middle([4.04, 3.5, 4.1], ".1f") == "4.0 (3.5 to 4.1)"
    assert middle(iter([0.25, 0.75]), ".0%", "–") == "50% (25%–75%)"
    assert middle([1200.0], ",.0f") == "1,200"
