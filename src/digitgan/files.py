"""Where the project's files lie, and files that are written whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import InvalidInputError, short_repr

_PACKAGE = Path(__file__).parent
_IN_CHECKOUT = _PACKAGE.parent.name == "src" and (_PACKAGE.parents[1] / "asset").is_dir()
# the checkout; where the package is installed by itself, the current folder: notebooks write below
PROJECT = _PACKAGE.parents[1] if _IN_CHECKOUT else Path()
# asset/ of the checkout, or the part of it that an installed package carries
ASSET = PROJECT / "asset" if _IN_CHECKOUT else _PACKAGE / "asset"
# what a file system answers that does not know an operation, or does not need it
UNSUPPORTED = {
    getattr(errno, name)
    for name in ("ENOSYS", "EOPNOTSUPP", "ENOTSUP", "EINVAL", "ENOTTY", "ENODEV", "ENOLCK")
    if hasattr(errno, name)
}


def user_path(path: str | Path) -> Path:
    """A path as a person writes it, as an absolute path: `~` is the home folder, and a later change
    of the current folder does not move it.

    Raises `InvalidInputError` where it is no path, or there is no home folder or current folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise InvalidInputError(f"path = {short_repr(path)}: must be a string or a Path")
    try:
        return Path(path).expanduser().absolute()
    except (RuntimeError, FileNotFoundError) as error:
        reason = "there is no current folder" if isinstance(error, OSError) else str(error)
        raise InvalidInputError(f"{path}: {reason} Write the whole path.") from None


def shown(path: Path) -> Path:
    """An absolute path as a person would write it: from the current folder on, if it lies there."""
    with contextlib.suppress(OSError):
        return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return path


@contextlib.contextmanager
def atomic_open(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write bytes to. It appears in one step, with its folder, when all is written."""
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            yield file
            sync(file)  # before it takes the name: a crash leaves the old file or the new one
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sync(file: IO[bytes]) -> None:
    """Have a file's content written to the disk, where the file system can do that."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def atomic_write(path: str | Path, content: bytes | memoryview) -> None:
    """Write bytes to a file that appears in one step."""
    with atomic_open(path) as file:
        file.write(content)


def read_small_file(path: str | Path, most: int = 1_000_000) -> bytes:
    """The content of a file of at most `most` bytes.

    Raises FileNotFoundError where there is none, `InvalidInputError` where it cannot be read.
    """
    path = user_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        if path.stat().st_size > most:
            raise InvalidInputError(f"{path}: more than {most:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{path}: {error}") from None
