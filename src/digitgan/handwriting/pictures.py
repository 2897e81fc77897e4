"""Pictures that people bring, photographs and scans, prepared as the images of MNIST were.

The steps: read the picture in whatever form it comes (`read_picture`), estimate the paper locally
and the ink against it (`ink_contrast`), take ruled lines out (`remove_ruling`), find the connected
pieces of ink and which of them make up one digit (`find_pieces`, `group_pieces`), and scale each
digit to 28x28 (`to_mnist`). No classifier takes part.

The morphology is scipy.ndimage's: its running minimum and maximum take the same time for every
window, and with it alone the bars hold (asset/results/photographs.csv), so that scikit-image need
not become a dependency.
"""

import contextlib
import io
import itertools
import math
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from ..data.digits import Digits
from ..errors import InvalidInputError, one_line, short_repr

MOST_PIXELS = 250_000_000  # of a picture: the largest telephones take 200 million
KEPT_SIDE = 2400  # pixels: a larger picture is reduced to this while it is read
SEARCH_SIDE = 640  # pixels: digits are looked for in a picture of at most this size
SMALL_DIGIT = 100  # pixels: a digit smaller than this is cut out again of the larger picture
LEAST_SIDE = 8  # pixels
# of the digit's longer side: thinner strokes are blurred, so that they hold together
HAIRLINE = 0.03
LEAST_STROKE = 0.05  # of the digit's longer side: thinner strokes are broadened to it
ORIENTATION = 0x0112  # EXIF's number of the tag that says how the camera was held


def prepare(picture: Any, label: int = -1, classes: Any = None) -> Digits:
    """A picture of one digit made like those of MNIST, as `Digits` (1 image): 20 pixels at its
    longer side, the centre of its ink in the middle of 28x28 (LeCun et al., 1998), ink 255 on
    paper 0.

    picture: a file (path, bytes or open file, also a telephone's photograph), a PIL image, an
    array, a tensor or lists of numbers, grey (H, W) or (1, H, W), or colour (H, W, 3) or (3, H,
    W), or one of `Digits`; see `read_picture`. Dark ink on light paper or light ink on dark.
    Shadows, ruled lines, specks and what lies at the rim are left out. label: the digit, 0 to 9,
    or -1 where unknown. classes: the names of other labels, for a picture of a letter.

    Raises `InvalidInputError` where there is no picture, no ink on it, or not one digit but
    several: `prepare_all` takes those.
    """
    found = _find_digits(read_picture(picture), short_name(picture))
    if len(found) > 1:
        raise InvalidInputError(
            f"{short_name(picture)}: {len(found)} digits found, must be one; "
            "prepare_all returns them all"
        )
    if label == -1 and isinstance(picture, Digits):
        label = picture.labels[0]
    return Digits(to_mnist(found[0]), [label], classes=classes)


def prepare_all(picture: Any) -> Digits:
    """All digits of a picture, each made like those of MNIST, as `Digits` (N images), labels -1.

    They come from left to right, line by line. `picture` as for `prepare`; raises
    `InvalidInputError` as it does.
    """
    found = _find_digits(read_picture(picture), short_name(picture))
    return Digits(np.stack([to_mnist(ink) for ink in found]))


# ---- reading whatever comes ----


def read_picture(picture: Any) -> np.ndarray:
    """A picture as float32 (C, H, W), C 1 (grey) or 3 (red, green, blue), 0 (black) to 255 (white).

    Arrays: booleans; whole numbers and floats of any width, whose full scale is the smallest of 1,
    16, 255, 1023, 4095, 16383 and 65535 that holds them; floats in [-1, 1]; other ranges are
    stretched. Files and PIL images: all that Pillow reads, turned as EXIF says, transparent pixels
    taken as paper, of several pages the first. The result is reduced to about KEPT_SIDE pixels at
    its longer side.

    Raises `InvalidInputError` for anything else, and for pictures of more than MOST_PIXELS or below
    LEAST_SIDE pixels a side.
    """
    name = short_name(picture)
    if isinstance(picture, Digits):
        if len(picture) != 1:
            raise InvalidInputError(f"{name}: must be one digit")
        picture = picture.images[0]
    if isinstance(picture, Image.Image):
        pixels = _read_image(picture, name)
    elif isinstance(picture, str | os.PathLike | bytes | bytearray) or hasattr(picture, "read"):
        with _open_image(picture, name) as image:
            pixels = _read_image(image, name)
    else:
        pixels = _read_array(picture, name)
    if np.ptp(pixels, 0).max() < 1:
        pixels = pixels[:1]
    if min(pixels.shape[1:]) < LEAST_SIDE:
        height, width = pixels.shape[1:]
        raise InvalidInputError(
            f"{name}: {width}x{height} pixels, must be {LEAST_SIDE} or more a side"
        )
    return pixels


