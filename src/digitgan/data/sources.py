"""One's own images as `Digits`: folders of pictures, `.npz` files, arrays, tensors, pairs of image
and label, torchvision's data sets."""

import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image, ImageOps

from ..bounds import Between, checked, plain, whole_number
from ..errors import InvalidInputError, short_repr
from ..files import shown, user_path
from ..streams import tell
from .datasets import has_test_part, load_digits
from .digits import Digits
from .spec import DIGITS, MNIST, MOST_CLASSES, SIDES, ImageSpec

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
TEST_PARTS = "test", "val", "valid", "validation"  # folders beside "train", the first one is read
HELD_OUT = 0.1  # of each class, for judging, where a set has no test part
LARGEST_DEFAULT = 32  # pixels: larger images take longer, so they must be asked for
COLOUR = 32  # a set is in colour where a pixel's red, green and blue differ by more, somewhere
KEYS = (("images", "labels"), ("x_train", "y_train"), ("data", "target"), ("arr_0", "arr_1"))
Sets = tuple[Digits, Digits | None]  # training images, and test images if the source has some


def as_sets(source: Any) -> Sets:
    """Training and test images of any source: a pair of `Digits`, or ((images, labels), (images,
    labels)) as Keras has them; a folder of pictures or an `.npz` file (`load_images`); or what
    `as_digits` takes, of which `split` holds a part out. `Digits` alone are trained on as they
    are: they have no test images."""
    if isinstance(source, tuple) and source and all(isinstance(part, Digits) for part in source):
        if len(source) != 2 or source[0].spec != source[1].spec:
            raise InvalidInputError(f"{source}: must be training and test images, of one kind")
        return source
    if isinstance(source, str | Path):
        return load_images(source)
    if isinstance(source, Digits):
        return source, None
    if _is_divided(source):
        train, (images, labels) = as_digits(source[0]), source[1]
        return as_sets((train, _labelled(images, labels, train.classes)))
    digits = as_digits(source)
    return split(digits) if can_be_split(digits) else (digits, None)


def _is_divided(source: Any) -> bool:
    """Whether a source is ((images, labels), (images, labels)), not two pairs of image and
    label."""
    if not (isinstance(source, tuple) and len(source) == 2):
        return False
    return all(
        isinstance(part, tuple | list)
        and len(part) == 2
        and getattr(part[0], "ndim", 0) > 2
        and np.ndim(part[1]) > 0
        for part in source
    )


def as_digits(source: Any) -> Digits:
    """Images in memory as `Digits`.

    source: `Digits`; images (N, H, W) or (N, H, W, 3), or with channels before rows, as an array or
    a tensor; (images, labels); a mapping of "images", "labels" and, if there are names, "classes";
    a sequence of (image, label), as torchvision's data sets are. Images are arrays, tensors, or PIL
    images of any size (`fit` has the rules; a line says where they were scaled). Labels are texts,
    which become the names of the classes, or whole numbers from 0, of which the largest says how
    many classes there are.

    Raises `InvalidInputError` for anything else, in one line.
    """
    if isinstance(source, Digits):
        return source
    if isinstance(source, Mapping):
        if "images" not in source:
            raise InvalidInputError(f"keys {short_repr(list(source))}: must have 'images'")
        return _labelled(source["images"], source.get("labels"), source.get("classes"))
    if type(source).__name__ == "EMNIST":
        rule = "load_digits('EMNIST-letters', data_dir=...) reads its files upright"
        raise InvalidInputError(f"torchvision's EMNIST: its images lie on their sides; {rule}")
    if isinstance(source, tuple) and len(source) == 2 and _are_images(source[0]):
        return _from_parts(*source)
    if hasattr(source, "ndim"):
        return Digits(source)
    return _from_pairs(source)


def _are_images(value: Any) -> bool:
    """Whether a value is several images: an array or a tensor of more than two axes, or a list."""
    if isinstance(value, list | tuple):
        return all(np.ndim(image) > 1 for image in value)
    return getattr(value, "ndim", 0) > 2


def _from_parts(images: Any, labels: Any) -> Digits:
    """Images, as an array, a tensor or a list of them or of PIL images; and their labels."""
    if not isinstance(images, list | tuple):
        return _labelled(images, labels)
    if len(images) != len(labels):
        told = f"{len(labels)} labels for {len(images)} images"
        raise InvalidInputError(f"{told}: must be as many")
    return _from_pairs(list(zip(images, labels, strict=True)))


