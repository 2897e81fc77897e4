"""Pictures of handwritten digits, made like those of MNIST."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..data.digits import Digits
from ..errors import InvalidInputError


def prepare(picture: Any, label: int = -1) -> Digits:
    """A picture of one digit made like those of MNIST, as `Digits`: cropped to its ink, 20 pixels
    at its longer side, the centre of its ink in the middle of 28x28 (LeCun et al., 1998), ink 255
    on paper 0.

    picture: a file, a PIL image or an array of any size, dark on light or light on dark (whichever
    the rim is not is taken for ink). Raises `InvalidInputError` where there is no picture, or no
    ink on it.
    """
    try:
        image = picture if isinstance(picture, Image.Image) else None
        if image is None:
            grey = None if isinstance(picture, str | Path) else np.asarray(picture)
            if grey is not None and grey.dtype.kind == "f":  # 0..1, say
                grey = np.uint8(255 * (grey - grey.min()) / max(np.ptp(grey), 1e-9))
            image = Image.open(picture) if grey is None else Image.fromarray(grey)
        image = ImageOps.exif_transpose(image)  # telephones lay pictures on their side
        if image.has_transparency_data:  # what is transparent is paper
            image = Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            )
        image = image.convert("L")
        image.thumbnail((1000, 1000))
    except (OSError, TypeError, ValueError, Image.DecompressionBombError) as error:
        reason = picture if isinstance(picture, str | Path) else type(picture).__name__
        raise InvalidInputError(f"{reason}: not a picture ({error})") from None
    grey = np.asarray(image, np.float32)
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    away = np.abs(grey - np.median(rim)) if min(grey.shape) > 2 else np.zeros((1, 1))
    darkest, grain = np.quantile(away, 0.999), 3 * np.median(np.abs(rim - np.median(rim))) + 1
    if away.max() < 40 or darkest < 2 * grain:
        raise InvalidInputError(
            f"picture of {image.width}x{image.height}: must have ink on it, all of it is alike"
        )
    ink = np.clip((away - grain) / (0.8 * max(darkest, away.max() / 2) - grain), 0, 1)
    rows, columns = np.flatnonzero(ink.max(1) > 0.3), np.flatnonzero(ink.max(0) > 0.3)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * side / max(ink.shape))) for side in ink.shape)
    small = Image.fromarray((255 * ink).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BOX
    )
    pixels = np.asarray(small, np.float32)
    pixels = pixels * (255 / pixels.max())
    centre = [
        (pixels.sum(1 - axis) @ np.arange(side)) / pixels.sum()
        for axis, side in enumerate(pixels.shape)
    ]
    top, left = (
        int(np.clip(round(13.5 - c), 0, 28 - side))
        for c, side in zip(centre, pixels.shape, strict=True)
    )
    page = np.zeros((28, 28), np.uint8)
    page[top : top + height, left : left + width] = pixels.round()
    return Digits(page, [label])