def short_name(picture: Any) -> str:
    """What a picture is, for a message: its path, or its size, or its type and shape."""
    if isinstance(picture, Digits):
        what = f"of {len(picture)} Digits"
    elif isinstance(picture, str | os.PathLike):
        path = one_line(os.fsdecode(picture))
        what = path if len(path) < 200 else short_repr(path)
    elif isinstance(picture, Image.Image):
        what = f"of {picture.width}x{picture.height} pixels"
    elif isinstance(picture, bytes | bytearray):
        what = f"of {len(picture)} bytes"
    elif hasattr(picture, "read"):
        what = short_repr(getattr(picture, "name", type(picture).__name__))
    elif hasattr(picture, "shape"):
        what = f"of shape {tuple(picture.shape)} and type {getattr(picture, 'dtype', '?')}"
    else:
        what = f"= {short_repr(picture)}"
    return f"picture {what}"


_bomb_limit = threading.Lock()


def _open_binary(source: Any, name: str) -> IO[bytes]:
    """A binary file of a path, of bytes, or of what an open file still has."""
    if isinstance(source, str) and "://" in source[:12]:
        raise InvalidInputError(f"{name}: must be a file on this machine, download it first")
    if isinstance(source, str | os.PathLike):
        path = Path(os.fsdecode(source)).expanduser()
        if path.is_dir():
            raise InvalidInputError(f"{name}: must be a picture, is a folder")
        return path.open("rb")
    content = source if isinstance(source, bytes | bytearray) else source.read()
    if not isinstance(content, bytes | bytearray):
        raise InvalidInputError(f"{name}: must be opened in binary mode")
    return io.BytesIO(content)


@contextlib.contextmanager
def _open_image(source: Any, name: str) -> Iterator[Image.Image]:
    """An open PIL image of a path, bytes or open file. Raises `InvalidInputError` where it cannot
    be opened or read."""
    head = b""
    try:
        with _open_binary(source, name) as file:
            head = file.read(32)
            file.seek(0)
            if not head:
                raise InvalidInputError(f"{name}: must be a picture, is empty")
            with _bomb_limit:  # Pillow knows no limit for one picture alone: ours is checked below
                limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                try:
                    image = Image.open(file)
                finally:
                    Image.MAX_IMAGE_PIXELS = limit
            with image:
                _check_pixels(image.width, image.height, name)
                image.draft(None, (KEPT_SIDE, KEPT_SIDE))  # a JPEG is reduced while it is decoded
                yield image
    except FileNotFoundError:
        raise InvalidInputError(f"{name}: no such file") from None
    except _READ_ERRORS as error:
        if isinstance(error, InvalidInputError):
            raise
        if head[4:8] == b"ftyp":
            raise InvalidInputError(
                f"{name}: a HEIC or AVIF file that Pillow cannot read here; save it as JPEG or "
                "PNG, or install and register pillow-heif"
            ) from None
        raise InvalidInputError(f"{name}: not a picture ({one_line(error)})") from None


_READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)


def _check_pixels(width: int, height: int, name: str) -> None:
    if width * height > MOST_PIXELS:
        raise InvalidInputError(f"{name}: {width}x{height} pixels, must be {MOST_PIXELS:,} at most")


def _read_image(image: Image.Image, name: str) -> np.ndarray:
    """A PIL image as float32 (C, H, W), 0..255, reduced band by band, so that memory grows by
    little."""
    _check_pixels(image.width, image.height, name)
    try:
        image.load()
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            pixels = _read_array(np.asarray(image), name)
            mode = None
        else:
            mode = (
                "RGBA"
                if image.has_transparency_data
                else "L"
                if image.mode in ("1", "L")
                else "RGB"
            )
            factor = max(1, round(max(image.size) / KEPT_SIDE))
            rows = factor * max(
                1, 4_000_000 // (image.width * factor)
            )  # a band of about 4 million pixels
            bands = [
                np.asarray(
                    image.crop((0, y, image.width, min(y + rows, image.height)))
                    .convert(mode)
                    .reduce(factor)
                )
                for y in range(0, image.height, rows)
            ]
            pixels = np.atleast_3d(np.concatenate(bands)).astype(np.float32).transpose(2, 0, 1)
            if mode == "RGBA":
                pixels = _on_paper(pixels)
        orientation = image.getexif().get(ORIENTATION, 1)
    except _READ_ERRORS as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{name}: not a picture ({one_line(error)})") from None
    return _turn(pixels, orientation)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (C, H, W) turned upright as EXIF's orientation, 1 to 8, says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(0, 2, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray(pixels)


