"""Photographs, scans and drawings of digits, made from real test digits, each kind with one thing
varied.

`python -m tests.photos --out asset/results/photographs.csv` measures how `prepare` does on each
kind (200 digits of each) and writes a row for each: read aright by the classifier, refused in a
line, silently wrong. Columns that begin with "before" are kept from the file as it was: they
belong to an older `prepare`.
"""

import argparse
import csv
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from digitgan import InvalidInputError, load_digits, prepare
from digitgan.data.tables import write_csv
from digitgan.evaluation.classifier import load_classifier

WIDTH, HEIGHT = 480, 640  # pixels: a telephone's picture, made small
PAPER, INK = (228, 226, 220), (40, 40, 48)  # red, green, blue


def photograph(  # noqa: C901 (one line for each thing that varies)
    digits,
    index,
    paper=PAPER,
    ink=INK,
    size=280,
    place=None,
    turn=0.0,
    pen=0,
    dotted=0.0,
    others=0,
    ruling=(),
    angle=0.0,
    things=(),
    light=None,
    frame=None,
    noise=3.0,
    blur=1.0,
    jpeg=80,
    finish=None,
):
    """A picture of `digits[index]`, as a PIL image; its random numbers come from the index.

    size: pixels of the digit's square; place: of its corner, by default so that it lies in the
    middle. turn: degrees. pen: pixels by which strokes get thinner (odd) or thicker (negative).
    dotted: fraction of the ink that a dry pen leaves out. others: how many further digits stand on
    its right. ruling: tuples (axis, first, pitch, colour, width of line), turned by `angle`
    degrees. things: functions (draw, rng) that draw onto the sheet. light: a function of x and y,
    0..1 each, by which the sheet is multiplied. frame: a function of the array (H, W, 3), after
    the light. noise: standard deviation, 0..255. blur: pixels. jpeg: quality, or None. finish: a
    function of the PIL image.
    """
    rng = np.random.default_rng(index)
    sheet = Image.new("RGB", (WIDTH, HEIGHT), paper)
    for axis, first, pitch, colour, width in ruling:
        _rule(sheet, axis, first, pitch, colour, width, angle)
    draw = ImageDraw.Draw(sheet)
    for thing in things:
        thing(draw, rng)
    x, y = place or ((WIDTH - size) // 2, (HEIGHT - size) // 2)
    for k in range(others + 1):
        glyph = Image.fromarray(digits.images[(index + k) % len(digits)])
        glyph = glyph.resize((size, size), Image.Resampling.BICUBIC)
        if pen:
            glyph = glyph.filter(
                (ImageFilter.MinFilter if pen > 0 else ImageFilter.MaxFilter)(abs(pen))
            )
        if turn:
            glyph = glyph.rotate(turn, Image.Resampling.BICUBIC)
        if dotted:
            holes = ndimage.gaussian_filter(rng.normal(size=(size, size)), size / 90)
            kept = holes > np.quantile(holes, dotted)
            glyph = Image.fromarray(
                np.asarray(glyph) * ndimage.gaussian_filter(kept * 1.0, 1.0).clip(0, 1)
            ).convert("L")
        sheet.paste(ink, (x + round(0.9 * k * size), y), glyph)
    pixels = np.asarray(sheet, np.float32)
    if light:
        ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
        pixels = pixels * light(xs / WIDTH, ys / HEIGHT)[..., None]
    if frame:
        pixels = frame(pixels.copy())
    pixels = pixels + rng.normal(0, noise, pixels.shape)
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(blur)
    )
    if jpeg:
        file = io.BytesIO()
        picture.save(file, "jpeg", quality=jpeg)
        picture = Image.open(file)
    return finish(picture) if finish else picture


def _rule(sheet, axis, first, pitch, colour, width, angle):
    """Ruled lines across the sheet, axis 0 level, 1 upright."""
    draw, slope = ImageDraw.Draw(sheet), np.tan(np.radians(angle))
    along, across = sheet.size if axis == 0 else sheet.size[::-1]
    tilt = slope * along / 2 * (1 if axis == 0 else -1)
    for at in np.arange(first - pitch * 5, across + pitch * 5, pitch):
        ends = [(-5, at - tilt), (along + 5, at + tilt)]
        draw.line(ends if axis == 0 else [end[::-1] for end in ends], fill=colour, width=width)


def _soft(strength):
    return lambda x, y: 1 - strength * (x + y) / 2


def _hand(x, y):
    return 1 - 0.45 * (x > 0.55 + 0.1 * np.sin(6 * y))


def _finger_shadow(x, y):
    return 1 - 0.4 * ndimage.gaussian_filter(1.0 * (np.abs(x - 0.3 - 0.3 * y) < 0.12), 6)


def _vignette(x, y):
    return 1 - 0.9 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)


