import shutil

import numpy as np
import pytest
import torch
from own_images import emnist_letters, letters, picture_folder, tinted, torchvision_mnist
from PIL import Image

from digitgan import Digits, InvalidInputError, load_digits
from digitgan.data.sources import as_digits, as_sets, load_images, load_sets, split
from digitgan.data.spec import ImageSpec, check_classes


def same(a, b):
    assert a.spec == b.spec
    assert (a.images == b.images).all() and (a.labels == b.labels).all()


# ---- what images are ----


def test_a_spec_comes_back_from_its_json():
    spec = ImageSpec(32, 3, ("cat", "dog"))
    assert ImageSpec.from_json(spec.to_json()) == spec and spec.shape == (32, 32, 3)
    for text in ("[]", "3", "{}", '{"size": 28}', "no"):
        with pytest.raises(InvalidInputError, match="no description of images"):
            ImageSpec.from_json(text)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "said"),
    [
        (np.zeros((2, 30, 30)), None, None, r"\(2, 30, 30\).*multiple of 4 from 8 to 64"),
        (np.zeros((2, 68, 68)), None, None, "multiple of 4"),
        (np.zeros((2, 28, 32)), None, None, "28, 32"),
        (np.zeros((2, 28, 28, 4)), None, None, r"\(2, 28, 28, 4\): must be"),
        (np.zeros((2, 4, 28, 28)), None, None, r"\(2, 4, 28, 28\): must be"),
        (np.zeros((2, 28, 28)), [0, 3], ["a", "b"], "label 3: must be from -1 to 1"),
        (np.zeros((2, 28, 28)), None, 1001, "classes: 1001, must be 1 to 1,000"),
        (np.zeros((2, 28, 28)), None, ["a", "a"], "'a': given twice"),
        (np.zeros((2, 28, 28)), None, ["a", ""], "class name ''"),
        (np.zeros((2, 28, 28)), None, [], "classes: 0"),
    ],
)
def test_what_images_cannot_be_is_told_in_one_line(images, labels, classes, said):
    with pytest.raises(InvalidInputError, match=said) as told:
        Digits(images, labels, classes=classes)
    assert "\n" not in str(told.value)


def test_channels_may_come_first_or_last(train_digits):
    last = tinted(train_digits.images[:5])
    first = np.moveaxis(last, 3, 1)
    for images in (last, first, torch.from_numpy(first.copy()), last / 255):
        assert (Digits(images).images == last).all()
    assert Digits(last[0]).images.shape == (1, 28, 28, 3)


def test_classes_are_kept_by_slices_sums_and_shown(train_digits):
    digits = letters(52)
    assert digits[3:9].classes == digits.classes == (digits[:2] + digits[4:5]).classes
    assert repr(digits[:3]) == "Digits(3 images, labels ABC)"
    named = Digits(train_digits.images[:2], [1, 0], classes=["cat", "dog"])
    assert repr(named) == "Digits(2 images, labels dog, cat)"
    with pytest.raises(InvalidInputError, match="must be of one kind"):
        digits + train_digits[:2]
    assert check_classes(3) == ("0", "1", "2")


# ---- images in memory ----


def test_all_forms_of_the_same_images_are_the_same(train_digits, tmp_path):
    few = train_digits[:40]
    pairs = [(torch.from_numpy(image) / 255, int(y)) for image, y in few]
    for source in (
        few,
        (few.images, few.labels),
        (torch.from_numpy(few.images), few.labels.tolist()),
        {"images": few.images / 255, "labels": few.labels},
        pairs,
        [(Image.fromarray(image), y) for image, y in few],
        torchvision_mnist(tmp_path, 40),
        torch.utils.data.TensorDataset(*map(torch.from_numpy, (few.images, few.labels))),
        (list(few.images), few.labels),
        ([Image.fromarray(image) for image in few.images], few.labels.tolist()),
    ):
        same(as_digits(source), few)
    assert (as_digits(few.images).labels == -1).all()


