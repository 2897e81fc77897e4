"""The sets of real digits: MNIST, which lies in the repository, and those that are read or
downloaded."""

import mmap
import zlib
from pathlib import Path

import numpy as np

from ..errors import InvalidInputError
from ..files import ASSET
from ..hyperparameters import Hyperparameters
from .digits import Digits
from .idx import IMAGES, LABELS, read_idx

SHA256 = {  # of the raw bytes of MNIST as published (LeCun, Cortes & Burges, 1998)
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
DOWNLOADS: dict[str, dict[str, str]] = {  # sets that torchvision knows, with its further arguments
    "MNIST": {},
    "FashionMNIST": {},
    "KMNIST": {},
    "EMNIST": {"split": "digits"},
    "QMNIST": {},
}


def load_digits(
    name: str = "MNIST", train: bool = True, data_dir: str | Path | None = None
) -> Digits:
    """Real digits as `Digits`: the training set, or the test set of the same name.

    MNIST needs nothing: it lies in the repository's `asset/mnist/` and is checked by SHA-256.
    FashionMNIST, KMNIST, EMNIST (digits), QMNIST and any folder of IDX files (gzipped or not) are
    read where they lie: in `data_dir`/<name>/raw, as torchvision leaves them, in `data_dir`/<name>
    or in `data_dir`. A set that torchvision knows and that is not there is downloaded by
    torchvision into `data_dir` (~/.cache/digitgan if None), and a line says so. Images that are not
    gzipped stay in their file until they are looked at, so a set may be larger than memory; a
    gzipped one has at most 500,000.

    Raises `InvalidInputError` where the set cannot be had or its files are not sound.
    """
    Hyperparameters(dataset=name)  # refuses a name that leads out of data_dir
    if data_dir is None and name == "MNIST" and (ASSET / "mnist").is_dir():
        return _read(ASSET / "mnist", name, train, verify=True)
    if data_dir is None and name not in DOWNLOADS:
        rule = f"must be one of {', '.join(DOWNLOADS)}, or name a folder below data_dir"
        raise InvalidInputError(f"dataset = {name!r}: {rule}")
    cache = Path.home() / ".cache" / "digitgan"
    root = cache if data_dir is None else Path(data_dir).expanduser()
    for folder in (root / name / "raw", root / name, root):
        if _find(folder, name, train, "images"):
            return _read(folder, name, train)
    if name not in DOWNLOADS:
        stem = _stem(name, train, "images")
        raise InvalidInputError(f"{root / name}: no IDX files named like {stem}")
    _download(name, train, root)
    return _read(root / name / "raw", name, train)


def release(images: np.ndarray | mmap.mmap | None) -> None:
    """Give back the memory of images that lie in a file: they are read again when next looked at.

    What was written over them is forgotten. Others stay as they are.
    """
    while isinstance(images, np.ndarray):
        images = images.base  # type: ignore[assignment]
    if isinstance(images, mmap.mmap) and hasattr(images, "madvise"):
        images.madvise(mmap.MADV_DONTNEED)


def _download(name: str, train: bool, root: Path) -> None:
    print(f"{name} is not in {root}: torchvision downloads it there")
    import torchvision

    try:
        dataset = getattr(torchvision.datasets, name)
        dataset(str(root), train=train, download=True, **DOWNLOADS[name])
    except (RuntimeError, OSError) as error:
        reason = str(error).split("\n")[0] or type(error).__name__
        hint = f"put its IDX files into {root / name / 'raw'}"
        raise InvalidInputError(f"{name} could not be downloaded ({reason}); {hint}") from None


def _stem(name: str, train: bool, what: str) -> str:
    """The name of a set's IDX file without its ending."""
    prefix = {"EMNIST": "emnist-digits-", "QMNIST": "qmnist-"}.get(name, "")
    return f"{prefix}{'train' if train else 'test' if prefix else 't10k'}-{what}-idx"


def _find(folder: Path, name: str, train: bool, what: str) -> Path | None:
    """The file that holds the images or the labels of a set, if the folder has it."""
    files = sorted(folder.glob(f"{_stem(name, train, what)}*")) if folder.is_dir() else []
    return next((file for file in files if file.suffix in ("", ".gz") and file.is_file()), None)


def _read(folder: Path, name: str, train: bool, verify: bool = False) -> Digits:
    arrays, kinds = [], {"images": IMAGES, "labels": LABELS}
    paths = [path for what in kinds if (path := _find(folder, name, train, what))]
    if len(paths) < len(kinds):
        stem = _stem(name, train, "(images|labels)")
        raise InvalidInputError(f"{folder}: must have two files named like {stem}")
    try:
        for path, known in zip(paths, kinds.values(), strict=True):
            arrays.append(read_idx(path, known, SHA256[path.stem] if verify else ""))
        images, labels = arrays
        if name == "EMNIST":  # published with rows and columns exchanged
            images = images.swapaxes(1, 2)
        if labels.ndim == 2:  # QMNIST: the label and seven columns on who wrote it
            labels = labels[:, 0]
        return Digits(images, labels)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidInputError(f"{path}: not a sound IDX file ({error})") from None
