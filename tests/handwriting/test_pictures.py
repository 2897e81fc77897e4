"""Pictures that people bring: photographs, and everything that can be handed to `prepare`."""

import contextlib
import io
import warnings

import numpy as np
import photos
import pytest
import torch
from PIL import Image, ImageDraw

from digitgan import Digits, InvalidInputError, prepare, prepare_all
from digitgan.evaluation.classifier import load_classifier
from digitgan.handwriting.pictures import KEPT_SIDE, read_picture

CHOSEN = [6, 17, 42, 81, 128, 300]  # of the test digits
HARD = "shadow of a hand", "squared paper, blue", "sheet on a table", "dust", "folded sheet"
EASY = "faint pencil", "very small", "chalk on a blackboard", "drawn frame", "touches the rim"


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


def seven(width=300, height=300, mode="L", ink=30, paper=225):
    """A drawn 7."""
    page = Image.new("L", (width, height), paper)
    scale = min(width, height) / 300
    ends = [(90 * scale, 60 * scale), (210 * scale, 60 * scale), (130 * scale, 250 * scale)]
    ImageDraw.Draw(page).line(ends, fill=ink, width=round(22 * scale), joint="curve")
    return page.convert(mode)


@pytest.mark.parametrize("kind", [*HARD, *EASY])
def test_photographs_are_read_aright(kind, test_digits, classifier):
    right, _, wrong = photos.measure(test_digits, CHOSEN, kind, classifier)
    assert wrong == 0, kind
    assert right >= 5, kind


def test_several_digits_are_counted_and_returned_in_order(test_digits, classifier):
    sheet = Image.new("L", (900, 700), 228)
    right = []
    for line in range(3):
        for place in range(4):
            i = 4 * line + place
            glyph = Image.fromarray(test_digits.images[i]).resize((140, 140))
            # slanted lines
            sheet.paste(40, (60 + 200 * place, 20 + 200 * line + 25 * place), glyph)
            right.append(int(test_digits.labels[i]))
    digits = prepare_all(sheet)
    assert classifier.predict(digits).tolist() == right
    assert (digits.labels == -1).all()
    with pytest.raises(InvalidInputError, match=r"12 digits found.*prepare_all"):
        prepare(sheet)
    assert len(prepare_all(seven())) == 1


def test_a_small_digit_on_a_large_sheet_is_taken_from_the_large_picture(test_digits, classifier):
    right = 0
    for i in CHOSEN:
        sheet = Image.new("L", (3000, 2200), 228)
        glyph = Image.fromarray(test_digits.images[i]).resize((110, 110), Image.Resampling.BICUBIC)
        sheet.paste(40, (2000, 500), glyph)
        prepared = prepare(sheet)
        right += classifier.predict(prepared)[0] == test_digits.labels[i]
        small = np.asarray(Image.fromarray(test_digits.images[i]), np.float32)
        near = [np.abs(np.roll(prepared.images[0], s, (0, 1)) - small).mean() for s in SHIFTS]
        assert min(near) < 14  # not blurred, as from 30 pixels it would be
    assert right == len(CHOSEN)


SHIFTS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def test_mnist_itself_comes_back(test_digits):
    for i in CHOSEN:
        prepared = prepare(test_digits.images[i]).images[0].astype(int)
        near = [np.abs(np.roll(prepared, s, (0, 1)) - test_digits.images[i]).mean() for s in SHIFTS]
        assert min(near) < 6


def forms():
    """Name -> the same 7 in another form."""
    page = seven()
    grey = np.asarray(page)
    unit = torch.from_numpy(grey.copy()).float() / 255
    deep = grey.astype(np.uint16) * 257
    return {
        "uint16": deep,
        "int32": deep.astype(np.int32),
        "int64": grey.astype(np.int64),
        "12 bits": deep // 16,
        "0..16": (grey / 255 * 16).round(),
        "float32 0..255": grey.astype(np.float32),
        "float64 0..1": grey / 255,
        "-1..1": unit * 2 - 1,
        "signed": grey.astype(np.int16) - 128,
        "bool": grey > 128,
        "zeros and ones": (grey > 128).astype(np.uint8),
        "gradient": unit.clone().requires_grad_(),
        "half": unit.half(),
        "bfloat16": unit.bfloat16(),
        "(1, H, W)": unit[None],
        "(1, 1, H, W)": unit[None, None],
        "(H, W, 1)": grey[..., None],
        "(3, H, W)": unit.expand(3, -1, -1),
        "(H, W, 3)": np.dstack([grey] * 3),
        "(H, W, 4)": np.dstack([grey] * 3 + [np.full_like(grey, 255)]),
        "reversed view": grey[:, ::-1][:, ::-1],
        "list": grey.tolist(),
        "mode F": page.convert("F"),
        "mode I": Image.fromarray(deep.astype(np.int32)),
        "mode I;16": Image.fromarray(deep),
        "mode 1": page.convert("1", dither=Image.Dither.NONE),
        "mode P": page.convert("P"),
        "mode LA": page.convert("LA"),
        "mode RGBA": page.convert("RGBA"),
        "mode CMYK": page.convert("RGB").convert("CMYK"),
        "white on black": Image.fromarray(255 - grey),
    }


