"""How a long computation shows itself, and how its user ends it."""

import contextlib
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tqdm import tqdm

from ..streams import SafeStream


def progress_bar(shown: bool = True, **options: Any) -> tqdm:
    """tqdm's bar in terminals and notebooks, nothing where output goes to a file."""
    notebook, stream = in_notebook(), SafeStream(sys.stderr)
    shown = shown and (notebook or stream.isatty())
    given: dict[str, Any] = {"desc": "training", "mininterval": 0.5}
    given |= {"ascii": False, "ncols": 100} if notebook else {"dynamic_ncols": True}
    file = NotebookLine() if shown and notebook else stream
    return tqdm(file=file, disable=not shown, **given | options)


def in_notebook() -> bool:
    """Whether this is a notebook's kernel: Jupyter's own, or another host's (Colab, Spyder, a
    browser), whose shells are of other classes, but not a terminal's."""
    shell = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    kind, *bases = (cls.__name__ for cls in type(shell).__mro__)
    return "InteractiveShell" in bases and "TerminalInteractiveShell" not in (kind, *bases)


class NotebookLine(io.TextIOBase):
    """A file for tqdm that shows what is written in one notebook output, in place: a saved notebook
    keeps the last."""

    handle: Any = None

    def write(self, text: str) -> int:
        from IPython.display import display

        line = {"text/plain": text.strip()}
        if self.handle and text.strip():
            self.handle.update(line, raw=True)
        elif text.strip():
            self.handle = display(line, raw=True, display_id=True)
        return len(text)


@contextlib.contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` at the first Ctrl-C (or the notebook's stop button), so that work ends whole.

    A second one does what it did before, unless it comes within a second: torchrun sends to its
    processes what the terminal has sent them already. Where it is not ours to catch nothing
    changes: in a thread, where the process ignores it, and where a program that embeds Python has
    a handler of its own.
    """
    before, first = signal.getsignal(signal.SIGINT), 0.0
    in_thread = threading.current_thread() is not threading.main_thread()
    if in_thread or before in (None, signal.SIG_IGN):
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not first:
            first = time.monotonic()
            stop()
        elif time.monotonic() - first > 1:
            (before if callable(before) else signal.default_int_handler)(number, frame)

    with contextlib.suppress(ValueError):  # in an interpreter inside another, no signals arrive
        signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handler:  # and nobody has put another one there
            signal.signal(signal.SIGINT, before)