def _fold(x, y):
    return 1 - 0.25 * np.exp(-np.abs(y - 0.52 - 0.03 * x) / 0.006) - 0.12 * (y > 0.52 + 0.03 * x)


def _lamp(x, y):
    return 0.45 + 0.75 * np.exp(-((x - 0.2) ** 2 + (y - 0.3) ** 2) / 0.2)


def _table(pixels):
    pixels[:, : WIDTH // 12] = 70, 55, 45
    return pixels


def _sheet_on_table(pixels):
    mask = Image.new("L", (WIDTH, HEIGHT), 0)
    ImageDraw.Draw(mask).polygon([(50, 70), (450, 40), (470, 590), (25, 610)], fill=255)
    grain = np.random.default_rng(0).normal(0, 6, (HEIGHT, 1, 1))
    wood = np.array([105, 75, 50]) + ndimage.gaussian_filter1d(grain, 2, axis=0)
    return np.where(np.asarray(mask)[..., None] > 0, pixels, wood)


def _scanner(border):
    def frame(pixels):
        pixels[:border] = pixels[-border:] = pixels[:, :border] = pixels[:, -border:] = 15
        return pixels

    return frame


def _thumb(pixels):
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels[((xs - WIDTH) / 70) ** 2 + ((ys - 560) / 45) ** 2 < 1] = 190, 130, 105
    return pixels


def _clip(pixels):
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    for x in (WIDTH * 0.3, WIDTH * 0.7):  # two punched holes, the table behind them
        pixels[(xs - x) ** 2 + (ys - 28) ** 2 < 14**2] = 70, 55, 45
    pixels[60:64, 40:75] = 120, 122, 128  # a staple
    return pixels


def _dust(draw, rng):
    for _ in range(60):
        x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(0.5, 2.5)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=(90, 85, 80))


def _drawn_frame(draw, rng):
    draw.rectangle([70, 130, 410, 510], outline=(60, 60, 66), width=3)


def _small_print(draw, rng):
    for line in range(3):
        for word in range(12):
            x, y = 40 + 18 * word, 24 + 18 * line
            draw.line(
                [(x, y), (x + int(rng.integers(4, 10)), y + int(rng.integers(0, 9)))],
                fill=(60, 60, 60),
                width=2,
            )


def _crumpled(x, y):
    rough = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=x.shape), 18)
    return 1 - 0.1 * np.abs(rough / rough.std()).clip(0, 2)


def _one_bit(picture):
    return picture.convert("L").point(lambda p: 255 * (p > 128)).convert("1")


def _speckled_scan(picture):
    grey = np.asarray(picture.convert("L")) > 128
    return Image.fromarray(grey ^ (np.random.default_rng(0).random(grey.shape) < 0.004))


def _clear(picture):
    """Black strokes on transparent pixels, as drawing apps save them."""
    grey = picture.convert("L")
    ink = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    ink.putalpha(grey.point(lambda p: 255 - p))
    return ink


def _clear_white(picture):
    ink = Image.new("RGBA", picture.size, (255, 255, 255, 0))
    ink.putalpha(picture.convert("L").point(lambda p: 255 - p))
    return ink


def _shelf(picture):
    """A screenshot: a dark bar with the time above, a grey one below."""
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, WIDTH, 34], fill=(30, 30, 34))
    draw.text((12, 10), "12:45", fill=(240, 240, 240))
    draw.rectangle([0, HEIGHT - 50, WIDTH, HEIGHT], fill=(236, 236, 240))
    return picture


BLUE, GREY, ROSE = (150, 175, 215), (190, 190, 190), (215, 120, 120)
LINED = [(0, 23, 46, BLUE, 2)]
SQUARED = [*LINED, (1, 17, 46, BLUE, 2)]
SQUARED_GREY = [(0, 23, 40, GREY, 2), (1, 17, 40, GREY, 2)]
MARGIN = (1, 60, 10_000, ROSE, 3)
CLEAN = {"paper": (255, 255, 255), "ink": (0, 0, 0), "noise": 0.0, "blur": 0.3, "jpeg": None}

