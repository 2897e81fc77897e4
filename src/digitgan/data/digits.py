"""`Digits`: images with their labels, the one type that flows through the project."""

import collections
import io
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..bounds import plain
from ..errors import InvalidInputError, short_repr
from ..files import atomic_open, atomic_write, user_path
from . import layout
from .idx import write_idx
from .spec import DIGITS, MNIST, SIDES, ImageSpec, check_classes
from .tables import write_csv

SHOWN = 100  # digits that a notebook shows of a larger set
ROUNDING = 1e-3  # how far images in 0..1 may lie outside, after resizing, say
MOST_WRITER = 2**31 - 1  # the largest number of a writer that an IDX file takes
RULE = "fractions in 0..1, or whole numbers from 0 (paper) to 255 (ink)"


class Digits:
    """Images with labels: `images` uint8 (N, 28, 28), ink 255 on paper 0; `labels` int64 (N,), -1
    where unknown; `writers` int64 (N,), who wrote each, -1 where unknown, or None if nobody knows.

    Images may have another size, a multiple of 4 from 8 to 64, and colour: (N, H, W, 3). `classes`
    are the names of the labels 0, 1, ..., or how many there are: "0" to "9" if None. `spec` says
    all of that.

    Anything array-like is accepted (lists, arrays, tensors; one image may come without its first
    axis, a channel axis of 1 is dropped, one of 3 may come first or last) and checked. `ink` is the
    number that stands for full ink in `images`, paper being 0: 255, 1, 16, ... If None it is found:
    truth values and images in 0..1 are scaled to 255, images in 0..255 stay, others are refused
    (`find_ink` has the rules).

    `digits[:10]`, `digits[digits.labels == 7]` are `Digits` again, `a + b` is both. In a notebook
    it shows itself as a grid with labels. It serves as a torch data set as well: `digits[3]` and
    the items of a loop are `Digits` of one that also unpack as `image, label`, and a `DataLoader`
    makes batches of images uint8 (B, 28, 28) and labels int64 (B,).

    Raises `InvalidInputError` where shapes, numbers or lengths do not fit.
    """

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        ink: float | None = None,
        classes: Any = None,
        writers: Any = None,
    ) -> None:
        images = with_known_axes(_array(images, "images"))
        self.classes = DIGITS if classes is None else check_classes(classes)
        self.images: np.ndarray = to_pixels(images, ink)
        labels = np.full(len(images), -1) if labels is None else labels
        self.labels = check_labels(labels, lowest=-1, classes=self.classes)
        if len(self.labels) != len(images):
            raise InvalidInputError(
                f"{len(self.labels)} labels for {len(images)} images: must be as many"
            )
        self.writers = None if writers is None else check_writers(writers, len(images))

    @property
    def spec(self) -> ImageSpec:
        """Size, channels and class names."""
        channels = 1 if self.images.ndim == 3 else 3
        return ImageSpec(self.images.shape[1], channels, self.classes)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> "Digits":
        """Some digits, chosen as numpy chooses from an array of one axis; one by a whole number.

        Raises IndexError for others.
        """
        if isinstance(index, slice):  # stays in the same memory, or file
            rest = self.classes, self._writers_of(index)
            return Digits(self.images[index], self.labels[index], 255, *rest)
        index = index.detach().cpu().numpy() if hasattr(index, "detach") else index
        rows = np.arange(len(self))[index]
        if rows.ndim > 1:
            raise IndexError(f"index {short_repr(index)}: must choose digits along one axis")
        kind = Digits if rows.ndim else Digit
        rows = np.atleast_1d(rows)
        return kind(self.images[rows], self.labels[rows], 255, self.classes, self._writers_of(rows))

    def spread(self, count: int) -> "Digits":
        """At most so many of them, evenly spaced, since sets are often sorted by class."""
        return self[np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)]

    def _writers_of(self, rows: Any) -> np.ndarray | None:
        return None if self.writers is None else self.writers[rows]

    def __getitems__(self, rows: list[int]) -> list[tuple[np.ndarray, int]]:
        """What torch's `DataLoader` asks for: (image uint8 (28, 28), label) of some rows."""
        return [tuple(self[row]) for row in rows]  # type: ignore[misc]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: "Digits") -> "Digits":
        if not isinstance(other, Digits):
            return NotImplemented
        if self.spec != other.spec:
            raise InvalidInputError(f"{self.spec} and {other.spec}: must be of one kind")
        images = np.concatenate([self.images, other.images])
        labels, writers = np.concatenate([self.labels, other.labels]), None
        if self.writers is not None or other.writers is not None:
            parts = [d.writers if d.writers is not None else [-1] * len(d) for d in (self, other)]
            writers = np.concatenate(parts).astype(np.int64)
        return Digits(images, labels, 255, self.classes, writers)

    def __radd__(self, other: Any) -> "Digits":
        """`sum` of some `Digits` begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __repr__(self) -> str:
        names = self.names(self.labels[:20])
        text = (", " if any(len(name) > 1 for name in names) else "").join(names)
        shape = "" if self.spec.shape == MNIST.shape else f"{'x'.join(map(str, self.spec.shape))} "
        return f"Digits({len(self)} {shape}images, labels {text}{'…' * (len(self) > 20)})"

    def names(self, labels: Any = None, unknown: str = "?") -> list[str]:
        """The class names of some labels (of all of these images), `unknown` where it is -1."""
        labels = self.labels if labels is None else labels
        return [unknown if y < 0 else self.classes[y] for y in labels]

    def grid(
        self,
        columns: int | None = None,
        scale: int = 2,
        inverted: bool = False,
        captions: bool = False,
    ) -> Image.Image:
        """The digits as one PIL image, row by row, each pixel `scale` pixels wide.

        `columns` is at most 10 for up to 100 digits, else about the square root of their number.
        `inverted` gives ink on white paper. `captions` writes each known label above its digit.
        """
        texts = self.names(unknown="") if captions else ()
        return layout.grid(self.images, texts, columns, scale, inverted)

    def strip(
        self, scale: int = 4, inverted: bool = False, width: int = 480, gap: int = 3
    ) -> Image.Image:
        """The digits as lines of handwriting, as one smoothed PIL image, each pixel `scale` pixels
        wide.

        An image without ink is a space. A line is at most `width` pixels long (before `scale`),
        with `gap` pixels from ink to ink.
        """
        return layout.strip(self.images, scale, inverted, width, gap, descents(self))

    def png(self, strip: bool = False, **options: Any) -> bytes:
        """The grid, or the strip, as the bytes of a PNG file; options as for `grid` or `strip`."""
        file = io.BytesIO()
        (self.strip if strip else self.grid)(**options).save(file, "png")
        return file.getvalue()

    def _repr_png_(self) -> bytes | None:
        return self[:SHOWN].png(captions=True, inverted=True) if len(self) else None

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the grid (with `strip=True` the strip) to a `.png`, or one digit after the other to
        a `.gif`.

        Options as for `grid` or `strip`. Returns the path. Raises `InvalidInputError` for other
        endings.
        """
        path = user_path(path)
        kind = path.suffix.lower()
        if kind == ".png":
            atomic_write(path, self.png(**options))
        elif kind == ".gif" and len(self):
            options.pop("strip", None)
            each = (self[i] for i in range(len(self)))
            first, *others = (digit.grid(**{"scale": 8} | options) for digit in each)
            with atomic_open(path) as file:
                first.save(file, "gif", save_all=True, append_images=others, duration=60, loop=0)
        else:
            rule = "must end in .png, or in .gif with 1 digit or more"
            raise InvalidInputError(f"{path}, {len(self)} digits: {rule}")
        return path

    def to_idx(self, folder: str | Path, train: bool = True) -> Path:
        """Write uncompressed IDX files below `folder`/MNIST/raw, and return that folder.

        `torchvision.datasets.MNIST(folder)` reads them once both sets are there. Where writers are
        known, they go into a third file that `load_digits` reads. Raises `InvalidInputError` where
        a label is unknown.
        """
        if (self.labels < 0).any():
            told = f"{(self.labels < 0).sum()} of {len(self)} digits have no label"
            raise InvalidInputError(f"{told}: IDX files need them all")
        return write_idx(folder, [self], len(self), train, self.spec)

    def to_image_folder(self, folder: str | Path) -> Path:
        """Write each digit as `folder`/<class>/<number>.png, and return the folder.

        `load_images` and `torchvision.datasets.ImageFolder` read them. Digits without a label go to
        `unknown`. A class whose name cannot be that of a folder goes by its number. Where writers
        are known, `folder`/writers.csv has the writer of each file.
        """
        folder = user_path(folder)
        files = []
        width = len(str(max(len(self) - 1, 0)))
        names = folder_names(self.classes)
        for i, label in enumerate(self.labels):
            name = "unknown" if label < 0 else names[label]
            files.append(f"{name}/{i:0{width}}.png")
            self[i].save(folder / files[-1], scale=1)
        (folder / "writers.csv").unlink(missing_ok=True)  # of what lay there before
        if self.writers is not None:
            named = zip(files, self.writers.tolist(), strict=True)
            write_csv(folder / "writers.csv", [{"file": f, "writer": w} for f, w in named])
        return folder