def test_a_divided_set_stays_divided_and_another_is_split(train_digits, test_digits, tmp_path):
    few, more = train_digits[:40], test_digits[:20]
    for parts in zip(
        as_sets(((few.images, few.labels), (more.images, more.labels))), (few, more), strict=True
    ):
        same(*parts)
    train, test = as_sets((few.images, few.labels))
    same(train + test, split(few)[0] + split(few)[1])
    assert as_sets(few) == (few, None)  # given on purpose
    assert as_sets([(few.images[0], 0), (few.images[1], 1)])[1] is None  # none can be held out
    assert as_sets(((few.images[0], 0), (few.images[1], 1)))[0].labels.tolist() == [0, 1]
    few.to_idx(tmp_path)  # files without a test part, which is not downloaded either
    same(load_sets("raw", tmp_path / "MNIST")[1], split(few)[1])
    same(load_sets("MNIST", tmp_path)[1], split(few)[1])
    more.to_idx(tmp_path, train=False)
    same(load_sets("raw", tmp_path / "MNIST")[1], more)


def test_pictures_that_are_scaled_are_told(train_digits, capsys):
    large = [Image.fromarray(image).resize((64, 64)) for image in train_digits.images[:3]]
    assert as_digits((large, [0, 1, 1])).spec == ImageSpec(32, classes=("0", "1"))
    assert "3 pictures, of 64x64 scaled and padded to 32x32" in capsys.readouterr().out


def test_texts_become_classes_and_labels_count_them(train_digits):
    images = train_digits.images[:4]
    digits = as_digits((images, ["b", "a10", "a2", "b"]))
    assert digits.classes == ("a2", "a10", "b") and digits.labels.tolist() == [2, 1, 0, 2]
    assert type(digits.classes[0]) is str
    assert len(as_digits((images, [0, 30, 2, 3])).classes) == 31
    assert as_digits((images, [0, 1, 1, 0])).classes == ("0", "1")
    with pytest.raises(InvalidInputError, match="label 1,000: must be below 1,000"):
        as_digits((images, [0, 1000, 2, 3]))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (3, "int 3: must be images"),
        ([1, 2], "must be images"),
        ({"pixels": 1}, "must have 'images'"),
        ([(np.zeros((28, 28)), 0), (np.zeros((32, 32)), 0)], "image 1 of shape"),
        ("nowhere", "nowhere: must be a folder of pictures or an .npz file"),
        (([np.zeros((28, 28)), np.zeros((32, 32))], [0, 1]), "image 1 of shape"),
        (([np.zeros((28, 28))] * 3, [0, 1]), "2 labels for 3 images"),
        (({"images": np.zeros((1, 28, 28)), "labels": ["x"], "classes": ["a"]}), "label 'x': must"),
        (type("EMNIST", (), {})(), "EMNIST: its images lie on their sides"),
    ],
)
def test_other_sources_are_refused_in_one_line(source, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError, match=said) as told:
        as_sets(source)
    assert "\n" not in str(told.value)


def test_a_split_is_seeded_and_has_each_class_in_both_parts(train_digits):
    few = train_digits[:500]
    train, test = split(few, 0.2, seed=3)
    assert len(train) + len(test) == 500 and abs(len(test) - 100) <= 5
    assert set(test.labels) == set(train.labels) == set(range(10))
    assert {i.tobytes() for i in train.images}.isdisjoint(i.tobytes() for i in test.images)
    same(split(few, 0.2, seed=3)[1], test)
    assert (split(few, 0.2, seed=4)[1].images != test.images).any()
    with pytest.raises(InvalidInputError, match="none can be held out"):
        split(few[:1])
    for wrong in (0, 1, "a"):
        with pytest.raises(InvalidInputError, match="held_out = "):
            split(few, wrong)


# ---- folders and files ----