def _on_paper(rgba: np.ndarray) -> np.ndarray:
    """Pixels (4, H, W) with opacity laid on paper: white, or black where what is opaque is light
    and not the most."""
    colour, opacity = rgba[:3], rgba[3] / 255
    visible = opacity.sum()
    light = (colour.mean(0) * opacity).sum() > 160 * visible and visible < opacity.size / 2
    return colour * opacity + (0 if light else 255) * (1 - opacity)


FULL_SCALES = 1, 16, 255, 1023, 4095, 16383, 65535  # of booleans, small scans, 8 to 16 bits


SHAPES = "must be numbers of shape (H, W), (1, H, W), (3, H, W), (H, W, 1) or (H, W, 3)"


def _numbers(values: Any, name: str) -> np.ndarray:
    """An array, tensor or lists as an array of numbers."""
    try:
        if hasattr(values, "detach"):  # a tensor; numpy knows no bfloat16
            values = values.detach().cpu()
            values = values.float() if values.is_floating_point() else values
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"{name}: not an array ({one_line(error)})") from None
    if array.dtype.kind not in "buif" or array.size == 0:
        raise InvalidInputError(f"{name}: {SHAPES}")
    return array


def _rows_columns_channels(array: np.ndarray, name: str) -> np.ndarray:
    """An array as (H, W, C), with 1 to 4 channels."""
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or min(array.shape[:2]) < 1:
        raise InvalidInputError(f"{name}: {SHAPES}")
    return array


def _read_array(values: Any, name: str) -> np.ndarray:
    """An array, tensor or lists of numbers as float32 (C, H, W), 0..255, reduced."""
    array = _rows_columns_channels(_numbers(values, name), name)
    _check_pixels(array.shape[1], array.shape[0], name)
    low, high = float(array.min()), float(array.max())
    if not math.isfinite(low) or not math.isfinite(high):
        raise InvalidInputError(f"{name}: holds numbers that are not finite, must hold none")
    factor = max(1, round(max(array.shape[:2]) / KEPT_SIDE))
    height, width, channels = array.shape
    height, width = max(1, height // factor), max(1, width // factor)
    if factor > 1 and min(array.shape[:2]) >= factor:
        blocks = array[: height * factor, : width * factor].reshape(
            height, factor, width, factor, channels
        )
        array = blocks.mean((1, 3), dtype=np.float32)
    pixels = _to_bytes_range(array.astype(np.float32), low, high, array.dtype.kind).transpose(
        2, 0, 1
    )
    if channels in (2, 4):  # the last channel is opacity
        pixels = _on_paper(
            np.concatenate(
                [np.repeat(pixels[:1], 3, 0) if channels == 2 else pixels[:3], pixels[-1:]]
            )
        )
    return pixels


def _to_bytes_range(array: np.ndarray, low: float, high: float, kind: str) -> np.ndarray:
    """Numbers between low and high brought to 0..255, by the full scale that they most likely
    have."""
    slack = 0.1 if kind == "f" else 0  # smoothing overshoots
    if low < -slack:
        if kind == "f" and low >= -1 - slack and high <= 1 + slack:
            return np.clip((array + 1) * 127.5, 0, 255)
        return (array - low) * (255 / (high - low))
    scale = next((scale for scale in FULL_SCALES if high <= scale * (1 + slack)), high)
    return np.clip(array * (255 / scale), 0, 255)


# ---- ink against paper ----


def _shrink(pixels: np.ndarray, side: int) -> Any:
    """Pixels (C, H, W) reduced by area to at most `side` at the longer side, and by how much (1 or
    more)."""
    factor = max(pixels.shape[1:]) / side
    if factor <= 1:
        return pixels, 1.0
    size = [max(1, round(edge / factor)) for edge in pixels.shape[:0:-1]]  # width, height
    return np.stack(
        [np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BOX)) for c in pixels]
    ), factor


