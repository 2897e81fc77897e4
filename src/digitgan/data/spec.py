"""`ImageSpec`: what the images of a set have in common, by which networks are built."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from ..bounds import plain
from ..errors import InvalidInputError, short_repr

SIDES = range(8, 65, 4)  # of images, in pixels: networks halve it twice
MOST_CLASSES, MOST_NAME = 1000, 40  # classes, and characters of a name
DIGITS = tuple("0123456789")
COLUMNS = 26  # classes that a row of samples shows at most


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """Size, channels and class names of a set of images. The default is MNIST's.

    `size`: side in pixels, a multiple of 4 from 8 to 64. `channels`: 1 (grey) or 3 (red, green,
    blue). `classes`: 1 to 1,000 different names, of which a label is the index.

    Raises `InvalidInputError` for others.
    """

    size: int = 28
    channels: int = 1
    classes: tuple[str, ...] = DIGITS

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size not in SIDES:
            rule = "must be square, its side a multiple of 4 from 8 to 64"
            raise InvalidInputError(f"images of {self.size}x{self.size} pixels: {rule}")
        if type(self.channels) is not int or self.channels not in (1, 3):
            rule = "must be 1 (grey) or 3 (red, green, blue)"
            raise InvalidInputError(f"images of {self.channels} channels: {rule}")
        object.__setattr__(self, "classes", check_classes(self.classes))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image in `Digits`: (size, size) or (size, size, 3)."""
        return (self.size, self.size) if self.channels == 1 else (self.size, self.size, 3)

    @property
    def columns(self) -> int:
        """How many classes a row of samples shows: all, or the first `COLUMNS`."""
        return min(len(self.classes), COLUMNS)

    def __str__(self) -> str:
        kind = "grey" if self.channels == 1 else "colour"
        count = f"{len(self.classes):,} class{'es' * (len(self.classes) > 1)}"
        return f"{kind} images of {self.size}x{self.size} pixels in {count}"

    def to_json(self) -> str:
        """The three fields as JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "ImageSpec":
        """The spec that `to_json` wrote."""
        try:
            values = json.loads(text)
            fields = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise InvalidInputError(f"no description of images ({error!r})") from None
        return cls(**fields)


def check_classes(classes: Any) -> tuple[str, ...]:
    """Class names as a tuple, from names or from their number (`26` is "0" to "25").

    Raises `InvalidInputError` unless there are 1 to 1,000 different names of 1 to 40 printable
    characters.
    """
    count = plain(classes)
    if type(count) is int and 0 < count <= MOST_CLASSES:
        return tuple(map(str, range(count)))
    if not isinstance(classes, Sequence) or not 1 <= len(classes) <= MOST_CLASSES:
        told = f"{len(classes):,}" if isinstance(classes, Sequence) else short_repr(classes)
        raise InvalidInputError(f"classes: {told}, must be 1 to {MOST_CLASSES:,} names")
    for name in classes:
        if not (isinstance(name, str) and name.isprintable() and 0 < len(name) <= MOST_NAME):
            rule = f"must be a text of 1 to {MOST_NAME} printable characters"
            raise InvalidInputError(f"class name {short_repr(name)}: {rule}")
    if len(set(classes)) < len(classes):
        double = next(name for name in classes if list(classes).count(name) > 1)
        raise InvalidInputError(f"class name {double!r}: given twice, must be different names")
    return tuple(classes)


MNIST = ImageSpec()
