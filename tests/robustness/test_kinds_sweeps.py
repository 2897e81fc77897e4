"""Two things that share one place: each combination of a sweep, and each picture that the picker
saves, has a name of its own; what fails stops nothing else."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from commands import call
from distributed import Client, LocalCluster

from digitgan import digit_picker
from digitgan.app import sweeps
from digitgan.data.tables import read_csv
from digitgan.data.text import legible_names, short_name

WORDS = [
    "a/b", "a_b", "a\\b", "a:b", "a*b", "a?", 'a"', "<a>", "a|b", "a b", "a", "A", "a.", "a ", "",
    "a\nb", "ü", "u\u0308", "\ud800", "..", "a,b=c", "x" * 300, "x" * 301, "1e-3", "0.001", "MNIST",
]  # fmt: skip


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The parameters of a sweep's kernels, which are not started: they end well, or raise what
    stands in `started.fails` for their value of `name`."""
    monkeypatch.chdir(tmp_path)
    write_notebook("n.ipynb", "name: str = 'x'\nrun_dir: str = ''", "print(name)")

    def run_kernel(notebook, content, parameters, output):
        started.kernels.append(parameters)
        if parameters["name"] in started.fails:
            raise started.fails[parameters["name"]]
        output.parent.mkdir(parents=True)
        written = nbformat.read(notebook, 4)
        written.metadata["papermill"] = {"parameters": parameters}
        nbformat.write(written, output)

    @contextlib.contextmanager
    def cluster(jobs, scheduler):  # in threads of this process, which sees what is patched
        with (
            LocalCluster(1, threads_per_worker=1, processes=False, dashboard_address=None) as here,
            Client(here) as client,
        ):
            yield client

    started = type("Started", (), {"kernels": [], "fails": {}})()
    monkeypatch.setattr(sweeps, "run_kernel", run_kernel)
    monkeypatch.setattr(sweeps, "cluster", cluster)
    return started


def test_names_are_different_legible_and_fit_for_any_file_system():
    names = legible_names([{"name": word} for word in WORDS])
    assert len({name.lower() for name in names}) == len(WORDS)
    assert all(re.fullmatch(r"name=[A-Za-z0-9=,._+~-]{0,75}(?<![. ])", name) for name in names)
    plain = dict(zip(WORDS, names, strict=True))
    assert plain["0.001"] == "name=0.001" and plain["MNIST"] == "name=MNIST"
    assert plain["a/b"].startswith("name=a_b~") and plain["A"].startswith("name=A~")
    assert names == legible_names([{"name": word} for word in WORDS])


def test_a_value_that_looks_like_another_name_does_not_take_its_place():
    (hashed,) = legible_names([{"name": "a/b"}])
    imitated = hashed.removeprefix("name=")
    assert legible_names([{"name": imitated}]) != [hashed]
    assert legible_names([{"a": "1,b=2"}]) != legible_names([{"a": "1", "b": "2"}])


def test_each_combination_has_a_folder_and_a_value_given_twice_runs_once(
    started, monkeypatch, capsys
):
    values = ["a/b", "a_b", "a b", "A", "a", "a", "x" * 300, "-"]
    code, out, _ = call(
        monkeypatch, capsys, "run", "n.ipynb", "-p", "name", *values, "--output", "t"
    )
    folders = sorted(path.name for path in Path("t").iterdir() if path.is_dir())
    assert code == 0 and len(folders) == 7 == len(started.kernels) == out.count("- done\n")
    own = {parameters["run_dir"] for parameters in started.kernels}
    assert sorted(Path(place).name for place in own) == folders
    code, out, _ = call(
        monkeypatch, capsys, "run", "n.ipynb", "-p", "name", *values, "--output", "t"
    )
    assert code == 0 and len(started.kernels) == 7 == out.count("- done before\n")


def test_what_cannot_even_be_started_does_not_stop_the_rest(started, monkeypatch, capsys):
    started.fails = {"b": OSError(7, "Argument list too long"), "c": MemoryError()}
    Path("t/name=d").mkdir(parents=True)
    Path("t/name=d/scorecard.json").write_text("{not json")
    Path("t/name=e").touch()  # where a folder should be
    arguments = ("run", "n.ipynb", "-p", "name", *"abcdef", "--output", "t")
    code, out, err = call(monkeypatch, capsys, *arguments)
    status = dict(re.findall(r"^\d of 6: name = (\w) - (\w+)", out, re.MULTILINE))
    assert code == 1 and err == "" and "Argument list too long" in out
    assert status == dict(a="done", b="failed", c="failed", d="failed", e="failed", f="done")
    assert [row["name"] for row in read_csv("t/table.csv")] == list("abcdef")