def test_an_image_folder_comes_back(tmp_path, capsys):
    digits = letters(52, names=(*"ABCDEFGHIJKLMNOPQRSTUVWXY", "T-shirt/top"))
    folder = digits.to_image_folder(tmp_path / "letters")
    train, test = load_images(folder, held_out=0.5)
    assert len(train) == len(test) == 26 and len(set(test.labels)) == 26
    found = {image.tobytes() for image in (train + test).images}
    assert found == {image.tobytes() for image in digits.images}
    assert train.classes[:3] == ("A", "B", "C") and "T-shirt_top" in train.classes
    told = capsys.readouterr().out
    assert "52 pictures in 26 classes, of 28x28 pixels; grey" in told and "scaled" not in told


def test_pictures_of_odd_sizes_are_scaled_padded_and_inverted_and_it_is_told(tmp_path, capsys):
    folder = picture_folder(tmp_path / "p", 6)
    (folder / "3" / "notes.txt").write_text("no picture")
    train, test = load_images(folder, size=20)
    told = capsys.readouterr().out
    assert "60 pictures in 10 classes" in told and "scaled and padded to 20x20" in told
    assert "inverted" in told and "1 other file left out" in told
    assert train.spec == ImageSpec(20) and len(test) == 10
    assert train.images[:, 0].mean() < 40 and train.images.max() > 200  # ink on dark paper
    assert load_images(folder)[0].spec.size == 32  # the largest that is not asked for


def test_classes_are_in_natural_order_and_parts_as_they_are_divided(tmp_path, train_digits):
    for part, count in (("train", 3), ("test", 2)):
        for name in ("10", "9", "b"):
            for i in range(count):
                train_digits[i].save(tmp_path / part / name / f"{i}.png", scale=1)
    train, test = load_images(tmp_path)
    assert train.classes == ("9", "10", "b") and (len(train), len(test)) == (9, 6)
    train_digits[0].save(tmp_path / "test" / "c" / "0.png", scale=1)
    with pytest.raises(InvalidInputError, match="c: must be a class of both train and test"):
        load_images(tmp_path)


def test_pictures_without_folders_are_one_class(tmp_path, train_digits):
    for i in range(4):
        train_digits[i].save(tmp_path / "zeros" / f"{i}.png", scale=1)
    train, test = load_images(tmp_path / "zeros")
    assert train.classes == ("zeros",) and (len(train), len(test)) == (3, 1)


def test_colour_transparency_and_rotation(tmp_path):
    red = Image.new("RGB", (20, 20), (200, 0, 0))
    for name in ("a", "b"):
        (tmp_path / "c" / name).mkdir(parents=True)
        red.save(tmp_path / "c" / name / "0.png")
        red.save(tmp_path / "c" / name / "1.png")
    train, test = load_images(tmp_path / "c")
    assert train.spec.channels == 3 and (test.images == (200, 0, 0)).all()
    ink = Image.new("RGBA", (28, 28))  # transparent
    ink.paste((0, 0, 0, 255), (10, 4, 14, 24))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    for i in range(2):
        (tmp_path / "t").mkdir(exist_ok=True)
        ink.save(tmp_path / "t" / f"{i}.png", exif=exif)
    train, _ = load_images(tmp_path / "t")
    expected = np.zeros((28, 28), np.uint8)
    expected[10:14, 4:24] = 255
    assert (train.images[0] == expected).all() or (train.images[0][:, ::-1] == expected).all()