@pytest.mark.parametrize("name", forms())
def test_every_form_is_the_same_digit(name):
    right = prepare(seven()).images.astype(int)
    assert np.abs(prepare(forms()[name]).images - right).mean() < 3


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "tiff", "bmp"])
def test_files_are_read_however_they_are_handed_over(kind, tmp_path, monkeypatch):
    right = prepare(seven()).images.astype(int)
    path = tmp_path / f"seven.{kind}"
    seven().save(path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with path.open("rb") as file, Image.open(path) as image:
        content = path.read_bytes()
        given = [path, str(path), f"~/{path.name}", content, io.BytesIO(content), file, image]
        for picture in given:
            assert np.abs(prepare(picture).images - right).mean() < 3


def test_exif_turns_every_way(tmp_path):
    right = read_picture(seven())
    for orientation in range(1, 9):
        stored = seven()
        undo = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }.get(orientation)
        stored = stored.transpose(undo) if undo is not None else stored
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored.save(tmp_path / "turned.png", exif=exif)
        assert (read_picture(tmp_path / "turned.png") == right).all(), orientation


@pytest.mark.parametrize("width", [1, 3, 60])
def test_hairlines_and_broad_brushes_are_read(width, classifier):
    page = Image.new("L", (800, 600), 235)
    line = [(250, 100), (520, 100), (330, 520)]
    ImageDraw.Draw(page).line(line, fill=20, width=width, joint="curve")
    assert classifier.predict(prepare(page))[0] == 7


def test_two_digits_are_never_taken_for_one(test_digits, classifier):
    right, refused, _ = photos.measure(test_digits, CHOSEN, "two digits", classifier)
    assert (right, refused) == (0, len(CHOSEN))


def test_labels():
    assert prepare(seven(), label=7).labels.tolist() == [7]
    assert prepare(prepare(seven(), label=7)).labels.tolist() == [7]
    with pytest.raises(InvalidInputError, match="label 12"):
        prepare(seven(), label=12)


def test_an_image_handed_over_stays_as_it_was(tmp_path):
    seven(5000, 4000, "RGB").save(tmp_path / "large.jpg")
    with Image.open(tmp_path / "large.jpg") as image:
        prepare(image)
        assert image.size == (5000, 4000)


def test_huge_pictures_are_read_without_a_warning(tmp_path, classifier):
    seven(16320, 12240).convert("1").save(tmp_path / "huge.png", compress_level=1)
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert max(read_picture(tmp_path / "huge.png").shape) < 1.5 * KEPT_SIDE
        assert classifier.predict(prepare(tmp_path / "huge.png"))[0] == 7
    assert limit == Image.MAX_IMAGE_PIXELS


def wrong_pictures(folder):
    """Name -> (what is handed over, what the line must say)."""
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    jpeg = io.BytesIO()
    seven(600, 600).save(jpeg, "jpeg")
    (folder / "cut.jpg").write_bytes(jpeg.getvalue()[:-2000])
    Image.new("1", (20000, 13000)).save(folder / "larger.png", compress_level=1)
    holes = np.asarray(seven()) / 255.0
    holes[3, 4] = np.nan
    return {
        "empty file": (folder / "empty.png", "is empty"),
        "text": (folder / "text.png", "text.png.*not a picture"),
        "text mode": ((folder / "text.png").open(), "binary mode"),
        "HEIC": (folder / "photo.heic", "HEIC.*pillow-heif"),
        "cut off": (folder / "cut.jpg", "truncated"),
        "too large": (folder / "larger.png", "20000x13000 pixels, must be 250,000,000"),
        "folder": (folder, "is a folder"),
        "missing": (folder / "gone.png", "gone.png.*no such file"),
        "URL": ("https://example.org/7.png", "download it first"),
        "None": (None, "None.*must be"),
        "text array": (np.array([["a", "b"]]), "must be numbers"),
        "uneven lists": ([[1, 2], [3]], "not an array"),
        "1-D": (np.zeros(784, np.uint8), r"\(784,\).*must be numbers of shape"),
        "no pixels": (np.zeros((0, 28)), "must be numbers"),
        "batch": (np.zeros((5, 28, 28)), r"\(5, 28, 28\)"),
        "NaN": (holes, "not finite"),
        "tiny": (np.zeros((3, 200), np.uint8), "200x3 pixels"),
        "two Digits": (Digits(np.zeros((2, 28, 28), np.uint8)), "of 2 Digits: must be one"),
        "white sheet": (Image.new("L", (300, 300), 255), "ink"),
        "noise": (np.random.default_rng(0).normal(200, 4, (300, 300)).clip(0, 255), "ink"),
    }


def test_what_is_no_picture_of_a_digit_is_refused_in_one_line(tmp_path):
    wrong = wrong_pictures(tmp_path)
    with contextlib.closing(wrong["text mode"][0]):
        for name, (picture, said) in wrong.items():
            for function in (prepare, prepare_all):
                with pytest.raises(InvalidInputError, match=said) as error:
                    function(picture)
                assert "\n" not in str(error.value), name
                assert len(str(error.value)) < 250, name
