import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from digitgan import Digits, InvalidInputError, load_digits


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 28, 28), np.uint8),
        torch.zeros(2, 1, 28, 28, dtype=torch.uint8),
        np.zeros((2, 28, 28)).tolist(),
        torch.full((2, 28, 28), 255.0),
        torch.full((2, 28, 28), 255.0, requires_grad=True),
    ],
)
def test_anything_array_like_is_accepted(images):
    digits = Digits(images, torch.tensor([3, -1]))
    assert digits.images.dtype == np.uint8 and digits.images.shape == (2, 28, 28)
    assert digits.labels.dtype == np.int64 and digits.labels.tolist() == [3, -1]


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (np.zeros((2, 27, 28)), None, "27, 28"),
        (np.full((1, 28, 28), 100.5), None, "whole numbers"),
        (np.full((1, 28, 28), -1), None, "whole numbers"),
        (np.full((1, 28, 28), np.nan), None, "whole numbers"),
        (np.zeros((2, 28, 28)), [1], "1 labels for 2 images"),
        (np.zeros((1, 28, 28)), [10], "label 10"),
        (np.zeros((1, 28, 28)), ["a"], "whole numbers"),
        (np.zeros((1, 28, 28)), [0.5], "whole numbers"),
        (np.zeros((2, 28, 28)), [[1], [1, 2]], "must be an array"),
        ([[0, 1], [0]], None, "must be an array"),
    ],
)
def test_what_is_no_digit_is_refused(images, labels, said):
    with pytest.raises(InvalidInputError, match=said):
        Digits(images, labels)


def test_slices_are_digits(test_digits):
    assert test_digits[3].labels.tolist() == [0] and len(test_digits[:7]) == 7
    sevens = test_digits[test_digits.labels == 7]
    assert len(sevens) == 1028 and set(sevens.labels) == {7}
    assert [int(d.labels[0]) for d in test_digits[:3]] == [7, 2, 1]
    assert (test_digits[:2] + test_digits[5:6]).labels.tolist() == [7, 2, 1]
    with pytest.raises(IndexError):
        test_digits[10_000]


def test_grid_places_each_digit_and_png_reads_back(test_digits, tmp_path):
    path = test_digits[:6].save(tmp_path / "new" / "x.png", columns=3, scale=1)
    page = np.asarray(Image.open(path))
    assert page.shape == (56, 84)
    assert (page[28:, 28:56] == test_digits.images[4]).all()
    assert (np.asarray(test_digits[:6].grid(columns=3, scale=1, inverted=True)) == 255 - page).all()
    with pytest.raises(InvalidInputError, match="png"):
        test_digits[:6].save(tmp_path / "x.jpg")


def test_a_large_set_shows_itself_as_a_picture_of_bounded_size(train_digits):
    assert len(train_digits._repr_png_()) < 200_000
    assert Digits([])._repr_png_() is None


def test_torchvision_reads_the_idx_files(test_digits, tmp_path):
    test_digits[:50].to_idx(tmp_path, train=True)
    test_digits[50:60].to_idx(tmp_path, train=False)
    read = torchvision.datasets.MNIST(str(tmp_path), train=True)
    assert (read.data.numpy() == test_digits.images[:50]).all()
    assert read.targets.tolist() == test_digits.labels[:50].tolist()
    assert (load_digits("MNIST", data_dir=tmp_path).images == test_digits.images[:50]).all()
    with pytest.raises(InvalidInputError, match="no label"):
        Digits(test_digits.images[:2]).to_idx(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_torchvision_reads_the_image_folder(test_digits, tmp_path):
    test_digits[:12].to_image_folder(tmp_path)
    read = torchvision.datasets.ImageFolder(str(tmp_path))
    assert len(read) == 12
    picture, index = read[0]
    first = next(d for d in test_digits[:12] if d.labels[0] == int(read.classes[index]))
    assert (np.asarray(picture)[..., 0] == first.images[0]).all()


def bar(left, right, top=4, bottom=24):
    image = np.zeros((28, 28), np.uint8)
    image[top:bottom, left:right] = 255
    return image


def test_a_strip_spaces_by_the_ink_and_wraps():
    digits = Digits([bar(4, 8), bar(20, 23), np.zeros((28, 28)), bar(10, 12)])
    line = np.asarray(digits.strip(scale=1, gap=3))
    inked = np.flatnonzero(line.max(0))
    # 4 wide, a gap of 3, 3 wide, a gap and a space, 2 wide
    assert inked.tolist() == [4, 5, 6, 7, 11, 12, 13, 29, 30]
    tucked = np.asarray(Digits([bar(4, 20, 4, 8), bar(4, 8, 16, 24)]).strip(scale=1))
    assert np.flatnonzero(tucked[16:].max(0))[0] < 20  # below the other's overhang
    wrapped = digits.strip(scale=2, width=10, inverted=True)
    page = np.asarray(wrapped)
    assert wrapped.height == 2 * 2 * 28 and page.max() == 255 and page[0, 0] == 255
    assert Digits([], []).strip().size[1] == 4 * 28


def test_digits_save_themselves_as_strip_and_gif(test_digits, tmp_path):
    assert Image.open(test_digits[:5].save(tmp_path / "s.png", strip=True)).size[1] == 4 * 28
    frames = Image.open(test_digits[:5].save(tmp_path / "s.gif"))
    assert frames.n_frames == 5 and frames.size == (224, 224)
    with pytest.raises(InvalidInputError, match="gif"):
        test_digits[:0].save(tmp_path / "none.gif")
    assert not (tmp_path / "none.gif").exists()


def test_writers_are_kept_by_slices_sums_and_loops(test_digits):
    assert set(test_digits[test_digits.writers == 2450].writers) == {2450}
    assert test_digits[[5, 0]].writers.tolist() == [2450, 2578]
    assert test_digits[:3].writers.tolist() == [2578, 2359, 2530]
    assert [int(digit.writers[0]) for digit in test_digits[:3]] == [2578, 2359, 2530]
    unknown = Digits(test_digits.images[:2], [7, 2])
    assert unknown.writers is None and unknown[:1].writers is None
    assert (unknown + test_digits[:1]).writers.tolist() == [-1, -1, 2578]
    assert (test_digits[:1] + unknown).writers.tolist() == [2578, -1, -1]


@pytest.mark.parametrize(
    ("writers", "said"),
    [
        ([1], "1 writers for 2 images"),
        ([1, -2], "writer -2"),
        ([1, 2**31], "writer 2147483648"),
        ([0.5, 1], "writers = .*whole numbers"),
        (["a", "b"], "writers = .*whole numbers"),
    ],
)
def test_writers_that_are_none_are_refused(writers, said):
    with pytest.raises(InvalidInputError, match=said):
        Digits(np.zeros((2, 28, 28)), [1, 2], writers=writers)


def test_writers_are_saved_and_read(test_digits, tmp_path):
    raw = test_digits[:30].to_idx(tmp_path)
    assert (
        load_digits("MNIST", True, tmp_path).writers.tolist() == test_digits.writers[:30].tolist()
    )
    Digits(test_digits.images[:30], test_digits.labels[:30]).to_idx(tmp_path)
    assert load_digits("MNIST", True, tmp_path).writers is None  # not those of the digits before
    assert not list(raw.glob("*writers*"))
    folder = test_digits[:2].to_image_folder(tmp_path / "images")
    text = (folder / "writers.csv").read_text().split()
    assert text == ["file,writer", "7/0.png,2578", "2/1.png,2359"]
