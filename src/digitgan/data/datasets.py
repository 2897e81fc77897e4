"""The sets of real digits: MNIST, which lies in the repository, and those that are read or
downloaded."""

import hashlib
import itertools
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidInputError
from ..files import ASSET, read_small_file, user_path
from ..hyperparameters import Hyperparameters
from ..streams import tell
from .digits import Digits, check_writers
from .idx import CLASSES, IMAGES, LABELS, WRITERS, read_idx
from .spec import DIGITS, MNIST, ImageSpec, check_classes

SHA256 = {  # of the raw bytes of MNIST as published (LeCun, Cortes & Burges, 1998)
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    # of who wrote each digit (Yadav & Bottou, 2019)
    "train-writers-idx1-short": "d35a9f2f67cffc42cffa71f2ea3836057010e277931851a38fa1d336c9b60df4",
    "t10k-writers-idx1-short": "73ea42627e35f032384d76b5a63c6aaadec08acaa425def0f7321e13231927ca",
}
DOWNLOADS: dict[str, dict[str, str]] = {  # sets that torchvision knows, with its further arguments
    "MNIST": {},
    "FashionMNIST": {},
    "KMNIST": {},
    "EMNIST": {"split": "digits"},
    "QMNIST": {},
}
CAPITALS, SMALL = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), tuple("abcdefghijklmnopqrstuvwxyz")
MERGED = (*DIGITS, *CAPITALS, *"abdefghnqrt")  # small letters like their capitals count as those
EMNIST_SPLITS = {  # arXiv 1702.05373: split -> its classes
    "balanced": MERGED,
    "byclass": (*DIGITS, *CAPITALS, *SMALL),
    "bymerge": MERGED,
    "digits": DIGITS,
    "letters": CAPITALS,  # and the small letters with them; labels 1 to 26 in its files
    "mnist": DIGITS,
}
DOWNLOADS |= {f"EMNIST-{split}": {"split": split} for split in EMNIST_SPLITS}
NAMES = {
    "FashionMNIST": (
        *("T-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "KMNIST": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
MOST_FILES = 10_000  # that are looked at in search of a set under other names


def load_digits(
    name: str = "MNIST", train: bool = True, data_dir: str | Path | None = None
) -> Digits:
    """Real digits as `Digits`: the training set, or the test set of the same name.

    MNIST needs nothing: it lies in the repository's `asset/mnist/` and is checked by SHA-256.
    FashionMNIST, KMNIST, EMNIST (digits; another split as `EMNIST-letters`), QMNIST and any folder
    of IDX files (gzipped or not) are read where they lie: in `data_dir`/<name>/raw, as torchvision
    leaves them, in `data_dir`/<name> or in `data_dir`. Files are also found with a dot before
    `idx`, and in a folder of their own name, as Kaggle has them. A set that torchvision knows and
    that is not there is downloaded by torchvision into `data_dir` (~/.cache/digitgan if None), and
    a line says so. Images that are not gzipped stay in their file until they are looked at, so a
    set may be larger than memory; a gzipped one has at most 500,000. `writers` are those of a third
    file beside the two, if there is one named like them, and of MNIST itself wherever it lies (its
    images are told by their SHA-256).

    One's own IDX files have ten classes, "0" to "9", unless a file `classes.txt` beside them names
    others, one a line. EMNIST's images are turned as they were written, and the labels of its
    letters begin at 0.

    Raises `InvalidInputError` where the set cannot be had or its files are not sound, and where
    files of the set lie there under names that are not the set's: it says what to rename.
    """
    Hyperparameters(dataset=name)  # refuses a name that leads out of data_dir
    if data_dir is None and name == "MNIST" and (ASSET / "mnist").is_dir():
        return _read(ASSET / "mnist", name, train, verify=True)
    if data_dir is None and name not in DOWNLOADS:
        rule = f"must be one of {', '.join(DOWNLOADS)}, or name a folder below data_dir"
        raise InvalidInputError(f"dataset = {name!r}: {rule}")
    root = user_path("~/.cache/digitgan" if data_dir is None else data_dir)
    if folder := _folder(root, name, train):
        return _read(folder, name, train)
    refuse_other_names(root, name, train)
    if name not in DOWNLOADS:
        stem = _stem(name, train, "images")
        raise InvalidInputError(f"{root / name}: no IDX files named like {stem}")
    return _read(_download(name, train, root), name, train)


def has_test_part(name: str, data_dir: str | Path | None) -> bool:
    """Whether a data set has test images: where its files are in `data_dir`, whether those of the
    test part are. Raises `InvalidInputError` where they seem to lie there under another name."""
    root = None if data_dir is None else user_path(data_dir)
    if root is None or _folder(root, name, False):
        return True
    if name in DOWNLOADS and not _folder(root, name, True):
        return True  # all of it is downloaded
    refuse_other_names(root, name, False)
    return False


def are_of_mnist(digits: Digits) -> bool:
    """Whether some digits are MNIST's own: at most 100 of them are looked for."""
    if digits.spec != MNIST or not (ASSET / "mnist").is_dir():
        return False
    some = digits.spread(100)
    wanted = {
        (image.tobytes(), y) for image, y in zip(some.images, some.labels.tolist(), strict=True)
    }
    for train in (True, False):
        if wanted:  # mostly they are training digits, and the test digits need not be read
            whole = load_digits("MNIST", train)
            images = [image.tobytes() for image in whole.images]
            wanted -= {*zip(images, whole.labels.tolist(), strict=True)}
            wanted -= {(image, -1) for image in images}
    return not wanted


def known_spec(name: str) -> ImageSpec | None:
    """What the images of a data set of that name are, or None for one's own."""
    if split := emnist_split(name):
        return ImageSpec(classes=EMNIST_SPLITS[split])
    return ImageSpec(classes=NAMES.get(name, DIGITS)) if name in DOWNLOADS else None


def refuse_other_names(root: Path, name: str, train: bool) -> None:
    """Raise `InvalidInputError` where images of a set seem to lie below `root` under another name,
    or in another folder: it says what they must be called, and where they must lie."""
    part, other = ("train", "t10k|test") if train else ("t10k|test", "train")
    prefix = {"EMNIST": "emnist-", "QMNIST": "qmnist-"}.get(name.partition("-")[0], "")
    pattern = re.compile(rf"(?!.*({other})).*({part}).*idx|.*idx.*({part})")
    for path, inside in itertools.islice(_files(root, name), MOST_FILES):
        file = path.name.lower()
        plain = not file.startswith(("emnist-", "qmnist-"))
        own = file.startswith(prefix) if prefix and not plain else plain
        own = own and (plain != bool(prefix) or root / name in path.parents)
        if not (own and inside and "images" in file and pattern.match(file)):
            continue
        rule = f"must be named {_stem(name, train, 'images')}3-ubyte, in {root / name}"
        splits = [split for split in EMNIST_SPLITS if file.startswith(f"emnist-{split}-")]
        if splits and splits != [emnist_split(name)]:
            rule = f"is of another split, which load_digits('EMNIST-{splits[0]}') reads"
        raise InvalidInputError(f"dataset = {name!r}: {path} {rule}")


def _files(folder: Path, name: str, inside: bool = False, depth: int = 4) -> Iterator[Any]:
    """(file, whether it may be of the set) below a folder: in the folder itself, or in one that is
    named like the set or like a file."""
    inside = inside or folder.name.lower() == name.lower() or "-images" in folder.name
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if path.is_dir():
            if depth and (path.name == name or path.name not in DOWNLOADS):
                yield from _files(path, name, inside, depth - 1)
        elif not path.name.startswith(".") and "part" not in path.suffix:  # an unfinished download
            yield path, inside or depth == 4


def _download(name: str, train: bool, root: Path) -> Path:
    """Have torchvision download a set; returns the folder of its files."""
    tell(f"{name} is not in {root}: torchvision downloads it there")
    import torchvision

    base = name.partition("-")[0]
    try:
        dataset = getattr(torchvision.datasets, base)
        dataset(str(root), train=train, download=True, **DOWNLOADS[name])
    except (RuntimeError, OSError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        hint = f"put its IDX files into {root / name / 'raw'}"
        raise InvalidInputError(f"{name} could not be downloaded ({reason}); {hint}") from None
    return root / base / "raw"


def emnist_split(name: str) -> str:
    """The split of EMNIST that a data set's name asks for, or an empty text."""
    base, _, split = name.lower().partition("-")
    return (split or "digits") * (base == "emnist" and (not split or split in EMNIST_SPLITS))


def _stem(name: str, train: bool, what: str) -> str:
    """The name of a set's IDX file without its ending."""
    split = emnist_split(name)
    prefix = f"emnist-{split}-" if split else "qmnist-" if name == "QMNIST" else ""
    return f"{prefix}{'train' if train else 'test' if prefix else 't10k'}-{what}-idx"


def _folder(root: Path, name: str, train: bool) -> Path | None:
    """The folder below `root` that holds a set's images, if there is one."""
    bases = dict.fromkeys((name, name.partition("-")[0] if emnist_split(name) else name))
    folders = (*(root / base / sub for base in bases for sub in ("raw", "")), root)
    return next((folder for folder in folders if _find(folder, name, train, "images")), None)


def _find(folder: Path, name: str, train: bool, what: str) -> Path | None:
    """The file that holds the images or the labels of a set, if the folder has it."""
    stem = _stem(name, train, what)
    files = sorted(path for path in folder.glob("*") if _fits(path, stem))
    own = [p for path in files if path.is_dir() for p in sorted(path.glob("*")) if _fits(p, stem)]
    return next((path for path in (*files, *own) if path.is_file()), None)


def _fits(path: Path, stem: str) -> bool:
    """Whether a file is named like `stem`, whatever stands before `idx`, gzipped or not."""
    name = path.name.lower().removesuffix(".gz")
    ending = re.sub(r"[._-]idx", "-idx", name).removeprefix(stem)
    return bool(re.fullmatch(r"\d?(-(ubyte|short|int))?", ending))


def _read(folder: Path, name: str, train: bool, verify: bool = False) -> Digits:
    arrays, kinds = [], {"images": IMAGES, "labels": LABELS}
    paths = [path for what in kinds if (path := _find(folder, name, train, what))]
    if len(paths) < len(kinds):
        stem = _stem(name, train, "(images|labels)")
        raise InvalidInputError(f"{folder}: must have two files named like {stem}")
    classes = _classes(folder, name)
    try:
        for path, known in zip(paths, kinds.values(), strict=True):
            checksum = SHA256[path.name.removesuffix(".gz")] if verify else ""
            arrays.append(read_idx(path, known, checksum))
        images, labels = arrays
        if emnist_split(name):  # published with rows and columns exchanged
            images = images.swapaxes(1, 2)
        labels = _from_zero(labels, name)
        digits = Digits(images, labels, classes=classes)
        if found := _find(folder, name, train, "writers"):
            path = found
            checksum = SHA256[path.name.removesuffix(".gz")] if verify else ""
            digits.writers = check_writers(read_idx(path, WRITERS, checksum), len(digits))
        else:
            digits.writers = _writers_of_mnist(images, train)
        return digits
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidInputError(f"{path}: not a sound IDX file ({error})") from None


def _from_zero(labels: np.ndarray, name: str) -> np.ndarray:
    """The labels of a file as they are counted here, (N,), from 0."""
    if labels.ndim == 2:  # QMNIST: the label and seven columns on who wrote it
        labels = labels[:, 0]
    if emnist_split(name) != "letters":
        return labels
    if not labels.all():
        raise ValueError("label 0: EMNIST's letters have the labels 1 to 26")
    return labels.astype(np.int64) - 1


def _writers_of_mnist(images: np.ndarray, train: bool) -> np.ndarray | None:
    """The writers of MNIST's images, from the repository, if these are they in MNIST's order."""
    part, count = ("train", 60_000) if train else ("t10k", 10_000)
    path = ASSET / "mnist" / f"{part}-writers-idx1-short.gz"
    if len(images) != count or not path.is_file():
        return None
    head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape)
    digest = hashlib.sha256(head)
    digest.update(np.ascontiguousarray(images).data)
    if digest.hexdigest() != SHA256[f"{part}-images-idx3-ubyte"]:
        return None
    writers = read_idx(path, WRITERS, SHA256[path.name.removesuffix(".gz")])
    return writers.astype(np.int64)


def _classes(folder: Path, name: str) -> tuple[str, ...]:
    """The class names of a set: its own, or those of the file beside its images."""
    if spec := known_spec(name):
        return spec.classes
    if not (path := folder / CLASSES).is_file():
        return DIGITS
    try:
        return check_classes(read_small_file(path).decode().splitlines())
    except (InvalidInputError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: {error}") from None
