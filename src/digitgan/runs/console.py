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


def progress_bar(shown: bool = True, **options: Any) -> tqdm:
    """tqdm's bar in terminals and notebooks, nothing where output goes to a file."""
    shell = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    notebook = type(shell).__name__ == "ZMQInteractiveShell"
    shown = shown and (notebook or sys.stderr.isatty())
    file = NotebookLine() if shown and notebook else sys.stderr
    options |= {"mininterval": 0.5, "ascii": False, "ncols": 100 if notebook else None}
    return tqdm(desc="training", file=file, disable=not shown, **options)


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

    A second one interrupts at once, unless it comes within a second: torchrun sends to its
    processes what the terminal has sent them already. In a thread, where signals do not arrive, it
    does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, first = signal.getsignal(signal.SIGINT), 0.0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not first:
            first = time.monotonic()
            stop()
        elif time.monotonic() - first > 1:
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
