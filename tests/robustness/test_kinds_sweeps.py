"""Two things that share one place: each combination of a sweep, and each picture that the picker
saves, has a name of its own; what fails stops nothing else."""

import itertools
import re
import sys
from pathlib import Path

import nbformat
import pytest

from digitgan import digit_picker
from digitgan.app import notebooks
from digitgan.app.cli import main
from digitgan.data.tables import read_csv
from digitgan.data.text import legible_names, short_name

WORDS = [
    "a/b", "a_b", "a\\b", "a:b", "a*b", "a?", 'a"', "<a>", "a|b", "a b", "a", "A", "a.", "a ", "",
    "a\nb", "ü", "u\u0308", "\ud800", "..", "a,b=c", "x" * 300, "x" * 301, "1e-3", "0.001", "MNIST",
]  # fmt: skip


def call(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["digitgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, *capsys.readouterr()


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def started(monkeypatch, tmp_path):
    """The commands of a sweep's processes, which are not started: they end well, or raise what
    stands in `started.fails` for their value of `name`."""
    monkeypatch.chdir(tmp_path)
    write_notebook("n.ipynb", "name: str = 'x'\nrun_dir: str = ''", "print(name)")

    class Ended:
        returncode, stderr = 0, ""

    def run(command, **_):
        started.commands.append(command)
        value = command[command.index("name") + 1]
        if value in started.fails:
            raise started.fails[value]
        output = Path(command[command.index("--output") + 1])
        output.parent.mkdir(parents=True)
        written = nbformat.read("n.ipynb", 4)
        written.metadata["papermill"] = {"parameters": {"name": value}}
        nbformat.write(written, output)
        return Ended

    started = type("Started", (), {"commands": [], "fails": {}})()
    monkeypatch.setattr(notebooks.subprocess, "run", run)
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
    assert code == 0 and len(folders) == 7 == len(started.commands) == out.count("- done\n")
    own = {command[command.index("run_dir") + 1] for command in started.commands}
    assert sorted(Path(place).name for place in own) == folders
    code, out, _ = call(
        monkeypatch, capsys, "run", "n.ipynb", "-p", "name", *values, "--output", "t"
    )
    assert code == 0 and len(started.commands) == 7 == out.count("- done before\n")


def test_what_cannot_even_be_started_does_not_stop_the_rest(started, monkeypatch, capsys):
    started.fails = {"b": OSError(7, "Argument list too long"), "c": MemoryError()}
    Path("t/name=d").mkdir(parents=True)
    Path("t/name=d/scorecard.json").write_text("{not json")
    Path("t/name=e").touch()  # where a folder should be
    arguments = ("run", "n.ipynb", "-p", "name", *"abcdef", "--output", "t")
    code, out, err = call(monkeypatch, capsys, *arguments)
    status = dict(re.findall(r"^name = (\w) - (\w+)", out, re.MULTILINE))
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
    assert len(started.commands) == 2 and Path("t/name=a/n.ipynb").is_file()


def test_a_sweep_over_run_dir_is_refused(started, monkeypatch, capsys):
    code, out, err = call(monkeypatch, capsys, "run", "n.ipynb", "-p", "run_dir", "a", "b")
    assert code == 2 and out == "" and "-p run_dir" in err and len(err.splitlines()) == 1


def test_the_pickers_pictures_do_not_overwrite_each_other(finished, tmp_path):
    picker = digit_picker(finished.averaged, folder=tmp_path)
    picker.digit.value, picker.count.value = 1, 2
    picker._save("png")
    for number in ("1 2", "1" * 60, "1" * 60 + "2"):
        picker.number.value = number
        picker._save("png")
    assert len(list(tmp_path.iterdir())) == 4
    names = [short_name("7" * n, 40) for n in range(1, 90)]
    assert len(set(names)) == 89 and max(map(len, names)) == 40
    assert all(a != b for a, b in itertools.pairwise(names))
