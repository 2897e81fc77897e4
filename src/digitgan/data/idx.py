"""IDX files, the format of MNIST: two zero bytes, a type, the number of axes, their lengths, the
numbers."""

import gzip
import hashlib
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ..errors import InvalidInputError
from ..files import UNSUPPORTED, atomic_open, atomic_write, user_path
from .spec import MNIST, SIDES, ImageSpec

if TYPE_CHECKING:
    from .digits import Digits

# how a file may begin: (the type of its numbers, the lengths of all axes but the first)
Kinds = dict[int, tuple[str, list[int]]]
IMAGES: Kinds = {0x803: ("u1", [28, 28])}  # or another side of `SIDES`
CLASSES = "classes.txt"  # a file beside them: a name a line, where classes are not the digits
LABELS: Kinds = {0x801: ("u1", []), 0xC02: (">i4", [8])}
WRITERS: Kinds = {0xB01: (">i2", []), 0xC01: (">i4", [])}
MOST_PACKED, MOST = 500_000, 50_000_000  # images in a gzipped file, and in another


def write_idx(
    folder: str | Path,
    batches: Iterable["Digits"],
    count: int,
    train: bool = True,
    spec: ImageSpec = MNIST,
) -> Path:
    """Write `count` digits with their labels below `folder`/MNIST/raw, and return that folder.

    They come as an iterable of `Digits`, of which one at a time is in memory. Class names other
    than "0" to "9" are written beside them. Where all of them have writers, these go into a third
    file. Raises `InvalidInputError` where the format cannot hold them: colour, or more than 256
    classes.
    """
    if spec.channels > 1 or len(spec.classes) > 256:
        raise InvalidInputError(f"{spec}: must be grey, in at most 256 classes, for IDX files")
    writers: list[np.ndarray | None] = []
    raw, prefix = user_path(folder) / "MNIST" / "raw", "train" if train else "t10k"
    number, side = count.to_bytes(4, "big"), spec.size.to_bytes(4, "big")
    if spec.classes != MNIST.classes:
        atomic_write(raw / CLASSES, "\n".join(spec.classes).encode())
    else:
        (raw / CLASSES).unlink(missing_ok=True)  # of the images that lay there before
    with (
        atomic_open(raw / f"{prefix}-images-idx3-ubyte") as images,
        atomic_open(raw / f"{prefix}-labels-idx1-ubyte") as labels,
    ):
        images.write(b"\0\0\x08\x03" + number + side + side)
        labels.write(b"\0\0\x08\x01" + number)
        for batch in batches:
            images.write(batch.images.tobytes())
            labels.write(batch.labels.astype(np.uint8).tobytes())
            writers.append(batch.writers)
    path = raw / f"{prefix}-writers-idx1-int"
    path.unlink(missing_ok=True)  # of the digits that lay there before
    known = [batch for batch in writers if batch is not None]
    if known and len(known) == len(writers):
        numbers = np.concatenate(known).astype(">i4").tobytes()
        atomic_write(path, b"\0\0\x0c\x01" + number + numbers)
    return raw


def read_idx(path: Path, kinds: Kinds, sha256: str = "") -> np.ndarray:
    """An IDX file, gzipped or not, as an array; one that is not gzipped stays in its file until
    looked at.

    No memory is filled on the word of the head, and no more is unpacked than it says. Raises
    ValueError, OSError, EOFError or zlib.error where the file is not sound, or not the one of that
    SHA-256.
    """
    with path.open("rb") as packed:
        begin = packed.read(99)
        if begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise ValueError("it looks like a web page")
        packed.seek(0)
        gzipped = path.suffix.lower() == ".gz" or begin.startswith(b"\x1f\x8b")
        file = gzip.GzipFile(fileobj=packed) if gzipped else packed
        head, kind, shape = _read_head(file, kinds, MOST_PACKED if gzipped else MOST)
        size = math.prod(shape) * np.dtype(kind).itemsize
        if gzipped:
            numbers = np.frombuffer(file.read(size + 1), np.uint8).copy()
        else:
            numbers = _map(packed, len(head))
    if numbers.size != size:
        told = "more" if numbers.size > size else "fewer"
        raise ValueError(f"shape {shape} needs {size:,} bytes, it has {told}")
    if sha256 and hashlib.sha256(head + numbers.data).hexdigest() != sha256:
        raise ValueError(
            "SHA-256 of its content is not MNIST's; `git checkout asset/mnist` restores it"
        )
    return numbers.view(kind).reshape(shape)


def _read_head(
    file: IO[bytes] | gzip.GzipFile, kinds: Kinds, most: int
) -> tuple[bytes, str, list[int]]:
    """The bytes of the head, the type of the numbers, and the shape."""
    head = file.read(4)
    kind, axes = kinds.get(int.from_bytes(head, "big"), ("u1", []))
    head += file.read(4 + 4 * len(axes))
    magic, *shape = np.frombuffer(head.ljust(8 + 4 * len(axes), b"\0"), ">u4").tolist()
    squares = [[side, side] for side in SIDES] if kinds is IMAGES else [axes]
    if magic not in kinds or shape[1:] not in squares or not 1 <= shape[0] <= most:
        rule = " or ".join(f"{m:08x} {['N', *axes]}" for m, (_, axes) in kinds.items()).replace(
            "'", ""
        )
        sides = " or of another side, a multiple of 4 from 8 to 64" * (kinds is IMAGES)
        raise ValueError(
            f"it begins with {magic:08x} {shape}, must with {rule}{sides}, N from 1 to {most:,}"
        )
    return head, kind, shape


def _map(file: IO[bytes], offset: int) -> np.ndarray:
    """The rest of a file as bytes that are read when they are looked at."""
    for mode in ("c", "r"):  # may be written over in memory, as torch asks; or only be looked at
        try:
            return np.memmap(file, np.uint8, mode, offset)  # type: ignore[call-overload]
        except OSError as error:  # more than the system's memory, or files that cannot be mapped
            reason = error.errno
    if reason not in UNSUPPORTED:
        raise OSError(reason, os.strerror(reason or 0))
    file.seek(offset)
    return np.frombuffer(bytearray(file.read()), np.uint8)