def _labelled(images: Any, labels: Any = None, classes: Any = None) -> Digits:
    """`Digits` whose labels may be texts, or numbers that say how many classes there are."""
    known = classes is not None
    if labels is None:
        return Digits(images, classes=classes)
    labels = labels.detach().cpu().numpy() if hasattr(labels, "detach") else np.asarray(labels)
    if labels.dtype.kind in "US":
        found, labels = np.unique(labels.astype(str), return_inverse=True)
        names = found.tolist()
        classes = list(classes) if known else sorted(names, key=_natural)
        if other := next((name for name in names if name not in classes), None):
            raise InvalidInputError(f"label {other!r}: must be one of {short_repr(classes)}")
        labels = np.array([classes.index(name) for name in names])[labels]
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if classes is None and labels.size and labels.dtype.kind in "iu" and labels.max() >= 0:
        if labels.max() >= MOST_CLASSES:
            rule = f"must be below {MOST_CLASSES:,}, the most classes that there may be"
            raise InvalidInputError(f"label {labels.max():,}: {rule}")
        classes = int(labels.max()) + 1
    return Digits(images, labels, classes=classes)


def _from_pairs(source: Any) -> Digits:
    try:
        count = len(source)
        pairs = [source[i] for i in range(count)]
        images, labels = zip(*pairs, strict=True)
    except (TypeError, ValueError, KeyError, IndexError):
        rule = "must be images, (images, labels), pairs of image and label, or a data set of them"
        raise InvalidInputError(f"{type(source).__name__} {short_repr(source)}: {rule}") from None
    names = getattr(source, "classes", None)
    if names is not None:  # torchvision calls MNIST's "0 - zero"
        names = [str(name).split(" - ", 1)[0] for name in names]
    if all(isinstance(image, Image.Image) for image in images):
        sizes = [image.size for image in images]
        spec = choose_spec(sizes)
        if scaled := _scaled(spec, sizes):
            ask = "; arrays or tensors, of its `transform` say, keep another size"
            tell(f"{type(source).__name__}: {count:,} pictures, {_given(sizes)}{scaled}{ask}")
        fitted = np.stack([fit(image, spec.size) for image in images])
        settled, _ = settle(fitted, as_they_are=True)
        return _labelled(settled, [plain(y) for y in labels], names)
    arrays = [np.asarray(i.detach().cpu() if hasattr(i, "detach") else i) for i in images]
    shapes = [array.shape for array in arrays]
    if other := next((i for i, shape in enumerate(shapes) if shape != shapes[0]), None):
        told = f"image {other} of shape {shapes[other]}, image 0 of shape {shapes[0]}"
        raise InvalidInputError(f"{told}: must be of one shape")
    return _labelled(np.stack(arrays), [plain(y) for y in labels], names)


# ---- folders of pictures, and files of arrays ----


def load_images(
    place: str | Path, size: int | None = None, held_out: float = HELD_OUT, seed: int = 0
) -> tuple[Digits, Digits]:
    """Training and test images of a folder of pictures, or of an `.npz` file.

    Folder: `<class>/*.png` (or jpg, gif, bmp, webp, tif, pgm, ppm), as torchvision's ImageFolder;
    `train/<class>/...` and `test/<class>/...` where it is divided (without `test`, `val` serves;
    beside it, it is left out); pictures without folders are one class of the folder's name.
    Pictures of any size are scaled to `size` by `size` pixels, their proportions kept, and padded
    with the colour of their rim. If None, it is the median of their longer sides, as a multiple of
    4 from 8 to 32. A set without colour becomes grey; where it is dark on light, it is inverted,
    since ink is 255. A line says what was done.

    File: arrays `images` and `labels`, and `classes` if there are names; `x_train`, `y_train`,
    `x_test`, `y_test`, as Keras has them; or `data`, `target`.

    Without a test part, the fraction `held_out` of each class is drawn with `seed`.

    Raises `InvalidInputError` in one line that names the file or the folder.
    """
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    path = user_path(place)
    if path.is_file():
        train, test = _read_npz(path)
    elif path.is_dir():
        train, test = _read_folder(path, size)
    else:
        raise InvalidInputError(f"{path}: must be a folder of pictures or an .npz file")
    if test is not None and len(test):
        return train, test
    try:
        return split(train, held_out, seed)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None


def load_sets(name: str, data_dir: str | Path | None = None) -> tuple[Digits, Digits]:
    """Training and test images of a data set, as `load_digits` reads them; of one's own IDX files
    without a test part, a part is held out."""
    train = load_digits(name, True, data_dir)
    if not has_test_part(name, data_dir):
        return split(train)
    return train, load_digits(name, False, data_dir)


