"""What is said on the standard streams. They may be closed, replaced, or too narrow for a letter:
no computation stops because of it."""

import contextlib
import io
import os
import sys
from typing import Any


class SafeStream(io.TextIOBase):
    """A text stream that writes to another one, and never fails.

    `stream`: any object with `write`, or None. Letters that it cannot encode become `?`. A stream
    that is closed, or whose reader has gone, takes the text and shows nothing.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Whether someone looks at the stream in a terminal."""
        try:
            return bool(self.stream.isatty())
        except (AttributeError, OSError, ValueError):
            return False

    def write(self, text: str) -> int:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            try:
                self.stream.write(text)
            except UnicodeEncodeError:
                self.stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            self.stream.flush()


def tell(text: object, error: bool = False) -> None:
    """Print a line on the standard output, or on the standard error."""
    stream = SafeStream(sys.stderr if error else sys.stdout)
    stream.write(f"{text}\n")
    stream.flush()


def prepare_streams() -> None:
    """Make the standard streams of this process fit for a command.

    Closed ones become the null device, so that no file that is opened later takes their place.
    Letters that a stream cannot encode become `?`.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def drop_stdout() -> None:
    """After its reader has gone: what still waits to be written goes to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(AttributeError, OSError, ValueError):
        os.dup2(null, sys.stdout.fileno())
    os.close(null)