class Digit(Digits):
    """`Digits` of one, which unpack as `image, label`: uint8 (28, 28) and an int, -1 if unknown."""

    def __iter__(self) -> Iterator[Any]:
        return iter((self.images[0], int(self.labels[0])))


def folder_names(classes: Sequence[str]) -> list[str]:
    """A name of a folder for each class: its own, where it can be one on any file system."""
    names = [re.sub(r"[^\w +-]", "_", name) for name in classes]
    alike = collections.Counter(name.lower() for name in names)
    return [n if alike[n.lower()] == 1 else f"{n}-{i}" for i, n in enumerate(names)]


def with_known_axes(images: np.ndarray) -> np.ndarray:
    """Images as (N, H, W) or (N, H, W, 3), from what else is clear: one image without its first
    axis, or channels before rows.

    Raises `InvalidInputError` for others, and where they are not square, of a side that is a
    multiple of 4 from 8 to 64.
    """
    if not images.size and (images.ndim < 3 or len(images)):
        images = images.reshape(0, 28, 28)
    given, colour = images.shape, images.shape[-1:] == (3,)
    if images.ndim == 2 or (images.ndim == 3 and colour):
        images = images[None]  # one image
    if images.ndim == 4 and images.shape[1] in (1, 3) and not colour:
        images = np.moveaxis(images, 1, 3)
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    square = images.ndim in (3, 4) and images.shape[1] == images.shape[2]
    if not square or images.shape[1] not in SIDES or images.shape[3:] not in ((), (3,)):
        rule = "must be (N, S, S) or (N, S, S, 3), where S is a multiple of 4 from 8 to 64"
        raise InvalidInputError(f"images of shape {given}: {rule}")
    return images


