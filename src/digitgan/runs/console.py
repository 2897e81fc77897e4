"""How a long computation shows itself, and how its user ends it."""

import contextlib
import io
import signal
import sys
import threading
import time

from tqdm import tqdm


def progress_bar(shown=True, **options):
    """tqdm's bar in terminals and notebooks, nothing where output goes to a file."""
    shell = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    notebook = type(shell).__name__ == "ZMQInteractiveShell"
    shown = shown and (notebook or sys.stderr.isatty())
    file = NotebookLine() if shown and notebook else sys.stderr
    return tqdm(file=file, disable=not shown, mininterval=0.5, ascii=False, ncols=100 if notebook else None, **options)


class NotebookLine(io.TextIOBase):
    """A file for tqdm that shows what is written in one notebook output, in place: a saved notebook keeps the last."""

    handle = None

    def write(self, text):
        from IPython.display import display

        line = {"text/plain": text.strip()}
        if self.handle and text.strip():
            self.handle.update(line, raw=True)
        elif text.strip():
            self.handle = display(line, raw=True, display_id=True)


@contextlib.contextmanager
def on_interrupt(stop):
    """Call `stop` at the first Ctrl-C (or the notebook's stop button), so that work ends where it is whole; a second
    one interrupts at once, unless it comes within a second: torchrun hands on to its processes what the terminal has
    told them already. In a thread, where signals do not arrive, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, told = signal.getsignal(signal.SIGINT), None

    def handler(*signals):
        nonlocal told
        if told is None:
            told = time.monotonic()
            stop()
        elif time.monotonic() - told > 1:
            signal.default_int_handler(*signals)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