def can_be_split(digits: Digits) -> bool:
    """Whether all images have labels, and a class has two of them or more."""
    return bool((digits.labels >= 0).all()) and len(digits) > len(np.unique(digits.labels))


def split(digits: Digits, held_out: float = HELD_OUT, seed: int = 0) -> tuple[Digits, Digits]:
    """(the others, a fraction `held_out` of each class, drawn with `seed`).

    A class of two images or more has one in each part at least.
    """
    checked("held_out", held_out, Annotated[float, Between(0, 1, True, True)])
    rng, chosen = np.random.default_rng(seed), np.zeros(len(digits), bool)
    for label in np.unique(digits.labels):
        rows = rng.permutation(np.flatnonzero(digits.labels == label))
        count = min(max(round(held_out * len(rows)), 1), len(rows) - 1)
        chosen[rows[:count]] = True
    if not chosen.any():
        told = f"{len(digits)} images, of every class at most one"
        raise InvalidInputError(f"{told}: none can be held out for judging")
    return digits[~chosen], digits[chosen]


def _read_npz(path: Path) -> Sets:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        reason = str(error).split("\n")[0]
        raise InvalidInputError(f"{path}: no .npz file of arrays ({reason})") from None
    known = next((keys for keys in KEYS if keys[0] in arrays), None)
    if known is None:
        raise InvalidInputError(f"{path}: has {', '.join(arrays)}, must have images and labels")
    classes = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    try:
        train = _labelled(arrays[known[0]], arrays.get(known[1]), classes)
        if "x_test" not in arrays:
            return train, None
        test = _labelled(arrays["x_test"], arrays.get("y_test"), train.classes)
        if train.spec != test.spec:
            told = f"training images are {train.spec}, test images {test.spec}"
            raise InvalidInputError(f"{told}: must be of one kind")
        return train, test
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None


def _read_folder(folder: Path, size: int | None) -> Sets:
    parts, unused = _parts(folder)
    divided = len(parts) == 2
    listed = [_list_pictures(part) for part in parts]
    classes = list(listed[0][0])
    for part, (found, _) in zip(parts[1:], listed[1:], strict=False):
        if list(found) != classes:
            other = sorted(set(found) ^ set(classes))[0]
            raise InvalidInputError(f"{part / other}: must be a class of both train and test")
    files = [[(path, y) for y, paths in enumerate(f.values()) for path in paths] for f, _ in listed]
    sizes = [_size(path) for path, _ in files[0]]
    try:
        spec = choose_spec(sizes, size, classes)
    except InvalidInputError as error:
        raise InvalidInputError(f"{folder}: {error}") from None
    images = np.stack([_read_picture(path, spec.size) for part in files for path, _ in part])
    images, notes = settle(images)
    notes += [f"{name}/ left out" for name in unused] + _left_out(n for _, n in listed)
    _tell_what_was_done(folder, spec, sizes, notes, len(images))
    labels = [y for part in files for _, y in part]
    digits, first = Digits(images, labels, 255, spec.classes), len(files[0])
    return (digits[:first], digits[first:]) if divided else (digits, None)


def _parts(folder: Path) -> tuple[list[Path], list[str]]:
    """The folders of training and test images, or of the training images alone, which may be the
    folder itself; and the names of those that are not used."""
    folders = (path for path in folder.glob("[!.]*") if path.is_dir())
    found = {path.name.lower(): path for path in folders}
    if "train" not in found or not found.keys() <= {"train", *TEST_PARTS}:
        return [folder], []  # its folders are classes
    if not any(path.is_dir() for path in found["train"].iterdir()) and len(found) == 1:
        return [folder], []  # one class, of this name
    tests = [found[name] for name in TEST_PARTS if name in found]
    return [found["train"], *tests[:1]], [path.name for path in tests[1:]]


def _list_pictures(folder: Path) -> tuple[dict[str, list[Path]], int]:
    """Pictures by class, in natural order (2 before 10), and how many other files there are."""
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
        folders = sorted((p for p in entries if p.is_dir()), key=lambda p: _natural(p.name))
        files = {p.name: sorted(f for f in p.rglob("*") if not f.is_dir()) for p in folders}
    except OSError as error:
        raise InvalidInputError(f"{folder}: cannot be read ({error.strerror})") from None
    if not folders:
        files = {folder.name: sorted(entries)}
    pictures = {
        name: [p for p in paths if p.suffix.lower() in ENDINGS and p.is_file()]
        for name, paths in files.items()
    }
    beside = [path for path in entries if not path.is_dir()] if folders else []
    for name, paths in pictures.items():
        if not paths:
            place = folder / name if folders else folder
            raise InvalidInputError(f"{place}: a class without pictures ({', '.join(ENDINGS)})")
    others = sum(map(len, files.values())) - sum(map(len, pictures.values()))
    return pictures, others + len(beside)


