"""Images as one picture: a grid, or lines of handwriting."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK = 64  # a pixel above this is ink, where digits are set apart


def grid(
    images: np.ndarray,
    captions: Sequence[str] = (),
    columns: int | None = None,
    scale: int = 2,
    inverted: bool = False,
) -> Image.Image:
    """Images uint8 (N, H, W) or (N, H, W, 3) row by row, each pixel `scale` pixels wide, under
    their captions if given.

    `columns` is at most 10 for up to 100 images, else about the square root of their number.
    """
    n, height, width = images.shape[:3]
    columns = columns or (min(max(n, 1), 10) if n <= 100 else math.ceil(math.sqrt(n)))
    rows = max(1, math.ceil(n / columns))
    cell, head = (width * scale, height * scale), 14 if captions else 0
    colour = images.ndim == 4
    size = columns * cell[0], rows * (cell[1] + head)
    page = Image.new("RGB" if colour else "L", size, 0)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=11)
    for i, image in enumerate(images):
        x, y = i % columns * cell[0], i // columns * (cell[1] + head)
        enlarged = Image.fromarray(image).resize(cell, Image.Resampling.NEAREST)
        page.paste(enlarged, (x, y + head))
        if captions:
            caption, fill = _shortened(captions[i], font, cell[0]), (160,) * (3 if colour else 1)
            draw.text((x + cell[0] / 2, y + 2), caption, fill=fill, font=font, anchor="mt")
    return Image.eval(page, lambda p: 255 - p) if inverted and not colour else page


def _shortened(text: str, font: Any, width: int) -> str:
    """As much of a text as fits into a width."""
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-1]
    return text


def strip(
    images: np.ndarray,
    scale: int = 4,
    inverted: bool = False,
    width: int = 480,
    gap: int = 3,
    descents: Sequence[int] = (),
) -> Image.Image:
    """Images uint8 (N, H, W) as lines of handwriting, smoothed, each pixel `scale` pixels wide.

    Digits stand `gap` pixels from ink to ink. The distance is taken row by row, each row with its
    neighbours, so that a 7 and a 4 move together; an image without ink is a space. A line is at
    most `width` pixels long (before `scale`). descents: by how many pixels each image is moved
    down. Colour is shown as grey.
    """
    if images.ndim == 4:
        images = images.mean(3).round().astype(np.uint8)
    if deepest := max(descents, default=0):
        places = zip(images, descents, strict=True)
        images = np.stack([np.pad(i, ((down, deepest - down), (0, 0))) for i, down in places])
    height = images.shape[1]
    lines: list[list[tuple[int, np.ndarray]]] = [
        []
    ]  # of (where it begins, ink cropped to its columns)
    space, edge = 0, np.full(height, -99)
    for image in images:
        columns = np.flatnonzero((image > INK).any(0))
        if not len(columns):
            space += 12
            continue
        glyph = image[:, columns[0] : columns[-1] + 1]
        ink = glyph > INK
        begins = np.where(ink.any(1), ink.argmax(1), 99)  # (H,), 99 where a row has no ink
        ends = np.where(ink.any(1), glyph.shape[1] - ink[:, ::-1].argmax(1), -99)
        left = 0
        if lines[-1]:
            near = np.max([np.roll(edge, k) for k in (0, 1, -1, 2, -2)], 0)
            left = max((near - begins).max() + gap, lines[-1][-1][0] + 4) + space
        if not left or left + glyph.shape[1] > width:
            lines += [[]] if lines[-1] else []
            left, edge = 0, np.full(height, -99)
        lines[-1].append((left, glyph))
        edge, space = np.maximum(edge, left + ends), 0  # where the line's ink ends, row by row
    return _draw_lines(lines, height, scale, inverted)


def _draw_lines(
    lines: list[list[tuple[int, np.ndarray]]], height: int, scale: int, inverted: bool
) -> Image.Image:
    ends = [left + glyph.shape[1] for line in lines for left, glyph in line]
    page = np.zeros(
        (height * len(lines), max(ends, default=20) + 8), np.uint8
    )  # 4 pixels of margin
    for i, line in enumerate(lines):
        for left, glyph in line:
            place = page[height * i : height * (i + 1), 4 + left : 4 + left + glyph.shape[1]]
            np.maximum(place, glyph, out=place)
    picture = Image.fromarray(255 - page if inverted else page)
    size = page.shape[1] * scale, page.shape[0] * scale
    return picture.resize(size, Image.Resampling.BICUBIC)