def ink_contrast(pixels: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Contrast, steps, noise and brightness of a picture with dark ink.

    Contrast: how far each pixel is darker than the paper around it, float32 (H, W). Steps: how far
    the pixels within 3 of it are apart, less what the paper itself changes there, float32 (H, W),
    in the same unit. Noise: the standard deviation of the contrast. Brightness: of the paper,
    0..1.

    pixels: (C, H, W), 0..255. The paper is the morphological closing in a square window: whatever
    is dark and narrower than `window` pixels is ink; shadows, tables and the edges between them,
    which are wider, stay in the paper. Contrast is (paper - pixel) / paper, which the strength of
    the light cancels out of; 0 on paper. Channels are weighted by how much ink each shows: yellow
    ink shows in blue light alone.
    """
    half = window // 2 + 1
    papers = []
    for channel in pixels:
        wide = np.pad(
            np.rint(channel).astype(np.uint8), half, mode="edge"
        )  # what reaches the rim goes on beyond it
        papers.append(ndimage.grey_closing(wide, size=(window, window))[half:-half, half:-half])
    paper = np.stack(papers) + np.float32(16)
    contrast = (paper - 16 - pixels) / paper  # (C, H, W)
    contrast -= np.median(contrast[:, ::2, ::2], (1, 2), keepdims=True)
    weights = np.ones(len(pixels), np.float32)
    if len(pixels) > 1:  # the colour of the ink
        strong = contrast.max(0)
        strong = strong >= 0.7 * np.quantile(strong[::2, ::2], 0.998)
        weights = np.clip(contrast[:, strong].mean(1), 1e-6, None)
    weights /= weights.sum()
    contrast = np.tensordot(weights, contrast, 1)
    grey = np.tensordot(weights, pixels, 1)
    light = np.tensordot(weights, paper, 1)
    step = _range(grey) - _range(light)  # where the paper itself changes, no ink ends
    grain = np.abs(contrast - ndimage.uniform_filter(contrast, 3))
    return (
        contrast,
        step / light,
        float(1.5 * np.median(grain[::2, ::2])) + 1e-3,
        float(np.median(light)) / 255,
    )


def _range(values: Any) -> Any:
    """Largest minus smallest value within 3 pixels of each."""
    return ndimage.maximum_filter(values, 7) - ndimage.minimum_filter(values, 7)


def remove_ruling(contrast: np.ndarray, threshold: float) -> np.ndarray:
    """The contrast (H, W) without straight thin lines that cross the whole picture, at most SLANT
    from level or upright.

    A line is one along which nearly every pixel, also at both ends, is above the threshold. On it,
    only what is clearly darker than the line itself stays, and what lies between ink on both of
    its sides.
    """
    for _ in range(2):  # level lines, then, transposed, upright ones
        for slope, offset in _find_lines(contrast > threshold):
            contrast = _remove_line(contrast, slope, offset, threshold)
        contrast = np.ascontiguousarray(contrast.T)
    return contrast


SLANT = 0.2  # slope of a ruled line
MOST_LINES = 120  # of one direction
END = 0.06  # fraction of the width that counts as one end of a line


def _find_lines(mask: np.ndarray) -> Any:
    """Lines y = offset + slope * x that cross the mask (H, W) from left to right, as a list of
    (slope, offset)."""
    height, width = mask.shape
    broad = ndimage.binary_opening(mask, np.ones((max(5, height // 50), 1)))
    spread = ndimage.maximum_filter1d((mask & ~broad).view(np.uint8), 3, axis=0)
    ys, xs = np.nonzero(spread)
    if len(ys) < width:
        return []
    columns = np.arange(width)
    ends = (columns < width * END) | (columns >= width * (1 - END))
    at_end, reach = ends[xs], int(SLANT * width) + 1
    offsets = np.arange(-reach, height + reach)
    lines: list[Any] = []
    for slope in np.linspace(-SLANT, SLANT, 2 * int(SLANT * width / 2) + 1):
        places = np.rint(ys - slope * xs).astype(np.intp) + reach
        covered = np.bincount(places, minlength=len(offsets))  # columns in which the line has ink
        if covered.max() < 0.75 * width:
            continue
        covered_ends = np.bincount(places[at_end], minlength=len(offsets))
        last = offsets + slope * (width - 1)
        inside = (offsets >= 0) & (offsets < height) & (last >= 0) & (last < height)
        found = inside & (covered >= 0.75 * width) & (covered_ends >= 0.6 * ends.sum())
        lines += [(covered[i], slope, int(offsets[i])) for i in np.flatnonzero(found)]
    best: list[Any] = []  # each line once, at its best slope
    for _, slope, offset in sorted(lines, reverse=True):
        middle = offset + slope * width / 2
        if all(abs(middle - o - s * width / 2) > 4 for s, o in best) and len(best) < MOST_LINES:
            best.append((slope, offset))
    return best


def _remove_line(contrast: np.ndarray, slope: Any, offset: Any, threshold: float) -> Any:
    """The contrast without the line, as broad as it is, and with the strokes that it crosses."""
    height, width = contrast.shape
    columns, most = np.arange(width), max(3, height // 60)
    middle = np.rint(offset + slope * columns).astype(np.intp)
    rows = np.clip(middle + np.arange(-most, most + 1)[:, None], 0, height - 1)  # (2 * most + 1, W)
    band = contrast[rows, columns]
    levels = np.median(band, 1)
    first = last = most
    while first > 1 and levels[first - 1] > threshold / 2:
        first -= 1
    while last < 2 * most - 1 and levels[last + 1] > threshold / 2:
        last += 1
    first, last = first - 1, last + 1
    above, below = (
        ndimage.maximum_filter1d(contrast[np.clip(middle + shift, 0, height - 1), columns], 3)
        for shift in (first - most - 1, last - most + 1)
    )
    bridge = np.minimum(above, below)
    bridge[bridge <= threshold] = 0
    line = band[first : last + 1]
    stays = np.where(line > 1.4 * levels[first : last + 1].max(), line, 0)
    result = contrast.copy()
    result[rows[first : last + 1], columns] = np.maximum(stays, bridge)
    return result


# ---- pieces of ink, and which of them make up one digit ----


def find_pieces(
    contrast: np.ndarray, step: np.ndarray, noise: float
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Connected pieces of ink, as labels int (H, W), 0 on paper, and for each a dict: number, box
    (two slices), height, width, side (the longer one), peak (contrast), thickness (pixels), rim
    (pixels of it at the picture's rim), edges (pixels of its outline) and sharp (those of them at
    a step).

    Each is cut out at half of its own peak, so that faint and strong ink stand side by side.
    """
    threshold = _threshold(noise)
    labels, _ = ndimage.label(contrast > threshold, np.ones((3, 3)))
    smooth = ndimage.uniform_filter(contrast, 3)
    peaks = _maxima(smooth, labels)
    ink = (labels > 0) & (smooth > 0.5 * peaks[labels])
    labels, count = ndimage.label(ink, np.ones((3, 3)))
    if not count:
        return labels, []
    peaks = _maxima(smooth, labels)
    depth = ndimage.distance_transform_edt(np.pad(ink, 1))[1:-1, 1:-1]
    depths = _maxima(depth, labels)
    rim = np.bincount(
        np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]), minlength=count + 1
    )
    border = ink & ~ndimage.binary_erosion(ink)
    sharp = border & (step > 0.25 * peaks[labels])
    edges = np.bincount(labels[border], minlength=count + 1)
    sharp = np.bincount(labels[sharp], minlength=count + 1)
    pieces = []
    for i, box in enumerate(ndimage.find_objects(labels)):
        height, width = (s.stop - s.start for s in box)
        if max(height, width) >= 4:
            pieces.append(
                {
                    "number": i + 1,
                    "box": box,
                    "height": height,
                    "width": width,
                    "side": max(height, width),
                    "peak": float(peaks[i + 1]),
                    "thickness": 2 * float(depths[i + 1]) - 1,
                    "rim": rim[i + 1],
                    "edges": edges[i + 1],
                    "sharp": sharp[i + 1],
                }
            )
    return labels, pieces


