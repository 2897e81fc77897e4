"""Where the project's files lie, and files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import InvalidInputError

PROJECT = Path(__file__).parents[2]  # the checkout, where there is one
# asset/ of the checkout, or the part of it that an installed package carries
ASSET = PROJECT / "asset" if (PROJECT / "asset").is_dir() else Path(__file__).parent / "asset"


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write bytes to. It appears in one step, with its folder, when all is written."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(
                file.fileno()
            )  # before it takes the name: a crash leaves the old file or the new one
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes | memoryview) -> None:
    """Write bytes to a file that appears in one step."""
    with atomic_open(path) as file:
        file.write(content)


def read_small_file(path: str | Path, most: int = 1_000_000) -> bytes:
    """The content of a file of at most `most` bytes.

    Raises FileNotFoundError where there is none, `InvalidInputError` where it cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        if path.stat().st_size > most:
            raise InvalidInputError(f"{path}: more than {most:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path}: {error}") from None