def descents(digits: Digits) -> list[int]:
    """By how many pixels each letter is moved below the line, where it is written.

    Most sets of letters centre each of them in its image: a `p` would stand on the line with its
    tail. Where its ink lies lower than that already, it is moved by less, or not at all.
    """
    size = digits.images.shape[1]
    deep = [size_of_tail(name, size) for name in digits.classes]
    tails = [0 if y < 0 else deep[y] for y in digits.labels]
    for i in np.flatnonzero(tails):
        rows = np.flatnonzero((digits.images[i] > layout.INK).reshape(size, -1).any(1))
        if len(rows):
            lower = max(round((rows[0] + rows[-1] - (size - 1)) / 2), 0)  # than centred
            tails[i] = max(tails[i] - lower, 0)
    return tails


def size_of_tail(name: str, size: int) -> int:
    """The part of a letter below the line, in pixels of an image of that size."""
    return round(0.2 * size) if name in tuple("gjpqy") else 0


def check_labels(
    labels: Any, lowest: int = 0, classes: Sequence[str] | int = len(DIGITS)
) -> np.ndarray:
    """Labels as an int64 array (N,).

    Raises `InvalidInputError` unless they are whole numbers from `lowest` to 9, or to the last of
    other classes.
    """
    last = (classes if isinstance(classes, int) else len(classes)) - 1
    array = _whole_numbers(labels, "labels")
    wrong = array[(array < lowest) | (array > last)]
    if len(wrong):
        raise InvalidInputError(f"label {int(wrong[0])}: must be from {lowest} to {last}")
    return array.astype(np.int64)


def check_writers(writers: Any, count: int) -> np.ndarray:
    """Writers as an int64 array (`count`,).

    Raises `InvalidInputError` unless they are as many whole numbers, from -1 (unknown) on.
    """
    array = _whole_numbers(writers, "writers")
    if len(array) != count:
        raise InvalidInputError(f"{len(array)} writers for {count} images: must be as many")
    wrong = array[(array < -1) | (array > MOST_WRITER)]
    if len(wrong):
        raise InvalidInputError(f"writer {int(wrong[0])}: must be from -1 to {MOST_WRITER:,}")
    return array.astype(np.int64)


