"""`Digits`: images with their labels, the one type that flows through the house; `load_digits`."""

import gzip
import hashlib
import io
import math
import mmap
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..common import ASSET, Mistake, short, whole_file, write_whole
from ..hyperparameters import Hyperparameters

SHOWN = 100  # digits that a notebook shows of a larger set


class Digits:
    """Images with labels: `images` uint8 (N, 28, 28), ink 255 on paper 0; `labels` int64 (N,), -1 where unknown.

    Anything array-like is accepted (lists, arrays, tensors; one image may come without its first axis, a channel axis of
    1 is dropped) and checked. Raises `Mistake` where shapes, numbers or lengths do not fit. `digits[3]`, `digits[:10]`,
    `digits[digits.labels == 7]` are `Digits` again, `a + b` is both. In a notebook it shows itself as a grid with labels.
    """

    def __init__(self, images, labels=None):
        images = _array(images, "images")
        if images.ndim == 4 and images.shape[1] == 1:
            images = images[:, 0]
        if images.shape == (28, 28):
            images = images[None]
        if images.size == 0:
            images = images.reshape(0, 28, 28)
        if images.ndim != 3 or images.shape[1:] != (28, 28):
            raise Mistake(f"images of shape {images.shape}: must be (N, 28, 28)")
        if images.dtype != np.uint8:
            if images.dtype.kind not in "buif" or not ((images >= 0) & (images <= 255) & (images % 1 == 0)).all():
                raise Mistake(f"images of type {images.dtype}: must be whole numbers from 0 (paper) to 255 (ink)")
            images = images.astype(np.uint8)
        if labels is None:
            labels = np.full(len(images), -1)
        self.images = images
        self.labels = check_labels(labels, lowest=-1)
        if len(self.labels) != len(images):
            raise Mistake(f"{len(self.labels)} labels for {len(images)} images: must be as many")

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if isinstance(index, int | np.integer):
            index = [index]
        return Digits(self.images[index], self.labels[index])

    def __add__(self, other):
        return Digits(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))

    def __repr__(self):
        labels = "".join("?" if y < 0 else str(y) for y in self.labels[:20]) + "…" * (len(self) > 20)
        return f"Digits({len(self)} images, labels {labels})"

    def grid(self, columns=None, scale=2, inverted=False, captions=False):
        """The digits as one PIL image, row by row, each pixel `scale` pixels wide.

        `columns` is at most 10 for up to 100 digits, else about the square root of their number.
        `inverted` gives ink on white paper. `captions` writes each known label above its digit.
        """
        n = len(self)
        columns = columns or (min(max(n, 1), 10) if n <= 100 else math.ceil(math.sqrt(n)))
        rows = max(1, math.ceil(n / columns))
        cell, head = 28 * scale, 14 if captions else 0
        page = Image.new("L", (columns * cell, rows * (cell + head)), 0)
        draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=11)
        for i, (image, label) in enumerate(zip(self.images, self.labels, strict=True)):
            x, y = i % columns * cell, i // columns * (cell + head)
            page.paste(Image.fromarray(image).resize((cell, cell), Image.Resampling.NEAREST), (x, y + head))
            if captions and label >= 0:
                draw.text((x + cell / 2, y + 2), str(label), fill=160, font=font, anchor="mt")
        return Image.eval(page, lambda p: 255 - p) if inverted else page

    def strip(self, scale=4, inverted=False, width=480, gap=3):
        """The digits as lines of handwriting, as one smoothed PIL image, each pixel `scale` pixels wide.

        Digits stand `gap` pixels from ink to ink, each row of pixels and its neighbours looked at, so that a 7 and a 4
        move together; an image without ink is a space. A line is at most `width` pixels (before `scale`) long.
        """
        lines, space, edge = [[]], 0, np.full(28, -99)  # lines of (where it begins, ink cropped to its columns)
        for image in self.images:
            columns = np.flatnonzero((image > 64).any(0))
            if not len(columns):
                space += 12
                continue
            glyph = image[:, columns[0] : columns[-1] + 1]
            ink = glyph > 64
            begins = np.where(ink.any(1), ink.argmax(1), 99)  # (28,), 99 where a row has no ink
            ends = np.where(ink.any(1), glyph.shape[1] - ink[:, ::-1].argmax(1), -99)
            left = 0
            if lines[-1]:
                near = np.max([edge, np.roll(edge, 1), np.roll(edge, -1), np.roll(edge, 2), np.roll(edge, -2)], 0)
                left = max((near - begins).max() + gap, lines[-1][-1][0] + 4) + space
            if not left or left + glyph.shape[1] > width:
                lines += [[]] if lines[-1] else []
                left, edge = 0, np.full(28, -99)
            lines[-1].append((left, glyph))
            edge, space = np.maximum(edge, left + ends), 0  # where the ink of the line ends, row by row
        ends = [left + glyph.shape[1] for line in lines for left, glyph in line]
        page = np.zeros((28 * len(lines), max(ends, default=20) + 8), np.uint8)  # 4 pixels of margin
        for i, line in enumerate(lines):
            for left, glyph in line:
                place = page[28 * i : 28 * (i + 1), 4 + left : 4 + left + glyph.shape[1]]
                np.maximum(place, glyph, out=place)
        picture = Image.fromarray(255 - page if inverted else page)
        return picture.resize((page.shape[1] * scale, page.shape[0] * scale), Image.Resampling.BICUBIC)

    def png(self, strip=False, **layout):
        """The grid, or the strip, as the bytes of a PNG file; `layout` as for `grid` or `strip`."""
        file = io.BytesIO()
        (self.strip if strip else self.grid)(**layout).save(file, "png", optimize=True)
        return file.getvalue()

    def _repr_png_(self):
        return self[:SHOWN].png(captions=True, inverted=True) if len(self) else None

    def save(self, path, **layout):
        """Write the grid to a `.png` (with `strip=True` the strip), or a `.gif` with one digit after the other.

        `layout` as for `grid` or `strip`. Gives the path. Raises `Mistake` for any other kind of file.
        """
        kind = Path(path).suffix.lower()
        if kind == ".png":
            write_whole(path, self.png(**layout))
        elif kind == ".gif" and len(self):
            layout.pop("strip", None)
            first, *others = (self[i].grid(**{"scale": 8} | layout) for i in range(len(self)))
            with whole_file(path) as file:
                first.save(file, "gif", save_all=True, append_images=others, duration=60, loop=0)
        else:
            raise Mistake(f"{path}, {len(self)} digits: must end in .png, or in .gif with 1 digit or more")
        return Path(path)

    def to_idx(self, folder, train=True):
        """Write the digits as uncompressed IDX files below `folder`/MNIST/raw, as
        `torchvision.datasets.MNIST(folder)` reads them once both sets are there. Gives that folder.

        Raises `Mistake` where a label is unknown.
        """
        if (self.labels < 0).any():
            raise Mistake(f"{(self.labels < 0).sum()} of {len(self)} digits have no label: IDX files need them all")
        return write_idx(folder, [self], len(self), train)

    def to_image_folder(self, folder):
        """Write each digit as `folder`/<label>/<number>.png, as `torchvision.datasets.ImageFolder` reads them;
        digits without a label go to `unknown`. Gives the folder."""
        width = len(str(max(len(self) - 1, 0)))
        for i, label in enumerate(self.labels):
            self[i].save(Path(folder) / ("unknown" if label < 0 else str(label)) / f"{i:0{width}}.png", scale=1)
        return Path(folder)