KINDS = {  # name -> what `photograph` is told
    "plain paper, dark pen": {},
    "yellowish paper": {"paper": (226, 208, 160)},
    "blue pen": {"ink": (40, 60, 160)},
    "red pen": {"ink": (200, 40, 40)},
    "green pen": {"ink": (30, 140, 60)},
    "yellow marker": {"ink": (230, 210, 40)},
    "pencil": {"ink": (140, 140, 140)},
    "faint pencil": {"ink": (185, 185, 183)},
    "small on a large sheet": {"size": 90},
    "very small": {"size": 45},
    "fills the picture": {"size": 470, "place": (5, 80)},
    "in a corner": {"place": (190, 350)},
    "thin pen": {"pen": 7, "size": 300},
    "soft shadow 30 %": {"light": _soft(0.3)},
    "soft shadow 50 %": {"light": _soft(0.5)},
    "soft shadow 70 %": {"light": _soft(0.7)},
    "shadow of a hand": {"light": _hand},
    "noise of the dark": {"noise": 15.0},
    "blurred": {"blur": 4.0},
    "lined paper": {"ruling": LINED},
    "squared paper, blue": {"ruling": SQUARED},
    "squared paper, grey": {"ruling": SQUARED_GREY},
    "red margin line": {"ruling": [MARGIN]},
    "table beside the sheet": {"frame": _table},
    "scanner's black border": {"frame": _scanner(6)},
    "two digits": {"size": 200, "place": (40, 200), "others": 1},
    "chalk on a blackboard": {"paper": (45, 60, 50), "ink": (225, 225, 220)},
    "low JPEG quality": {"jpeg": 15},
    # further kinds
    "lined paper, turned by 3°": {"ruling": LINED, "angle": 3.0},
    "squared paper, turned by 5°": {"ruling": SQUARED, "angle": 5.0},
    "squared paper, 24 pixels": {"ruling": [(0, 9, 24, BLUE, 1), (1, 7, 24, BLUE, 1)]},
    "lined, red margin, blue pen": {"ruling": [*LINED, MARGIN], "ink": (40, 60, 160)},
    "pencil on squared paper": {"ruling": SQUARED_GREY, "ink": (130, 130, 130)},
    "pencil under a soft shadow": {"ink": (140, 140, 140), "light": _soft(0.6)},
    "shadow of a finger": {"light": _finger_shadow},
    "vignetting": {"light": _vignette},
    "folded sheet": {"light": _fold},
    "light of a lamp": {"light": _lamp},
    "crumpled sheet": {"light": _crumpled},
    "sheet on a table": {"frame": _sheet_on_table, "size": 220},
    "scanner's broad border": {"frame": _scanner(25)},
    "thumb on the sheet": {"frame": _thumb},
    "punched holes and a staple": {"frame": _clip},
    "dust": {"things": [_dust]},
    "drawn frame": {"things": [_drawn_frame]},
    "touches the rim": {"place": (-43, 180)},
    "squares and rose lines, turned": {"ruling": [*SQUARED, (0, 12, 92, ROSE, 2)], "angle": -4.0},
    "lined paper, table beside": {"ruling": LINED, "frame": _table, "angle": 2.0},
    "small print above": {"things": [_small_print]},
    "dry pen": {"dotted": 0.3, "pen": 3},
    "broad marker": {"pen": -9},
    "slightly turned": {"turn": 8.0},
    "white chalk, lit from the side": {
        "paper": (60, 75, 65),
        "ink": (230, 230, 225),
        "light": _soft(0.5),
    },
    "white on black screen": CLEAN | {"paper": (0, 0, 0), "ink": (255, 255, 255)},
    "drawing app, black on clear": CLEAN | {"finish": _clear},
    "drawing app, white on clear": CLEAN | {"finish": _clear_white},
    "screenshot with bars": CLEAN | {"finish": _shelf},
    "one-bit scan": {"finish": _one_bit},
    "speckled one-bit scan": {"finish": _speckled_scan},
    "dark and noisy": {"light": lambda x, y: 0.25 + 0 * x, "noise": 6.0},
}


def measure(digits, chosen, kind, classifier, prepare=prepare):
    """How many pictures of a kind, of the digits at the indices `chosen`, are (read aright,
    refused, read wrongly)."""
    right = refused = 0
    for index in chosen:
        try:
            right += (
                classifier.predict(prepare(photograph(digits, int(index), **KINDS[kind])))[0]
                == digits.labels[index]
            )
        except InvalidInputError:
            refused += 1
    return int(right), refused, len(chosen) - int(right) - refused


def main():
    """Measure every kind and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--digits", type=int, default=200, help="how many of each kind")
    parser.add_argument(
        "--kinds",
        nargs="*",
        default=list(KINDS),
        help="which kinds, by the beginning of their names",
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    test, classifier = load_digits(train=False), load_classifier()
    chosen = np.random.default_rng(0).choice(len(test), given.digits, replace=False)
    old = (
        {row["kind"]: row for row in csv.DictReader(given.out.open())} if given.out.exists() else {}
    )
    rows = []
    for kind in KINDS:
        if not kind.startswith(tuple(given.kinds)):
            continue
        right, refused, wrong = measure(test, chosen, kind, classifier)
        row = {
            "kind": kind,
            "n": given.digits,
            "right": right,
            "refused": refused,
            "silently wrong": wrong,
        }
        row |= {name: old.get(kind, {}).get(name, "") for name in BEFORE}
        rows.append(row)
        print(f"{kind:32} right {right:4} refused {refused:4} silently wrong {wrong:4}", flush=True)
    write_csv(given.out, rows)


BEFORE = tuple(f"before (of 20): {outcome}" for outcome in ("right", "refused", "silently wrong"))

if __name__ == "__main__":
    main()