def _whole_numbers(values: Any, name: str) -> np.ndarray:
    array = np.atleast_1d(_array(values, name))
    if array.size == 0:
        array = array.astype(np.int64).reshape(-1)
    whole = array.dtype.kind in "iu" or (
        array.dtype.kind == "f"  # a table of numbers has made them so
        and np.isfinite(array).all()
        and (array == np.floor(array)).all()
    )
    if array.ndim != 1 or not whole:
        raise InvalidInputError(f"{name} = {short_repr(values)}: must be whole numbers, (N,)")
    return array


def to_pixels(images: np.ndarray, ink: float | None = None) -> np.ndarray:
    """Images as uint8, full ink 255 on paper 0, in memory that torch can share: writable, and
    running forward along each axis."""
    if images.dtype.kind not in "buif":
        raise InvalidInputError(f"images of type {images.dtype}: must be {RULE}")
    ink = find_ink(images) if ink is None else plain(ink)
    if not isinstance(ink, int | float) or not 0 < ink < np.inf:
        raise InvalidInputError(f"ink = {short_repr(ink)}: must be the number of full ink")
    if images.dtype != np.uint8 or ink != 255:
        images = _scaled(images, ink)
    if min(images.strides, default=0) < 0 or not (images.flags.writeable or in_file(images)):
        images = images.copy()
    return images


def _scaled(images: np.ndarray, ink: float) -> np.ndarray:
    scaled = np.empty(images.shape, np.uint8)
    for block, target in zip(_blocks(images), _blocks(scaled), strict=True):
        numbers = np.asarray(block, np.float64) / ink
        if not ((numbers >= -ROUNDING) & (numbers <= 1 + ROUNDING)).all():
            told = f"images from {block.min():g} to {block.max():g}"
            raise InvalidInputError(f"{told}: must be from 0 (paper) to {ink:g} (ink)")
        target[...] = (numbers * 255).round().clip(0, 255)
    return scaled


def find_ink(images: np.ndarray) -> float:
    """The number that stands for full ink in images (N, 28, 28), where that is certain.

    1: truth values, 0 and 1, or fractions in 0..1. 255: whole numbers in 0..255, some above 64, the
    least that counts as ink, or nothing but 0. Others might be meant in several ways, and raise
    `InvalidInputError`.
    """
    low, high, whole = 0.0, 0.0, True
    for block in _blocks(images):
        if not np.isfinite(block).all():
            raise InvalidInputError(f"images with numbers that are not finite: must be {RULE}")
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        whole = whole and (images.dtype.kind != "f" or bool((block % 1 == 0).all()))
        if images.dtype == np.uint8 and high > layout.INK:  # no need to look at the others
            return 255
        release(block)
    if low >= -ROUNDING and high <= 1 + ROUNDING and high > 0:
        return 1
    if low < 0 or high > 255 or not whole:
        raise InvalidInputError(f"images from {low:g} to {high:g}: must be {RULE}")
    if 0 < high <= layout.INK:
        told = f"images of at most {high:g}: full ink may be {high:g} or 255"
        raise InvalidInputError(f"{told}, say which by `ink`, as in Digits(images, ink=255)")
    return 255


def _blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[i : i + 1000] for i in range(0, len(images), 1000))


def in_file(images: np.ndarray | mmap.mmap | None) -> mmap.mmap | None:
    """The file in which images lie that are read when they are looked at, or None."""
    while isinstance(images, np.ndarray):
        images = images.base  # type: ignore[assignment]
    return images if isinstance(images, mmap.mmap) else None


def release(images: np.ndarray) -> None:
    """Give back the memory of images that lie in a file: they are read again when next looked at.

    What was written over them is forgotten. Others stay as they are.
    """
    file = in_file(images)
    if file is not None and hasattr(file, "madvise"):
        file.madvise(mmap.MADV_DONTNEED)


def _array(values: Any, name: str) -> np.ndarray:
    """Anything array-like as an array; numbers of 16 bits that numpy lacks become float32."""
    try:
        if hasattr(values, "detach"):
            values = values.detach().cpu()
            values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError):  # lists of unequal lengths
        raise InvalidInputError(f"{name} = {short_repr(values)}: must be an array") from None