def write_idx(folder, batches, count, train=True):
    """Write `count` digits, which come as an iterable of `Digits`, one batch in memory at a time,
    each with its labels; see `Digits.to_idx`."""
    raw, prefix = Path(folder) / "MNIST" / "raw", "train" if train else "t10k"
    number, side = count.to_bytes(4, "big"), (28).to_bytes(4, "big")
    with (
        whole_file(raw / f"{prefix}-images-idx3-ubyte") as images,
        whole_file(raw / f"{prefix}-labels-idx1-ubyte") as labels,
    ):
        images.write(b"\0\0\x08\x03" + number + side + side)
        labels.write(b"\0\0\x08\x01" + number)
        for batch in batches:
            images.write(batch.images.tobytes())
            labels.write(batch.labels.astype(np.uint8).tobytes())
    return raw


def check_labels(labels, lowest=0):
    """Labels as an int64 array (N,). Raises `Mistake` unless they are whole numbers from `lowest` to 9."""
    array = _array(labels, "labels")
    if array.size == 0:
        array = array.astype(np.int64).reshape(-1)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise Mistake(f"labels = {short(labels)}: must be a list of whole numbers")
    wrong = array[(array < lowest) | (array > 9)]
    if len(wrong):
        raise Mistake(f"label {wrong[0]}: must be from {lowest} to 9")
    return array.astype(np.int64)


def _array(values, name):
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except ValueError:  # lists of unequal lengths
        raise Mistake(f"{name} = {short(values)}: must be an array") from None


def release(images):
    """Give back the memory of images that lie in a file (see `load_digits`): they are read again when next looked at,
    and what was written over them is forgotten. Others stay as they are."""
    while isinstance(images, np.ndarray):
        images = images.base
    if isinstance(images, mmap.mmap) and hasattr(images, "madvise"):
        images.madvise(mmap.MADV_DONTNEED)


# ---- sets of real digits ----

