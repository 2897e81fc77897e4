"""The errors that digitgan raises on purpose: one line each, with the value received and the
rule."""

import reprlib

from .streams import tell


class DigitganError(Exception):
    """The base of them all: `except DigitganError` catches every error that digitgan raises on
    purpose."""

    exit_code = 1  # of a command that ends with this error

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the line alone, without the traceback."""
        return [f"{type(self).__name__}: {self}"]


class InvalidInputError(DigitganError, ValueError):
    """A value, a file or a command that cannot be used. The message names it and the rule."""

    exit_code = 2


class TrainingDivergedError(DigitganError):
    """Losses, logits or weights have left all bounds. The last good checkpoint is kept."""


class RunFolderError(DigitganError):
    """A run folder that is in use, holds another run, was deleted, or cannot be read or written."""


class ProcessLostError(DigitganError):
    """Another process of a run in several processes has ended."""


def short_repr(value: object) -> str:
    """Any value as one short line, for a message."""
    try:
        return one_line(reprlib.repr(value))
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"


def one_line(text: object) -> str:
    """Any text, an error's say, as one line."""
    return " ".join(str(text).split())


def print_error(error: object, code: int) -> int:
    """Tell the user in one line what is wrong; returns the exit code."""
    tell(f"digitgan: {one_line(error)}", error=True)
    return code
