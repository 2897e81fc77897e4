"""Streams that are closed, replaced or too narrow, other notebooks' shells, other Ctrl-C handlers,
a user without a home: no training stops because of them."""

import io
import os
import signal
import subprocess
import sys

import pytest

from digitgan import Hyperparameters, Trainer
from digitgan.runs import console
from digitgan.runs.console import in_notebook, on_interrupt, progress_bar
from digitgan.streams import SafeStream, tell

HP = Hyperparameters(epochs=1, images_per_epoch=64, batch_size=32)
TRAIN = [sys.executable, "-m", "digitgan", "train", "--epochs", "1", "--images-per-epoch", "64"]


class Tee:
    """What many training scripts put in the place of a stream."""

    encoding = "ascii"

    def __init__(self, error=None):
        self.texts, self.error = [], error

    def write(self, text):
        if self.error:
            raise self.error
        text.encode(self.encoding)
        self.texts.append(text)

    def flush(self):
        if self.error:
            raise self.error


class Terminal(Tee):
    def isatty(self):
        return True


class Closed(Terminal):
    def isatty(self):
        raise ValueError("I/O operation on closed file")


STREAMS = {
    "none": lambda: None,
    "a tee": Tee,
    "a terminal": Terminal,
    "closed": lambda: Closed(ValueError("I/O operation on closed file")),
    "a terminal that is gone": lambda: Terminal(OSError(5, "Input/output error")),
    "a pipe that nobody reads": lambda: Tee(BrokenPipeError(32, "Broken pipe")),
    "nothing but write": type("Bare", (), {"write": lambda self, text: None}),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_training_goes_on_whatever_the_streams_are(kind, tmp_path, monkeypatch):
    out, err = STREAMS[kind](), STREAMS[kind]()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    trainer = Trainer(HP, tmp_path / "rün")
    trainer.train(lambda t: t.stop() if t.step == 0 else None)
    trainer.train()
    assert len(trainer.history) == 1 and (tmp_path / "rün" / "generator.safetensors").is_file()
    if kind in ("a tee", "a terminal"):
        told = "".join(out.texts)
        assert "stopped after step 0 of 2" in told and "r?n" in told
    if kind == "a terminal":
        assert "2/2" in "".join(err.texts)


def test_letters_that_do_not_fit_become_question_marks():
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    SafeStream(narrow).write("███ é –")
    narrow.flush()
    assert narrow.buffer.getvalue() == "??? é –".encode("cp1252")


def test_what_is_told_goes_to_the_stream_that_is_there(monkeypatch, capsys):
    tell("a")
    tell("b", error=True)
    assert capsys.readouterr() == ("a\n", "b\n")


# ---- commands ----


def run(command, environment=(), **options):
    """A command in a shell, which can close streams: its exit code and what it told."""
    environment = {**os.environ, **dict(environment)}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, env=environment,
        check=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_commands_work_with_closed_streams(closed, tmp_path):
    told = run(f"{' '.join(TRAIN)} --run-dir r {closed}", cwd=tmp_path)
    assert told.returncode == 0 and told.stderr == b""
    assert (tmp_path / "r" / "generator.safetensors").is_file()
    for path in (tmp_path / "r").glob("*.json"):
        assert path.read_text().startswith("{")  # no message went into a file


SCORE = """
import sys
from digitgan.app import cli
def score(arguments):
    "A table."
    print({text!r} * {times})
    return 0
cli.score = score
sys.argv = ["digitgan", "score"]
cli.main()
"""


def score(text, after="", times=1, **environment):
    """`digitgan score` with a table of that text, without its computations."""
    code = SCORE.format(text=text, times=times)
    return run(f'{sys.executable} -c "$CODE" {after}', {"CODE": code, **environment})


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    told = score("line\n", "| head -1", times=100_000)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"line\n", b"")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("cp1252", b"??? \xe9"), ("ascii", b"??? ?"), ("utf-8", None)]
)
def test_a_table_comes_where_its_letters_do_not_fit(encoding, shown):
    told = score("███ é", PYTHONIOENCODING=encoding)
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout.strip() == (shown or "███ é".encode())


def test_a_user_without_a_home_can_train(tmp_path):
    told = run(f"{' '.join(TRAIN)} --run-dir r", {"HOME": "/proc/none"}, cwd=tmp_path)
    assert told.returncode == 0 and (tmp_path / "r" / "generator.safetensors").is_file()
    told = run(f"{' '.join(TRAIN)} --data-dir '~no-such-user/x'", cwd=tmp_path)
    assert told.returncode == 2 and len(told.stderr.splitlines()) == 1
    assert b"Write the whole path" in told.stderr


# ---- notebooks' shells ----


def shell(name, *bases):
    """An object of a class of that name, made of classes of the names in `bases`."""
    cls = type("InteractiveShell", (), {})
    for base in (*bases, name):
        cls = type(base, (cls,), {})
    return cls()


@pytest.mark.parametrize(
    ("found", "notebook"),
    [
        (shell("ZMQInteractiveShell"), True),
        (shell("Shell", "ZMQInteractiveShell"), True),  # Colab
        (shell("SpyderShell", "ZMQInteractiveShell"), True),
        (shell("XPythonShell"), True),  # in a browser
        (shell("TerminalInteractiveShell"), False),
        (shell("PyDevTerminalInteractiveShell", "TerminalInteractiveShell"), False),
        (None, False),
        (object(), False),
    ],
)
def test_notebooks_are_told_from_terminals(found, notebook, monkeypatch):
    import IPython

    monkeypatch.setattr(IPython, "get_ipython", lambda: found)
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *a, **k: shown.append(a))
    assert in_notebook() is notebook
    with progress_bar(True, total=3) as bar:
        bar.update()
        assert bar.disable is not notebook
    assert bool(shown) is notebook


# ---- Ctrl-C ----


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield lambda new: signal.signal(signal.SIGINT, new)
    signal.signal(signal.SIGINT, before)


def test_a_hosts_own_handler_is_left_alone(monkeypatch):
    stops, real = [], signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(signal, "getsignal", lambda number: None)  # as Python sees those of C
    with on_interrupt(lambda: stops.append(1)):
        monkeypatch.undo()
        assert signal.getsignal(signal.SIGINT) is real
    assert signal.getsignal(signal.SIGINT) is real


def test_an_ignored_interrupt_stays_ignored(handler):
    handler(signal.SIG_IGN)  # as `nohup` and background jobs of scripts have it
    stops = []
    with on_interrupt(lambda: stops.append(1)):
        interrupt()
    assert stops == [] and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_second_interrupt_goes_to_the_handler_that_was_there(handler, monkeypatch):
    called, stops, clock = [], [], [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    own = lambda number, frame: called.append(number)  # noqa: E731
    handler(own)
    with on_interrupt(lambda: stops.append(1)):
        interrupt()
        interrupt()  # within a second: the same one
        assert (len(stops), called) == (1, [])
        clock[0] += 2
        interrupt()
    assert (len(stops), called) == (1, [signal.SIGINT])
    assert signal.getsignal(signal.SIGINT) is own


def test_a_handler_put_in_place_meanwhile_stays(handler):
    own = lambda number, frame: None  # noqa: E731
    with on_interrupt(lambda: None):
        handler(own)
    assert signal.getsignal(signal.SIGINT) is own


def test_where_no_signals_arrive_nothing_is_caught(monkeypatch):
    def refuse(*_):
        raise ValueError("signal only works in main thread of the main interpreter")

    monkeypatch.setattr(signal, "signal", refuse)
    with on_interrupt(lambda: None):
        pass