def test_an_empty_class_and_a_corrupt_picture_are_named(tmp_path):
    folder = picture_folder(tmp_path / "p", 3, "01")
    (folder / "2").mkdir()
    with pytest.raises(InvalidInputError, match=r"p/2: a class without pictures"):
        load_images(folder)
    (folder / "2").rmdir()
    good = (folder / "0" / "0.png").read_bytes()
    for bad in (b"no picture", good[:60], good[: len(good) // 2], b""):
        (folder / "1" / "0.png").write_bytes(bad)
        with pytest.raises(InvalidInputError, match=r"1/0\.png: not a sound picture") as told:
            load_images(folder)
        assert "\n" not in str(told.value)
    for i in range(1001):
        (folder / f"c{i}").mkdir()
        (folder / f"c{i}" / "0.png").write_bytes(good)
    (folder / "1" / "0.png").write_bytes(good)
    with pytest.raises(InvalidInputError, match="p: classes: 1,003, must be 1 to 1,000"):
        load_images(folder)


def test_folders_of_parts_are_no_classes(tmp_path, capsys):
    for part in ("train", "val"):
        picture_folder(tmp_path / "p" / part, 10 if part == "train" else 3, "01")
    train, test = load_images(tmp_path / "p")
    assert train.classes == ("0", "1") and (len(train), len(test)) == (20, 6)
    picture_folder(tmp_path / "p" / "test", 4, "01")
    (tmp_path / "p" / "test" / "note.txt").write_text("beside the classes")
    (tmp_path / "p" / "test" / "0" / "gone.png").symlink_to("nowhere")
    capsys.readouterr()
    assert len(load_images(tmp_path / "p")[1]) == 8
    assert "val/ left out; 2 other files left out" in capsys.readouterr().out
    for part in ("test", "val"):
        shutil.rmtree(tmp_path / "p" / part)
    train, test = load_images(tmp_path / "p")
    assert train.classes == ("0", "1") and (len(train), len(test)) == (18, 2)
    (tmp_path / "p" / "train").rename(tmp_path / "p" / "trains")  # a class, as any other
    assert load_images(tmp_path / "p")[0].classes == ("trains",)


def test_npz_files_are_read(tmp_path, train_digits, test_digits):
    few, more = train_digits[:60], test_digits[:20]
    np.savez(tmp_path / "keras.npz", x_train=few.images, y_train=few.labels,
             x_test=more.images, y_test=more.labels)  # fmt: skip
    for part, expected in zip(load_images(tmp_path / "keras.npz"), (few, more), strict=True):
        same(part, expected)
    np.savez(tmp_path / "mine.npz", images=few.images, labels=few.labels % 2, classes=["e", "o"])
    train, test = load_images(tmp_path / "mine.npz")
    assert train.classes == ("e", "o") and len(train) + len(test) == 60
    np.savez(tmp_path / "none.npz", numbers=few.labels)
    (tmp_path / "junk.npz").write_bytes(b"junk")
    np.savez(tmp_path / "objects.npz", images=np.array([{}], object), labels=[0])
    names = {"classes": ["a", "b"], "images": few.images[:2], "labels": ["a", "c"]}
    np.savez(tmp_path / "other.npz", **names)
    np.savez(tmp_path / "single.npz", images=few.images[:2], labels=[0, 1])
    np.savez(tmp_path / "sizes.npz", x_train=few.images, y_train=few.labels,
             x_test=more.images[:, 4:-4, 4:-4], y_test=more.labels)  # fmt: skip
    for name, said in (
        ("none", "has numbers"),
        ("junk", "no .npz"),
        ("objects", "no .npz"),
        ("other", "label 'c': must be one of"),
        ("single", "2 images, of every class at most one"),
        ("sizes", "training images are grey images of 28x28"),
    ):
        with pytest.raises(InvalidInputError, match=rf"{name}\.npz: {said}"):
            load_images(tmp_path / f"{name}.npz")


def test_emnists_letters_are_turned_and_numbered_from_zero(tmp_path):
    root = emnist_letters(tmp_path)
    for train, seed, count in ((True, 1, 260), (False, 0, 130)):
        digits = load_digits("EMNIST-letters", train, root)
        expected = letters(count, seed)
        same(digits, expected)


def test_own_idx_files_have_the_classes_of_the_file_beside_them(tmp_path):
    digits = Digits(
        letters(52).images[:, 4:24, 4:24], letters(52).labels, classes=letters(52).classes
    )
    raw = digits.to_idx(tmp_path)
    raw.rename(tmp_path / "mine")
    same(load_digits("mine", data_dir=tmp_path), digits)
    (tmp_path / "mine" / "classes.txt").write_text("a\na\n")
    with pytest.raises(InvalidInputError, match=r"classes\.txt: class name 'a': given twice"):
        load_digits("mine", data_dir=tmp_path)
    with pytest.raises(InvalidInputError, match="must be grey"):
        Digits(tinted(digits.images), digits.labels, classes=26).to_idx(tmp_path)
