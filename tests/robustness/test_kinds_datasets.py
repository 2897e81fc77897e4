"""Files of a data set under their other names: found, or the line says what to rename. Nothing is
downloaded while they lie there."""

import gzip

import pytest
import torchvision

from digitgan import InvalidInputError, load_digits
from digitgan.data.datasets import DOWNLOADS

NAMES = {"images": "{}-images-idx3-ubyte", "labels": "{}-labels-idx1-ubyte"}


@pytest.fixture(autouse=True)
def downloads(monkeypatch):
    """The sets that were to be downloaded."""
    tried = []

    def download(root, **_):
        tried.append(root)
        raise RuntimeError("no network")

    for name in {name.partition("-")[0] for name in DOWNLOADS}:
        monkeypatch.setattr(torchvision.datasets, name, download)
    return tried


@pytest.fixture(scope="module")
def content(test_digits, tmp_path_factory):
    """The bytes of both files of 20 digits."""
    raw = test_digits[:20].to_idx(tmp_path_factory.mktemp("made"))
    return {what: (raw / NAMES[what].format("train")).read_bytes() for what in NAMES}


def place(root, content, rename, part="train", packed=False):
    """Write both files below `root`, each under the name that `rename` makes of its own."""
    for what, form in NAMES.items():
        path = root / rename(form.format(part))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content[what]) if packed else content[what])
    return root


def dotted(name):
    return name.replace("-idx", ".idx")


FOUND = {
    "as they are": lambda n: n,
    "a dot (Kaggle, 7-Zip)": dotted,
    "an underscore": lambda n: n.replace("-idx", "_idx"),
    "in a folder of the same name": lambda n: f"{n}/{n}",
    "a dot, in a folder of the same name": lambda n: f"{dotted(n)}/{dotted(n)}",
    "a dot, in a folder with a dash": lambda n: f"{n}/{dotted(n)}",
    "capitals": str.upper,
    "an ending": lambda n: n.replace("-idx3-ubyte", ".idx").replace("-idx1-ubyte", ".idx"),
}


@pytest.mark.parametrize("kind", FOUND)
@pytest.mark.parametrize("name", ["MNIST", "mine"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_files_are_found_by_their_other_names(
    kind, name, packed, tmp_path, content, test_digits, downloads
):
    def rename(file):
        return FOUND[kind](file) + ".gz" * packed

    for where in (tmp_path / "a", tmp_path / "b" / name, tmp_path / "c" / name / "raw"):
        place(where, content, rename, packed=packed)
        digits = load_digits(name, data_dir=tmp_path / where.relative_to(tmp_path).parts[0])
        assert (digits.images == test_digits.images[:20]).all()
        assert digits.labels.tolist() == test_digits.labels[:20].tolist()
    assert not downloads


def test_a_packed_file_without_its_ending_is_unpacked(tmp_path, content, test_digits):
    place(tmp_path, content, lambda n: n, packed=True)
    digits = load_digits("MNIST", data_dir=tmp_path)
    assert (digits.images == test_digits.images[:20]).all()


TOLD = {
    "a browser's second copy": lambda n: f"{n} (1)",
    "an ending of its own": lambda n: f"{n}.bin",
    "words turned round": lambda n: n.replace("train-images", "images-train"),
    "deeper": lambda n: f"archive/MNIST/raw/{n}",
    "a folder in other letters": lambda n: f"mnist/files/{n}",
}


@pytest.mark.parametrize("kind", TOLD)
def test_the_rename_is_told_and_nothing_is_downloaded(kind, tmp_path, content, downloads):
    place(tmp_path, content, TOLD[kind])
    with pytest.raises(InvalidInputError) as told:
        load_digits("MNIST", data_dir=tmp_path)
    line = str(told.value)
    assert TOLD[kind](NAMES["images"].format("train")) in line and "\n" not in line
    assert f"must be named train-images-idx3-ubyte, in {tmp_path / 'MNIST'}" in line
    assert not downloads


def test_the_test_set_is_told_from_the_training_set(tmp_path, content, downloads):
    place(tmp_path / "MNIST", content, lambda n: f"{n} (1)", part="t10k")
    with pytest.raises(InvalidInputError, match=r"t10k-images.* \(1\) must be named t10k-images"):
        load_digits("MNIST", train=False, data_dir=tmp_path)
    assert not downloads
    with pytest.raises(InvalidInputError, match="could not be downloaded"):
        load_digits("MNIST", data_dir=tmp_path)  # of the training set nothing lies there


@pytest.mark.parametrize(
    ("file", "asked"),
    [
        ("FashionMNIST/raw/{}", "MNIST"),
        ("other/{}", "MNIST"),
        ("qmnist-{} (1)", "MNIST"),
        ("emnist-digits-{} (1)", "KMNIST"),
        ("{} (1)", "QMNIST"),
        ("{} (1)", "EMNIST"),
        ("MNIST/raw/{}.part", "MNIST"),
        ("MNIST/raw/._{}", "MNIST"),
    ],
)
def test_files_of_other_sets_and_unfinished_ones_are_not_taken_for_the_set(
    file, asked, tmp_path, content, downloads
):
    place(tmp_path, content, file.format)
    with pytest.raises(InvalidInputError, match="could not be downloaded"):
        load_digits(asked, data_dir=tmp_path)
    assert len(downloads) == 1


@pytest.mark.parametrize("split", ["balanced", "byclass", "bymerge", "letters", "mnist"])
def test_emnists_other_splits_are_read_if_asked_for_and_else_told(
    split, tmp_path, content, test_digits, downloads
):
    if split == "letters":  # whose labels begin at 1
        labels = content["labels"]
        content = content | {"labels": labels[:8] + bytes(label + 1 for label in labels[8:])}
    place(tmp_path / "EMNIST/raw", content, lambda n: f"emnist-{split}-{n}")
    with pytest.raises(InvalidInputError, match=f"another split.*EMNIST-{split}'") as told:
        load_digits("EMNIST", data_dir=tmp_path)
    assert "\n" not in str(told.value) and not downloads
    for place_of_it in (tmp_path / "EMNIST", tmp_path / f"EMNIST-{split}"):
        if not place_of_it.is_dir():  # from where torchvision leaves it to a folder of its own
            (tmp_path / "EMNIST").rename(place_of_it)
        digits = load_digits(f"EMNIST-{split}", data_dir=tmp_path)
        assert (digits.images == test_digits.images[:20].swapaxes(1, 2)).all()
        assert (digits.labels == test_digits.labels[:20]).all()


@pytest.mark.parametrize(("label", "said"), [(0, "label 0: EMNIST's"), (27, "label 26: must be")])
def test_letters_have_the_labels_1_to_26(label, said, tmp_path, content):
    letters = content | {"labels": content["labels"][:8] + bytes([label] * 20)}
    place(tmp_path, letters, lambda n: f"emnist-letters-{n}")
    with pytest.raises(InvalidInputError, match=said):
        load_digits("EMNIST-letters", data_dir=tmp_path)


def test_a_plain_file_in_emnists_folder_is_told(tmp_path, content, downloads):
    place(tmp_path / "EMNIST/raw", content, lambda n: n)
    with pytest.raises(InvalidInputError, match="must be named emnist-digits-train-images"):
        load_digits("EMNIST", data_dir=tmp_path)
    assert not downloads