SHA256 = {  # of the raw bytes of MNIST as published (LeCun, Cortes & Burges, 1998)
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DOWNLOADS = {"MNIST": {}, "FashionMNIST": {}, "KMNIST": {}, "EMNIST": {"split": "digits"}, "QMNIST": {}}


def load_digits(name="MNIST", train=True, data_dir=None):
    """Real digits as `Digits`: the training set, or the test set of the same hand.

    MNIST needs nothing: it lies in the repository's `asset/mnist/` and is checked by SHA-256. FashionMNIST, KMNIST, EMNIST
    (digits), QMNIST and any folder of IDX files (gzipped or not) are read where they lie: in `data_dir`/<name>/raw, as
    torchvision leaves them, in `data_dir`/<name> or in `data_dir` itself. A set that torchvision knows and that is not there
    is downloaded by torchvision into `data_dir` (~/.cache/digitgan if None), which is said in a line. Images that are not
    gzipped stay in their file until they are looked at: a set may be larger than memory (a gzipped one has at most 500,000).

    Raises `Mistake` where the set cannot be had or its files are not sound.
    """
    Hyperparameters(dataset=name)  # refuses a name that leads out of data_dir
    if data_dir is None and name == "MNIST" and (ASSET / "mnist").is_dir():
        return _read(ASSET / "mnist", name, train, verify=True)
    if data_dir is None and name not in DOWNLOADS:
        raise Mistake(f"dataset = {name!r}: must be one of {', '.join(DOWNLOADS)}, or name a folder below data_dir")
    root = Path(data_dir) if data_dir is not None else Path.home() / ".cache" / "digitgan"
    raw = root / name / "raw"
    for folder in (raw, root / name, root):
        if _find(folder, name, train, "images"):
            return _read(folder, name, train)
    if name not in DOWNLOADS:
        raise Mistake(f"{root / name}: no IDX files named like {_stem(name, train, 'images')}")
    print(f"{name} is not in {root}: torchvision downloads it there")
    import torchvision

    try:
        getattr(torchvision.datasets, name)(str(root), train=train, download=True, **DOWNLOADS[name])
    except (RuntimeError, OSError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        raise Mistake(f"{name} could not be downloaded ({reason}); put its IDX files into {raw}") from None
    return _read(raw, name, train)


def _stem(name, train, what):
    """The name of a set's IDX file without its ending."""
    prefix = {"EMNIST": "emnist-digits-", "QMNIST": "qmnist-"}.get(name, "")
    return f"{prefix}{'train' if train else 'test' if prefix else 't10k'}-{what}-idx"


def _find(folder, name, train, what):
    """The file that holds the images or the labels of a set, if the folder has it."""
    files = sorted(folder.glob(f"{_stem(name, train, what)}*")) if folder.is_dir() else []
    return next((file for file in files if file.suffix in ("", ".gz") and file.is_file()), None)


# how a file may begin, and the type of its numbers and all axes but the first that follow from it
KINDS = {"images": {0x803: ("u1", [28, 28])}, "labels": {0x801: ("u1", []), 0xC02: (">i4", [8])}}


def _read(folder, name, train, verify=False):
    arrays, paths = [], [_find(folder, name, train, what) for what in KINDS]
    if None in paths:
        raise Mistake(f"{folder}: must have two files named like {_stem(name, train, '(images|labels)')}")
    try:
        for path, kinds in zip(paths, KINDS.values(), strict=True):
            arrays.append(_read_idx(path, kinds, verify and SHA256[path.stem]))
        images, labels = arrays
        if name == "EMNIST":  # published with rows and columns exchanged
            images = images.swapaxes(1, 2)
        if labels.ndim == 2:  # QMNIST: the label and seven columns on who wrote it
            labels = labels[:, 0]
        return Digits(images, labels)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Mistake(f"{path}: not a sound IDX file ({error})") from None


def _read_idx(path, kinds, sha256):
    """An IDX file as an array: two zeros, a type, the number of axes, their lengths, the numbers.

    No memory is filled on the word of the head, and no more is unpacked than it says.
    """
    with path.open("rb") as packed:
        if packed.read(99).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise ValueError("it looks like a web page")
        packed.seek(0)
        file, most = (gzip.GzipFile(fileobj=packed), 500_000) if path.suffix == ".gz" else (packed, 50_000_000)
        head = file.read(4)
        kind, axes = kinds.get(int.from_bytes(head, "big"), ("u1", []))
        head += file.read(4 + 4 * len(axes))
        magic, *shape = np.frombuffer(head.ljust(8 + 4 * len(axes), b"\0"), ">u4").tolist()
        if magic not in kinds or shape[1:] != axes or not 1 <= shape[0] <= most:
            rule = " or ".join(f"{m:08x} {['N', *axes]}" for m, (_, axes) in kinds.items()).replace("'", "")
            raise ValueError(f"it begins with {magic:08x} {shape}, must with {rule}, N from 1 to {most:,}")
        size = math.prod(shape) * np.dtype(kind).itemsize
        if file is not packed:
            numbers = np.frombuffer(file.read(size + 1), np.uint8).copy()
        else:
            try:  # may be written over in memory, as torch asks
                numbers = np.memmap(file, np.uint8, "c", len(head))
            except OSError:  # more than the system's memory may only be looked at
                numbers = np.memmap(file, np.uint8, "r", len(head))
    if numbers.size != size:
        raise ValueError(f"shape {shape} needs {size:,} bytes, it has {'more' if numbers.size > size else 'fewer'}")
    if sha256 and hashlib.sha256(head + numbers.data).hexdigest() != sha256:
        raise ValueError("SHA-256 of its content is not MNIST's; `git checkout asset/mnist` brings it back")
    return numbers.view(kind).reshape(shape)
