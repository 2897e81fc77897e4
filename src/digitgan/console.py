"""How a long computation shows itself, and how its user ends it."""

import contextlib
import signal
import sys
import threading

from tqdm import tqdm


def progress_bar(shown=True, **options):
    """tqdm's bar in terminals and notebooks, nothing where output goes to a file."""
    shell = "IPython" in sys.modules and sys.modules["IPython"].get_ipython()
    notebook = type(shell).__name__ == "ZMQInteractiveShell"
    shown = shown and (notebook or sys.stderr.isatty())
    return tqdm(file=sys.stdout if notebook else sys.stderr, disable=not shown, mininterval=0.5, **options)


@contextlib.contextmanager
def on_interrupt(stop):
    """Call `stop` at the first Ctrl-C (or the notebook's stop button), so that work ends where it is whole;
    a second one interrupts at once. In a thread, where signals do not arrive, it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(*_):
        signal.signal(signal.SIGINT, before)
        stop()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