def test_a_result_of_other_cells_or_parameters_is_not_taken_for_one_of_these(
    started, monkeypatch, capsys
):
    arguments = ("run", "n.ipynb", "-p", "name", "a", "b", "--output", "t")
    assert call(monkeypatch, capsys, *arguments)[0] == 0
    write_notebook("n.ipynb", "name: str = 'x'\nrun_dir: str = ''", "print(name, 'changed')")
    code, out, _ = call(monkeypatch, capsys, *arguments)
    assert code == 1 and out.count("is of other cells or parameters; delete it") == 4
    assert len(started.kernels) == 2 and Path("t/name=a/n.ipynb").is_file()


def test_a_sweep_over_run_dir_is_refused(started, monkeypatch, capsys):
    code, out, err = call(monkeypatch, capsys, "run", "n.ipynb", "-p", "run_dir", "a", "b")
    assert code == 2 and out == "" and "-p run_dir" in err and len(err.splitlines()) == 1


# ---- on a cluster ----

SLEEPER = """import os, time
with open(f"{run_dir}/started", "a") as file: file.write(f"{os.getppid()}\\n")
while name == "b" and not os.path.exists("go"): time.sleep(0.05)"""


@pytest.fixture
def processes(tmp_path):
    """Starts processes, and ends them after the test."""
    running = []

    def start(*command):
        log = (tmp_path / f"log{len(running)}").open("wb")
        # Dask's own settings: a worker that is lost is noticed at once
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_a_cluster_sweeps_and_a_worker_that_is_killed_costs_one_more_try(
    processes, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write_notebook("n.ipynb", "name: str = 'x'\nrun_dir: str = ''", SLEEPER)
    local = ("--host", "127.0.0.1", "--no-dashboard")
    processes("-m", "dask", "scheduler", *local, "--port", "0", "--scheduler-file", "where.json")
    wait_for(Path("where.json").is_file)
    options = ("--scheduler-file", "where.json", "--nthreads", "1", "--no-nanny")
    workers = [processes("-m", "dask", "worker", *options, "--host", "127.0.0.1") for _ in range(2)]
    address = json.loads(Path("where.json").read_text())["address"]
    arguments = ("-p", "name", "a", "b", "c", "--output", "t", "--scheduler", address)
    sweep = processes("-m", "digitgan", "run", "n.ipynb", *arguments)
    started = Path("t/name=b/started")
    killed = int(wait_for(lambda: started.is_file() and started.read_text()))
    assert killed in [worker.pid for worker in workers]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: len(started.read_text().split()) == 2)  # the other one begins again
    Path("go").touch()
    assert sweep.wait(180) == 0
    rows = read_csv("t/table.csv")
    assert [(row["name"], row["status"]) for row in rows] == [(n, "done") for n in "abc"]
    other = int(started.read_text().split()[1])
    assert other != killed and other in [worker.pid for worker in workers]


def test_a_scheduler_that_ends_costs_one_line(started, monkeypatch, capsys):
    run_all, done = sweeps.run_all, []

    def dying(client, notebook, combinations):
        done.extend(run_all(client, notebook, combinations[:1]))
        future = client.submit(time.sleep, 1)
        client.cancel(future, force=True)  # what a client sees of the work of a lost scheduler
        future.result()

    monkeypatch.setattr(sweeps, "run_all", dying)
    arguments = ("run", "n.ipynb", "-p", "name", "a", "b", "--output", "t")
    code, _, err = call(monkeypatch, capsys, *arguments)
    assert code == 1 and err.splitlines() == [
        "digitgan: here: the Dask scheduler has ended; started again, the sweep goes on where it "
        "was"
    ]
    assert len(done) == 1


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "tls://127.0.0.1:1"])
def test_no_cluster_at_that_address_costs_one_line(address, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeps, "CONNECT_SECONDS", 0.5)
    write_notebook("n.ipynb", "name: str = 'x'")
    arguments = ("run", "n.ipynb", "-p", "name", "a", "b", "--scheduler", address)
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert f"--scheduler {address}: must be the address of a Dask scheduler" in err
    code, out, err = call(monkeypatch, capsys, *arguments, "--jobs", 2)
    assert code == 2 and out == "" and "--jobs 2, --scheduler" in err


def test_the_pickers_pictures_do_not_overwrite_each_other(finished, tmp_path):
    picker = digit_picker(finished.averaged, folder=tmp_path)
    picker.digit, picker.count = 1, 2
    picker.save()
    for number in ("1 2", "1" * 60, "1" * 60 + "2"):
        picker.number = number
        picker.save()
    assert len(list(tmp_path.iterdir())) == 4
    names = [short_name("7" * n, 40) for n in range(1, 90)]
    assert len(set(names)) == 89 and max(map(len, names)) == 40
    assert all(a != b for a, b in itertools.pairwise(names))