def _maxima(values: Any, labels: np.ndarray) -> Any:
    """The largest of the values under each label, float32 (labels.max() + 1,)."""
    maxima = np.zeros(labels.max() + 1, np.float32)
    inside = labels > 0
    np.maximum.at(maxima, labels[inside], values[inside].astype(np.float32))
    return maxima


def _threshold(noise: float) -> Any:
    return max(0.07, 5 * noise)


def _union(boxes: Any) -> Any:
    return tuple(
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes))
        for axis in (0, 1)
    )


def _overlap(a: Any, b: Any) -> Any:
    """How many pixels two slices share."""
    return min(a.stop, b.stop) - max(a.start, b.start)


def _is_frame(labels: np.ndarray, piece: dict[str, Any]) -> bool:
    """Whether a piece runs along the four sides of its box, as a drawn frame or a scanner's border
    does."""
    inside = labels[piece["box"]] == piece["number"]
    margin = max(2, int(0.08 * min(inside.shape)))
    sides = [
        inside[:margin].any(0),
        inside[-margin:].any(0),
        inside[:, :margin].any(1),
        inside[:, -margin:].any(1),
    ]
    return inside.mean() < 0.5 and min(side.mean() for side in sides) > 0.7


def _is_blob(piece: dict[str, Any]) -> bool:
    """Whether a piece is a full spot without strokes: a hole punched in the sheet, a coin, a
    finger."""
    return piece["thickness"] > 0.6 * piece["side"]


