"""`Digits`: images with their labels, the one type that flows through the project."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InvalidInputError, short_repr
from ..files import atomic_open, atomic_write
from . import layout
from .idx import write_idx

SHOWN = 100  # digits that a notebook shows of a larger set


class Digits:
    """Images with labels: `images` uint8 (N, 28, 28), ink 255 on paper 0; `labels` int64 (N,), -1
    where unknown.

    Anything array-like is accepted (lists, arrays, tensors; one image may come without its first
    axis, a channel axis of 1 is dropped) and checked. `digits[3]`, `digits[:10]`,
    `digits[digits.labels == 7]` are `Digits` again, `a + b` is both. In a notebook it shows itself
    as a grid with labels.

    Raises `InvalidInputError` where shapes, numbers or lengths do not fit.
    """

    def __init__(self, images: Any, labels: Any = None) -> None:
        images = _array(images, "images")
        if images.ndim == 4 and images.shape[1] == 1:
            images = images[:, 0]
        if images.shape == (28, 28):
            images = images[None]
        if images.size == 0:
            images = images.reshape(0, 28, 28)
        if images.ndim != 3 or images.shape[1:] != (28, 28):
            raise InvalidInputError(f"images of shape {images.shape}: must be (N, 28, 28)")
        self.images: np.ndarray = _pixels(images)
        self.labels = check_labels(
            np.full(len(images), -1) if labels is None else labels, lowest=-1
        )
        if len(self.labels) != len(images):
            raise InvalidInputError(
                f"{len(self.labels)} labels for {len(images)} images: must be as many"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> "Digits":
        if isinstance(index, int | np.integer):
            index = [index]
        return Digits(self.images[index], self.labels[index])

    def __iter__(self) -> Iterator["Digits"]:
        return (self[i] for i in range(len(self)))

    def __add__(self, other: "Digits") -> "Digits":
        images = np.concatenate([self.images, other.images])
        return Digits(images, np.concatenate([self.labels, other.labels]))

    def __repr__(self) -> str:
        labels = "".join("?" if y < 0 else str(y) for y in self.labels[:20]) + "…" * (
            len(self) > 20
        )
        return f"Digits({len(self)} images, labels {labels})"

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
        texts = ["" if y < 0 else str(y) for y in self.labels] if captions else ()
        return layout.grid(self.images, texts, columns, scale, inverted)

    def strip(
        self, scale: int = 4, inverted: bool = False, width: int = 480, gap: int = 3
    ) -> Image.Image:
        """The digits as lines of handwriting, as one smoothed PIL image, each pixel `scale` pixels
        wide.

        An image without ink is a space. A line is at most `width` pixels long (before `scale`),
        with `gap` pixels from ink to ink.
        """
        return layout.strip(self.images, scale, inverted, width, gap)

    def png(self, strip: bool = False, **options: Any) -> bytes:
        """The grid, or the strip, as the bytes of a PNG file; options as for `grid` or `strip`."""
        file = io.BytesIO()
        (self.strip if strip else self.grid)(**options).save(file, "png", optimize=True)
        return file.getvalue()

    def _repr_png_(self) -> bytes | None:
        return self[:SHOWN].png(captions=True, inverted=True) if len(self) else None

    def save(self, path: str | Path, **options: Any) -> Path:
        """Write the grid (with `strip=True` the strip) to a `.png`, or one digit after the other to
        a `.gif`.

        Options as for `grid` or `strip`. Returns the path. Raises `InvalidInputError` for other
        endings.
        """
        path = Path(path).expanduser()
        kind = path.suffix.lower()
        if kind == ".png":
            atomic_write(path, self.png(**options))
        elif kind == ".gif" and len(self):
            options.pop("strip", None)
            first, *others = (digit.grid(**{"scale": 8} | options) for digit in self)
            with atomic_open(path) as file:
                first.save(file, "gif", save_all=True, append_images=others, duration=60, loop=0)
        else:
            rule = "must end in .png, or in .gif with 1 digit or more"
            raise InvalidInputError(f"{path}, {len(self)} digits: {rule}")
        return path

    def to_idx(self, folder: str | Path, train: bool = True) -> Path:
        """Write uncompressed IDX files below `folder`/MNIST/raw, and return that folder.

        `torchvision.datasets.MNIST(folder)` reads them once both sets are there. Raises
        `InvalidInputError` where a label is unknown.
        """
        if (self.labels < 0).any():
            told = f"{(self.labels < 0).sum()} of {len(self)} digits have no label"
            raise InvalidInputError(f"{told}: IDX files need them all")
        return write_idx(folder, [self], len(self), train)

    def to_image_folder(self, folder: str | Path) -> Path:
        """Write each digit as `folder`/<label>/<number>.png, and return the folder.

        `torchvision.datasets.ImageFolder` reads them. Digits without a label go to `unknown`.
        """
        folder = Path(folder).expanduser()
        width = len(str(max(len(self) - 1, 0)))
        for i, label in enumerate(self.labels):
            name = "unknown" if label < 0 else str(label)
            self[i].save(folder / name / f"{i:0{width}}.png", scale=1)
        return folder


def check_labels(labels: Any, lowest: int = 0) -> np.ndarray:
    """Labels as an int64 array (N,).

    Raises `InvalidInputError` unless they are whole numbers from `lowest` to 9.
    """
    array = _array(labels, "labels")
    if array.size == 0:
        array = array.astype(np.int64).reshape(-1)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidInputError(f"labels = {short_repr(labels)}: must be a list of whole numbers")
    wrong = array[(array < lowest) | (array > 9)]
    if len(wrong):
        raise InvalidInputError(f"label {wrong[0]}: must be from {lowest} to 9")
    return array.astype(np.int64)


def _pixels(images: np.ndarray) -> np.ndarray:
    """The images as uint8, if they hold whole numbers from 0 to 255."""
    if images.dtype == np.uint8:
        return images
    numbers = images.dtype.kind in "buif"
    if not numbers or not ((images >= 0) & (images <= 255) & (images % 1 == 0)).all():
        rule = "must be whole numbers from 0 (paper) to 255 (ink)"
        raise InvalidInputError(f"images of type {images.dtype}: {rule}")
    return images.astype(np.uint8)


def _array(values: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except ValueError:  # lists of unequal lengths
        raise InvalidInputError(f"{name} = {short_repr(values)}: must be an array") from None
