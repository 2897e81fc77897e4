"""Images whose full ink is not 255: what is certain is scaled, what is not is refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from digitgan import Digits, InvalidInputError, load_digits
from digitgan.data.idx import write_idx


@pytest.fixture(scope="module")
def some(test_digits):
    return test_digits[:50]


CERTAIN = {
    "bool": lambda images: images > 127,
    "bool tensor": lambda images: torch.from_numpy(images > 127),
    "0 and 1": lambda images: (images > 127).astype(np.uint8),
    "0 and 1, int64": lambda images: (images > 127).astype(np.int64),
    "0.0 and 1.0": lambda images: (images > 127).astype(np.float32),
    "lists": lambda images: (images > 127).tolist(),
    "PIL, 1 bit": lambda images: [Image.fromarray(image > 127) for image in images],
}


@pytest.mark.parametrize("kind", CERTAIN)
def test_binary_images_have_full_ink(kind, some):
    digits = Digits(CERTAIN[kind](some.images), some.labels)
    assert (digits.images == np.where(some.images > 127, 255, 0)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_fractions_are_scaled(dtype, some):
    digits = Digits(torch.from_numpy(some.images)[:, None].to(dtype) / 255)
    assert abs(digits.images.astype(int) - some.images).max() <= (dtype == torch.bfloat16)


def test_rounding_beyond_0_and_1_is_forgiven(some):
    images = some.images / 255 * 1.001 - 0.0005  # as resizing leaves them
    assert abs(Digits(images).images.astype(int) - some.images).max() <= 1


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.full((1, 28, 28), 16), "at most 16: full ink may be 16 or 255"),
        (np.full((1, 28, 28), 16, np.uint8), "at most 16"),
        (np.full((1, 28, 28), 15.0), "at most 15"),
        (np.full((1, 28, 28), -1.0), "from -1 to 0"),
        (np.linspace(-1, 1, 784).reshape(1, 28, 28), "from -1 to 1"),
        (np.linspace(-0.42, 2.8, 784).reshape(1, 28, 28), r"from -0.42 to 2.8"),
        (np.full((1, 28, 28), 256), "to 256"),
        (np.full((1, 28, 28), 65535, np.uint16), "to 65535"),
        (np.full((1, 28, 28), 1.5), "to 1.5"),
        (np.full((1, 28, 28), np.nan), "whole numbers"),
        (np.array([np.nan, 1] * 392).reshape(1, 28, 28), "not finite"),
        (np.full((1, 28, 28), np.inf), "not finite"),
        (np.full((1, 28, 28), "a"), "type <U1"),
        (np.full((1, 28, 28), 1j), "type complex128"),
    ],
)
def test_what_is_not_certain_is_refused_in_one_line(images, said):
    with pytest.raises(InvalidInputError, match=said) as refused:
        Digits(images)
    assert "\n" not in str(refused.value)


def test_the_number_of_full_ink_can_be_said(some):
    sixteenths = np.round(some.images / 255 * 16)
    assert abs(Digits(sixteenths, ink=16).images - sixteenths * 255 / 16).max() <= 0.5
    faint = some.images // 16
    assert (Digits(faint, ink=255).images == faint).all()
    assert (Digits(some.images.astype(np.uint16) * 257, ink=65535).images == some.images).all()
    with pytest.raises(InvalidInputError, match=r"must be from 0 .* to 8"):
        Digits(sixteenths, ink=8)
    for ink in (0, -1, float("nan"), "255"):
        with pytest.raises(InvalidInputError, match="ink = "):
            Digits(some.images, ink=ink)


def test_empty_and_blank_images_stay_as_they_are():
    assert len(Digits([])) == 0
    for dtype in (bool, np.uint8, np.int64, np.float32):
        assert not Digits(np.zeros((2, 28, 28), dtype)).images.any()


def test_faint_digits_are_not_scaled_when_they_are_chosen_or_joined():
    faint = Digits(np.eye(28)[None].repeat(2, 0) * 255, ink=255)
    faint.images[0] = 1  # nearly blank
    for digits in (faint[0], faint[:1], faint[[0]], faint[:1] + faint[:1], sum([faint[:1]])):
        assert (digits.images == 1).all()


def test_a_set_of_binary_images_in_idx_files_is_scaled(tmp_path, some):
    binary = Digits((some.images > 127).astype(np.uint8), some.labels, ink=255)
    assert binary.images.max() == 1
    write_idx(tmp_path, [binary], len(binary))
    read = load_digits("MNIST", data_dir=tmp_path)
    assert (read.images == np.where(some.images > 127, 255, 0)).all()