def _natural(name: str) -> list[Any]:
    """A key to sort names by: numbers by their value."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def choose_spec(
    sizes: Sequence[tuple[int, int]], size: int | None = None, classes: Iterable[str] = DIGITS
) -> ImageSpec:
    """The size for pictures of these (width, height): `size`, or their median longer side."""
    if size is None:
        longer = float(np.median([max(pair) for pair in sizes])) if sizes else MNIST.size
        size = min(max(SIDES[0], 4 * round(longer / 4)), LARGEST_DEFAULT)
    return ImageSpec(size, classes=tuple(classes))


def _size(path: Path) -> tuple[int, int]:
    with _opened(path) as image:
        return image.size


def _read_picture(path: Path, size: int) -> np.ndarray:
    with _opened(path) as image:
        try:
            return fit(image, size)
        except Exception as error:  # what Pillow raises for damaged files is of many types
            raise _no_picture(path, error) from None


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except Exception as error:
        raise _no_picture(path, error) from None


def _no_picture(path: Path, error: Exception) -> InvalidInputError:
    reason = str(error).split("\n")[0].replace(f" '{path}'", "") or type(error).__name__
    return InvalidInputError(f"{path}: not a sound picture ({reason})")


def fit(picture: Image.Image, size: int) -> np.ndarray:
    """A picture as uint8 (size, size, 3): scaled with its proportions, in the middle, on the median
    colour of its rim.

    It is turned as EXIF says; transparent pixels are white; 16 bits become 8.
    """
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        numbers = np.asarray(picture, np.float64)
        full = 255 if numbers.max(initial=0) <= 255 else 65535
        picture = Image.fromarray((numbers * (255 / full)).round().clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    rim = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(np.median(rim, 0).astype(int).tolist())
    scaled = ImageOps.contain(picture, (size, size), Image.Resampling.LANCZOS)
    page = Image.new("RGB", (size, size), colour)
    page.paste(scaled, ((size - scaled.width) // 2, (size - scaled.height) // 2))
    return np.asarray(page)


def settle(images: np.ndarray, as_they_are: bool = False) -> tuple[np.ndarray, list[str]]:
    """Pictures uint8 (N, S, S, 3) as a set of one kind, and what was done: without colour they
    become grey (N, S, S), and light ink on dark paper unless `as_they_are`."""
    blocks = (images[i : i + 1000] for i in range(0, len(images), 1000))
    if max((int(np.ptp(block, axis=3).max()) for block in blocks), default=0) > COLOUR:
        return images, ["in colour"]
    grey = images[..., 1].copy()
    rim = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)
    if as_they_are or np.median(rim) < 128:
        return grey, ["grey"]
    return 255 - grey, ["grey", "dark on light, so inverted: ink is 255"]


def _left_out(counts: Iterable[int]) -> list[str]:
    total = sum(counts)
    return [f"{total} other file{'s' * (total > 1)} left out"] if total else []


def _tell_what_was_done(
    folder: Path, spec: ImageSpec, sizes: list[tuple[int, int]], notes: list[str], count: int
) -> None:
    kind = f"{len(spec.classes):,} class{'es' * (len(spec.classes) > 1)}"
    done = f"{_given(sizes)}{_scaled(spec, sizes)} pixels"
    tell(f"{shown(folder)}: {count:,} pictures in {kind}, {done}; {'; '.join(notes)}")


def _given(sizes: Sequence[tuple[int, int]]) -> str:
    """The sizes of some pictures, in words."""
    kinds = set(sizes)
    small, large = (f"{w}x{h}" for w, h in (min(kinds), max(kinds)))
    return f"of {small}" if len(kinds) == 1 else f"of {len(kinds)} sizes, {small} to {large},"


def _scaled(spec: ImageSpec, sizes: Sequence[tuple[int, int]]) -> str:
    """What is done to pictures of other sizes than `spec` has, in words; nothing to others."""
    target = f"{spec.size}x{spec.size}"
    return "" if set(sizes) == {(spec.size, spec.size)} else f" scaled and padded to {target}"