def find_groups(
    contrast: np.ndarray, step: np.ndarray, noise: float
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The digits on a picture of which `ink_contrast` made contrast, step and noise: a dict for
    each, as of `find_pieces`, with the numbers of its pieces, and the labels of the pieces, int
    (H, W)."""
    labels, pieces = find_pieces(contrast, step, noise)
    least = 0.15 * max(labels.shape)
    pieces = [
        piece
        for piece in sorted(pieces, key=lambda piece: -piece["side"])[:MOST_PIECES]
        if piece["sharp"] >= 0.75 * piece["edges"]  # else a piece of shadow, cut off by the window
        and not (piece["side"] > least and _is_frame(labels, piece))
    ]
    inner = [piece for piece in pieces if not piece["rim"]]
    groups = _assemble(labels, inner)
    grazing = [piece for piece in pieces if piece["rim"] and _is_grazing(piece)]
    if max(map(_weight, grazing), default=0) > 2 * max(map(_weight, groups), default=0):
        groups = _assemble(labels, inner + grazing)
    best: Any = max(groups, key=_weight, default=None)
    groups = [
        g for g in groups if g["side"] >= 0.35 * best["side"] and g["peak"] >= 0.4 * best["peak"]
    ]
    return groups, labels


def _weight(piece: dict[str, Any]) -> Any:
    """How much a piece or group of pieces counts: a faint large one as much as a dark small one."""
    return piece["side"] * piece["peak"] ** 1.5


def _is_grazing(piece: dict[str, Any]) -> bool:
    """Whether a piece touches the rim with one stroke only, rather than lying across it."""
    return (
        piece["rim"] <= max(3, 1.6 * piece["thickness"])
        and piece["rim"] < 0.4 * piece["side"]
        and piece["thickness"] < 0.3 * piece["side"]
    )


def _assemble(labels: np.ndarray, pieces: list[dict[str, Any]]) -> Any:
    """Groups of those pieces that are not far fainter than the best one, without full spots."""
    best: Any = max(pieces, key=_weight, default=None)
    pieces = [piece for piece in pieces if piece["peak"] >= 0.4 * best["peak"]]
    return [group for group in group_pieces(labels, pieces) if not _is_blob(group)]


MOST_PIECES = 150


def group_pieces(labels: np.ndarray, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces that belong to one digit put together: a 5 and its bar, a broken 4, the dots of a dry
    pen."""
    groups = [
        piece | {"numbers": [piece["number"]], "points": _outline(labels, piece)}
        for piece in pieces
    ]
    merged = True
    while merged:
        merged = False
        groups.sort(key=lambda g: -g["side"])
        for i, j in itertools.combinations(range(len(groups)), 2):
            if _belong(groups[i], groups[j]):
                groups[i] = _merge(groups[i], groups.pop(j))
                merged = True
                break
    return groups


def _outline(labels: np.ndarray, piece: dict[str, Any]) -> Any:
    """Up to 400 pixels of a piece's edge, (n, 2)."""
    inside = labels[piece["box"]] == piece["number"]
    edge = inside & ~ndimage.binary_erosion(inside)
    points = np.argwhere(edge) + [s.start for s in piece["box"]]
    return points[:: max(1, len(points) // 400)]


def _merge(big: dict[str, Any], small: dict[str, Any]) -> Any:
    box = _union([big["box"], small["box"]])
    height, width = (s.stop - s.start for s in box)
    return big | {
        "box": box, "height": height, "width": width, "side": max(height, width),
        "numbers": big["numbers"] + small["numbers"], "peak": max(big["peak"], small["peak"]),
        "thickness": max(big["thickness"], small["thickness"]),
        "points": np.concatenate([big["points"], small["points"]]),
        "edges": big["edges"] + small["edges"], "sharp": big["sharp"] + small["sharp"],
    }  # fmt: skip


def _belong(big: dict[str, Any], small: dict[str, Any]) -> bool:
    """Whether two groups of pieces, the first the larger, are parts of one digit."""
    side = big["side"]
    reach = max(0.22 * side, 2.5 * small["thickness"])
    rows, columns = (_overlap(big["box"][axis], small["box"][axis]) for axis in (0, 1))
    if max(-rows, -columns) > reach:
        return False
    gap = cKDTree(big["points"]).query(small["points"])[0].min()
    if small["side"] <= 3 * small["thickness"] and big["side"] <= 3 * big["thickness"]:  # dots
        return gap <= 1.2 * small["thickness"]
    if small["peak"] < 0.4 * big["peak"]:
        return False
    height, width = (s.stop - s.start for s in _union([big["box"], small["box"]]))
    if width > 1.5 * height:
        return False
    stroke = small["side"] < 0.65 * side or small["width"] > 1.8 * small["height"]  # no digit
    beside = (
        small["height"] >= 0.6 * big["height"]
        and rows >= 0.6 * small["height"]
        and columns <= 0.25 * min(small["width"], big["width"])
    )
    below = not stroke and rows <= 0
    if beside or below:
        return gap <= max(0.05 * side, 0.8 * min(small["thickness"], big["thickness"]))
    return gap <= min(1.5 * small["side"], (0.22 if stroke else 0.1) * side)


def _search(pixels: np.ndarray) -> Any:
    """What `_search_polarity` finds in pixels (C, H, W) of either polarity.

    Polarity and breadth of the strokes are found in a small copy with a wide window, the ink then
    with a narrow one.
    """
    for side in (SEARCH_SIDE / 2, SEARCH_SIDE):  # the second for what is lost in the first
        small, factor = _shrink(pixels, int(side))
        window = int(0.35 * math.sqrt(math.prod(small.shape[1:]))) | 1
        chosen = _choose([_search_polarity(image, window) for image in (small, 255 - small)])
        if chosen is not None:
            break
    else:
        return {"groups": []}
    inverted, groups = chosen
    thickness = max(g["thickness"] for g in groups) * factor
    hairline = all(g["thickness"] < HAIRLINE * g["side"] for g in groups)
    # the second window for where a narrow shadow was taken for ink
    for narrow in (2 * thickness + 9, 1.3 * thickness + 7):
        ink = 255 - pixels if inverted else pixels
        found = _search_polarity(ink, int(narrow) | 1, 2.0 if hairline else 0.8)
        if found["groups"]:
            break
    return found | {"inverted": inverted}


def _choose(found: Any) -> Any:
    """Whether to believe in dark ink or in light ink, of what was found of both: (0 or 1, its
    groups), or None.

    Light gaps between dark strokes look like ink, and the other way round. Ink lies around its
    gaps, or is thinner.
    """
    found = [(i, each) for i, each in enumerate(found) if each["groups"]]
    if len(found) < 2:
        return (found[0][0], found[0][1]["groups"]) if found else None
    groups = [each["groups"] for _, each in found]
    strength = [  # in grey levels: a gap is as strong as the ink beside it
        max(g["side"] * (g["peak"] * each["brightness"]) ** 3 for g in each["groups"])
        for _, each in found
    ]
    boxes = [_union([g["box"] for g in each]) for each in groups]
    thinness = [min(g["thickness"] / g["side"] for g in each) for each in groups]
    chosen = int(np.argmin(thinness))
    if max(strength) > 4 * min(strength):
        chosen = int(np.argmax(strength))
    elif thinness[1 - chosen] < 0.45 and _contains(boxes[1 - chosen], boxes[chosen]):
        chosen = 1 - chosen
    return chosen, groups[chosen]


def _contains(outer: Any, inner: Any) -> bool:
    return all(a.start <= b.start and b.stop <= a.stop for a, b in zip(outer, inner, strict=True))


def _search_polarity(pixels: np.ndarray, window: int, blur: float = 0.8) -> Any:
    """Groups of dark ink on pixels (C, H, W), contrast without ruling, noise, and labels of the
    pieces."""
    if max(pixels.shape[1:]) > 200:
        pixels = ndimage.gaussian_filter(pixels, (0, blur, blur))
    contrast, step, noise, brightness = ink_contrast(pixels, window)
    contrast = remove_ruling(contrast, _threshold(noise))
    groups, labels = find_groups(contrast, step, noise)
    return {
        "groups": groups,
        "contrast": contrast,
        "noise": noise,
        "brightness": brightness,
        "labels": labels,
    }


def _find_digits(pixels: np.ndarray, name: str) -> list[np.ndarray]:
    """The ink of each digit of pixels (C, H, W), float32 (h, w), 0 on paper, about 1 in the ink,
    cropped to it."""
    if max(pixels.shape[1:]) < 160:
        factor = math.ceil(160 / max(pixels.shape[1:]))
        pixels = pixels.repeat(factor, 1).repeat(factor, 2)
    small, factor = _shrink(pixels, SEARCH_SIDE)
    found = _search(small)
    groups = found["groups"]
    if not groups:
        raise InvalidInputError(
            f"{name}: must have a digit in ink on it, clear of the rim; none found"
        )
    if len(groups) > MOST_DIGITS:
        raise InvalidInputError(
            f"{name}: {len(groups)} pieces of ink found, must be {MOST_DIGITS} digits at most"
        )
    for group in groups:
        wide = group["width"] / group["height"]  # a slanted 1 is wide as well, but no more than 3
        if wide > 3 or (wide > 1.6 and group["height"] > 3.5 * group["thickness"]):
            size = f"{round(group['width'] * factor)}x{round(group['height'] * factor)}"
            raise InvalidInputError(
                f"{name}: ink of {size} pixels is too wide for one digit (do several touch?)"
            )
    return [_cut(*_enlarge(pixels, factor, found, group)) for group in _reading_order(groups)]


MOST_DIGITS = 100


def _reading_order(groups: Any) -> Any:
    """Groups from left to right, line by line; a line may be somewhat slanted."""
    lines: list[Any] = []
    for group in sorted(groups, key=lambda g: g["box"][1].start):
        shared = [
            _overlap(line[-1]["box"][0], group["box"][0]) / min(line[-1]["height"], group["height"])
            for line in lines
        ]
        if shared and max(shared) > 0.3:
            lines[int(np.argmax(shared))].append(group)
        else:
            lines.append([group])
    lines.sort(key=lambda line: np.mean([g["box"][0].start + g["box"][0].stop for g in line]))
    return [group for line in lines for group in line]


def _enlarge(pixels: np.ndarray, factor: Any, found: Any, group: Any) -> Any:
    """What was found and the group, where the digit is small found again in its part of the larger
    pixels."""
    if group["side"] >= SMALL_DIGIT or factor < 1.3:
        return found, group
    margin = 0.8 * group["side"] + 4
    part = tuple(
        slice(max(0, int((s.start - margin) * factor)), int((s.stop + margin) * factor))
        for s in group["box"]
    )
    image = pixels[(slice(None), *part)]
    again, _ = _shrink(image, 3 * SMALL_DIGIT)
    ratio = max(again.shape[1:]) / max(image.shape[1:]) * factor  # of its pixels to those searched
    inverted = found["inverted"]
    again = _search_polarity(
        255 - again if inverted else again, int(2 * group["thickness"] * ratio + 9) | 1
    )
    edges_of_box = [
        (s.start * factor - p.start, s.stop * factor - p.start)
        for s, p in zip(group["box"], part, strict=True)
    ]
    box = tuple(slice(*(round(edge * ratio / factor) for edge in edges)) for edges in edges_of_box)
    shared = [
        max(0, _overlap(g["box"][0], box[0])) * max(0, _overlap(g["box"][1], box[1]))
        for g in again["groups"]
    ]
    area = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
    if not shared or max(shared) < 0.5 * area:
        return found, group
    return again, again["groups"][int(np.argmax(shared))]


def _cut(found: Any, group: Any) -> Any:
    """The ink of one group, float32 (h, w), 0 on paper to 1 in the ink, cropped to it."""
    contrast, noise, labels = found["contrast"], found["noise"], found["labels"]
    mask = np.isin(labels, group["numbers"])
    radius = int(max(2, 0.4 * group["thickness"]))
    mask = ndimage.distance_transform_edt(~mask) <= radius
    level = np.quantile(contrast[np.isin(labels, group["numbers"])], 0.75)
    low = min(3 * noise, 0.25 * level)
    ink = np.clip((contrast - low) / (0.9 * level - low), 0, 1) * mask
    missing = LEAST_STROKE * group["side"] - group["thickness"]
    if missing >= 1:  # scaled down, a hairline would vanish
        ink = ndimage.maximum_filter(ink, round(missing) + 1)
    rows, columns = np.flatnonzero(ink.max(1) > 0.3), np.flatnonzero(ink.max(0) > 0.3)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def to_mnist(ink: np.ndarray) -> np.ndarray:
    """Ink (h, w), 0..1, cropped, as MNIST's images are: uint8 (28, 28), 20 pixels at the longer
    side, the centre of the ink in the middle."""
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
    return page
