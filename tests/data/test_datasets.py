import gzip

import numpy as np
import pytest
import torchvision

from digitgan import Digits, InvalidInputError, load_digits
from digitgan.data import datasets


def test_mnist_is_whole_and_as_published(train_digits, test_digits):
    assert len(train_digits) == 60_000 and len(test_digits) == 10_000
    assert train_digits.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(test_digits.labels).tolist() == counts
    assert abs(train_digits.images.mean() / 255 - 0.1307) < 1e-4


def test_damage_to_the_repositorys_mnist_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    for file in (datasets.ASSET / "mnist").glob("t10k*.gz"):
        raw = bytearray(gzip.decompress(file.read_bytes()))
        raw[-1] ^= 1  # one bit of the last pixel, or of the last label
        (tmp_path / "mnist" / file.name).write_bytes(gzip.compress(bytes(raw), 1))
    monkeypatch.setattr(datasets, "ASSET", tmp_path)
    with pytest.raises(InvalidInputError, match="SHA-256"):
        load_digits(train=False)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("KMNIST", "t10k-{}-idx{}-ubyte"), ("EMNIST", "emnist-digits-test-{}-idx{}-ubyte")],
)
@pytest.mark.parametrize("place", ["{name}/raw", "{name}", "."])
def test_other_sets_are_read_where_they_lie(test_digits, tmp_path, name, stem, place):
    raw = test_digits[:20].to_idx(tmp_path / "made", train=False)
    folder = tmp_path / place.format(name=name)
    folder.mkdir(parents=True, exist_ok=True)
    for what, axes in (("images", 3), ("labels", 1)):
        content = (raw / f"t10k-{what}-idx{axes}-ubyte").read_bytes()
        (folder / (stem.format(what, axes) + ".gz")).write_bytes(gzip.compress(content))
    images = load_digits(name, train=False, data_dir=tmp_path).images
    expected = test_digits.images[:20]
    assert (images == (expected.swapaxes(1, 2) if name == "EMNIST" else expected)).all()


def test_qmnist_labels_are_the_first_of_eight_columns(test_digits, tmp_path):
    raw = test_digits[:20].to_idx(tmp_path / "made", train=False)
    (raw / "t10k-images-idx3-ubyte").rename(tmp_path / "qmnist-test-images-idx3-ubyte")
    labels = np.zeros((20, 8), ">i4")
    labels[:, 0], labels[:, 1] = test_digits.labels[:20], 4
    content = b"\0\0\x0c\x02" + (20).to_bytes(4, "big") + (8).to_bytes(4, "big") + labels.tobytes()
    (tmp_path / "qmnist-test-labels-idx2-int").write_bytes(content)
    found = load_digits("QMNIST", train=False, data_dir=tmp_path)
    assert (found.labels == test_digits.labels[:20]).all()


def test_unsound_and_missing_files_are_told_in_one_line(test_digits, tmp_path):
    raw = test_digits[:5].to_idx(tmp_path)
    images = raw / "train-images-idx3-ubyte"
    for content in (images.read_bytes()[:-1], b"", b"PNG", b"\0\0\x08\x03"):
        images.write_bytes(content)
        with pytest.raises(InvalidInputError, match=r"train-images.*not a sound IDX file"):
            load_digits("MNIST", data_dir=tmp_path)
    with pytest.raises(InvalidInputError, match="no IDX files"):
        load_digits("mine", data_dir=tmp_path / "empty")
    with pytest.raises(InvalidInputError, match="must be one of"):
        load_digits("NIST")


def test_without_the_repository_torchvision_is_asked_and_its_failure_told(
    tmp_path, monkeypatch, capsys
):
    def refuse(root, **_):
        raise RuntimeError("no network\nat all")

    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", refuse)
    with pytest.raises(InvalidInputError, match=r"could not be downloaded \(no network\)"):
        load_digits("FashionMNIST", data_dir=tmp_path)
    assert "torchvision downloads it" in capsys.readouterr().out


def test_writers_are_given_to_mnist_in_its_own_order_alone(test_digits, tmp_path):
    nobody = Digits(test_digits.images, test_digits.labels)
    nobody.to_idx(tmp_path / "copy", train=False)
    assert (load_digits("MNIST", False, tmp_path / "copy").writers == test_digits.writers).all()
    nobody[::-1].to_idx(tmp_path / "reversed", train=False)
    assert load_digits("MNIST", False, tmp_path / "reversed").writers is None
    raw = test_digits[:7].to_idx(tmp_path / "short")
    longer = test_digits[:9].to_idx(tmp_path / "longer") / "train-writers-idx1-int"
    longer.replace(raw / longer.name)
    with pytest.raises(InvalidInputError, match="9 writers for 7 images"):
        load_digits("MNIST", True, tmp_path / "short")


def test_mnist_has_539_writers_and_297_others(train_digits, test_digits):
    train, test = set(train_digits.writers.tolist()), set(test_digits.writers.tolist())
    assert len(train) == 539 and len(test) == 297 and not train & test
