"""Strangers' files: pickles, bombs, web pages, nonsense. Each is refused in one line or read, and
none runs code.

`--torture` tries more inputs, and adds the rows to asset/results/faults.csv.
"""

import contextlib
import copy
import gzip
import io
import json
import mmap
import pickle
import random
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from PIL import Image
from safetensors.torch import save

from digitgan import (
    Digits,
    Hyperparameters,
    InvalidInputError,
    RunFolderError,
    Trainer,
    generate,
    load_digits,
    load_generator,
    write,
)
from digitgan.data.digits import check_labels, release
from digitgan.evaluation.classifier import DigitClassifier, load_classifier
from digitgan.models import build
from digitgan.systems import SYSTEMS, system

# beside pytest's own notes
set_hypothesis_home_dir(Path(__file__).parents[2] / ".pytest_cache" / "hypothesis")

SMALL = Hyperparameters(z_dim=1, embedding_dim=1)
FCNN = system("fcnn")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
PAYLOADS = "pickled payloads in files that are read"
UNSOUND = "wrong magic, counts, labels, truncated or bombed gzip, web page"
FUZZED = "hostile inputs to the IDX, JSON and safetensors readers"


@contextlib.contextmanager
def attempt(table, fault, outcome="refused in one line"):
    """Count one try in the fault's row, lost unless it ends well."""
    row = next((row for row in table if row["fault"] == fault), None)
    if row is None:
        table.append(row := {"fault": fault, "tries": 0, "outcome": outcome, "lost": 0})
    row["tries"] += 1
    row["lost"] += 1
    yield
    row["lost"] -= 1


def brief(value):
    """A parameter as part of a test's name."""
    return value[:30] if isinstance(value, str) else type(value).__name__


def refusal(read, *arguments, error=InvalidInputError, **options):
    """The one line in which something is refused."""
    with pytest.raises(error) as refused:
        read(*arguments, **options)
    told = str(refused.value)
    assert told and "\n" not in told and len(told) < 1500
    return told


def idx(magic, *axes, content=b""):
    lengths = b"".join((n % 2**32).to_bytes(4, "big") for n in axes)
    return magic.to_bytes(4, "big") + lengths + content


THREE = {
    IMAGES: idx(0x803, 3, 28, 28, content=bytes(range(196)) * 12),
    LABELS: idx(0x801, 3, content=b"\1\2\3"),
}


def write_files(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        # a new file is several times faster than one cut to nothing
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_idx(folder, files):
    """The set of three digits with some of its files replaced."""
    absent = [name for name in THREE if not any(name in other for other in files)]
    kept = {name: THREE[name] for name in absent}
    return load_digits("mine", data_dir=write_files(folder / "mine", kept | files).parent)


def read_json(folder, content):
    return Hyperparameters.from_json(write_files(folder, {"h.json": content}) / "h.json")


def read_generator(folder, content):
    return load_generator(write_files(folder, {"g.safetensors": content}) / "g.safetensors")


def read_classifier(folder, content):
    return load_classifier(write_files(folder, {"c.safetensors": content}) / "c.safetensors")


def read_checkpoint(folder, content):
    files = {"hyperparameters.json": FCNN.to_json().encode(), "checkpoint.pt": content}
    return Trainer.resume(write_files(folder, files | {"checkpoint.previous.pt": content}))


# ---- pickles ----


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def torch_zip(payload):
    file = io.BytesIO()
    torch.save({"hyperparameters": vars(FCNN), "generator": payload}, file)
    return file.getvalue()


FORMS = {
    "plain": pickle.dumps,
    "old": lambda payload: pickle.dumps(payload, 0),
    "torch": torch_zip,
    "gzip": lambda payload: gzip.compress(pickle.dumps(payload)),
}
READERS = {
    "checkpoint.pt": read_checkpoint,
    "generator.safetensors": read_generator,
    "classifier.safetensors": read_classifier,
    "hyperparameters.json": read_json,
} | {
    name: lambda folder, content, name=name: read_idx(folder, {name: content})
    for name in (IMAGES, LABELS, IMAGES + ".gz", LABELS + ".gz")
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", READERS)
def test_a_pickle_in_the_place_of_any_file_is_never_run(place, form, tmp_path, table):
    marker = tmp_path / "marker"
    with attempt(table, PAYLOADS):
        error = RunFolderError if place == "checkpoint.pt" else InvalidInputError
        content = FORMS[form](Payload(marker))
        refusal(READERS[place], tmp_path / "files", content, error=error)
        assert not marker.exists()


def test_the_payload_would_do_harm(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()
    torch.load(io.BytesIO(torch_zip(Payload(tmp_path / "second"))), weights_only=False)[
        "generator"
    ].close()
    assert (tmp_path / "second").exists()


# ---- sets of digits ----

PAGE = b"\xef\xbb\xbf\n <!DOCTYPE html><title>404 Not Found</title>"
BOMB = gzip.compress(THREE[IMAGES] + bytes(2**26), 1)
TOO_MANY = idx(0x803, 400_000, 28, 28)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({IMAGES: b""}, "begins with 00000000"),
        ({IMAGES: b"\0\0\x08"}, "begins with"),
        ({IMAGES: b"\0\0\x08\x03"}, r"00000803 \[0, 0, 0\]"),
        ({IMAGES: b"\x89PNG" + bytes(3000)}, "begins with 89504e47"),
        ({IMAGES: THREE[LABELS]}, r"begins with 00000801 \[3\], must with 00000803 \[N, 28, 28\]"),
        ({IMAGES: idx(0x804, 3, 1, 28, 28, content=bytes(2352))}, "00000804"),
        ({IMAGES: idx(0xC03, 3, 28, 28, content=bytes(4 * 2352))}, "00000c03"),
        ({IMAGES: idx(0x803, 3, 28, 27, content=bytes(2268))}, r"\[3, 28, 27\]"),
        ({IMAGES: idx(0x803, 2**31, 28, 28)}, r"2147483648.*N from 1"),
        ({IMAGES: idx(0x803, -1, 28, 28)}, "4294967295.*N from 1"),
        ({IMAGES: idx(0x803, 3, -28, -28, content=bytes(2352))}, "N, 28, 28"),
        ({IMAGES: idx(0x803, 0, 28, 28), LABELS: idx(0x801, 0)}, r"\[0, 28, 28\].*N from 1"),
        ({IMAGES: idx(0x803, 50_000_000, 28, 28)}, "needs 39,200,000,000 bytes, it has fewer"),
        ({IMAGES: THREE[IMAGES][:-1]}, "needs 2,352 bytes, it has fewer"),
        ({IMAGES: THREE[IMAGES] + b"\0"}, "needs 2,352 bytes, it has more"),
        ({IMAGES: PAGE}, "it looks like a web page"),
        ({IMAGES + ".gz": PAGE}, "it looks like a web page"),
        ({LABELS: PAGE}, "it looks like a web page"),
        ({IMAGES + ".gz": THREE[IMAGES]}, "gzip"),
        ({IMAGES + ".gz": b""}, "begins with 00000000"),
        ({IMAGES + ".gz": gzip.compress(THREE[IMAGES])[:-1]}, "ended before"),
        ({IMAGES + ".gz": gzip.compress(THREE[IMAGES])[:40]}, "ended before"),
        ({IMAGES + ".gz": gzip.compress(THREE[IMAGES])[:-8] + bytes(8)}, "CRC"),
        ({IMAGES + ".gz": gzip.compress(THREE[IMAGES])[:10] + b"\xff" * 50}, "while decompressing"),
        ({IMAGES + ".gz": gzip.compress(THREE[IMAGES][:-9])}, "it has fewer"),
        ({IMAGES + ".gz": BOMB}, "needs 2,352 bytes, it has more"),
        ({IMAGES + ".gz": gzip.compress(idx(0x803, 2**31, 28, 28))}, "N from 1 to 500,000"),
        ({IMAGES + ".gz": gzip.compress(TOO_MANY)}, "needs 313,600,000 bytes, it has fewer"),
        ({LABELS: idx(0x801, 3, content=b"\1\2\x0a")}, "label 10: must be from -1 to 9"),
        ({LABELS: idx(0x801, 3, content=b"\1\2\xff")}, "label 255"),
        ({LABELS: idx(0x801, 2, content=b"\1\2")}, "2 labels for 3 images"),
        ({LABELS: idx(0x801, 4, content=b"\1\2\3\4")}, "4 labels for 3 images"),
        ({LABELS: idx(0x801, 2**31 - 1)}, "N from 1"),
        ({LABELS: idx(0x801, -3, content=b"\1\2\3")}, "N from 1"),
        ({LABELS: idx(0xC02, 3, 7, content=bytes(84))}, r"\[3, 7\]"),
        ({LABELS: idx(0xC02, 3, 8, content=b"\xff\xff\xff\xfe" * 24)}, "label -2"),
        ({LABELS: THREE[IMAGES]}, "begins with 00000803"),
    ],
    ids=brief,
)
def test_unsound_idx_files_are_refused_in_one_line(files, said, tmp_path, table):
    with attempt(table, UNSOUND):
        told = refusal(read_idx, tmp_path, files)
        assert (
            re.search(said, told) and "not a sound IDX file" in told and next(iter(files)) in told
        )


@pytest.mark.parametrize("name", THREE)
def test_a_folder_in_the_place_of_a_file_is_none(name, tmp_path):
    write_files(tmp_path, {other: content for other, content in THREE.items() if other != name})
    (tmp_path / name).mkdir()
    assert "files named like" in refusal(load_digits, "mine", data_dir=tmp_path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    write_files(tmp_path, {LABELS: THREE[LABELS], IMAGES + ".gz": BOMB})
    assert len(BOMB) < 2**19 < 2**26 < len(gzip.decompress(BOMB))
    tracemalloc.start()
    try:
        refusal(load_digits, "mine", data_dir=tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


NAMES = [
    "..",
    ".",
    "",
    "../out",
    "/out",
    "in/../../out",
    "..\\out",
    "C:out",
    "out\0",
    "out\n",
    "\ud800",
    "x" * 101,
    5,
    None,
]


@pytest.mark.parametrize("name", NAMES, ids=brief)
def test_a_dataset_name_leads_nowhere_else(name, tmp_path):
    read_idx(tmp_path, {})
    write_files(tmp_path / "out", THREE)
    for data_dir in (None, tmp_path / "in", tmp_path / "out"):
        assert refusal(load_digits, name, data_dir=data_dir).startswith("dataset = ")
        refusal(Hyperparameters, dataset=name)


def backing(images):
    while isinstance(images, np.ndarray):
        images = images.base
    return images


@pytest.mark.parametrize("name", ["mine", "EMNIST"])
def test_images_that_are_not_gzipped_stay_in_their_file(name, tmp_path):
    stems = (
        ("emnist-digits-train-images-idx3", "emnist-digits-train-labels-idx1")
        if name == "EMNIST"
        else THREE
    )
    write_files(tmp_path, dict(zip(stems, THREE.values(), strict=True)))
    digits = load_digits(name, data_dir=tmp_path)
    assert isinstance(backing(digits.images), mmap.mmap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(digits.images)
    assert tensor.data_ptr() == digits.images.ctypes.data
    before = digits[:].images.copy()
    release(digits[1:].images)
    assert (digits.images == before).all() and digits.images.any()
    assert len(write_files(tmp_path, {}).joinpath(next(iter(stems))).read_bytes()) == len(
        THREE[IMAGES]
    )


def test_a_set_that_memory_cannot_hold_is_looked_at_in_its_file(tmp_path, monkeypatch):
    mapped = np.memmap

    def scarce(file, dtype, mode, offset):
        if mode == "c":
            raise OSError(12, "Cannot allocate memory")
        return mapped(file, dtype, mode, offset=offset)

    monkeypatch.setattr(np, "memmap", scarce)
    digits = read_idx(tmp_path, {})
    assert digits.images.tobytes() == THREE[IMAGES][16:] and not digits.images.flags.writeable


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells what is resident")
def test_a_pass_over_a_large_set_takes_no_memory_that_release_does_not_give_back(tmp_path):
    def resident():
        return (
            sum(
                map(
                    int,
                    re.findall(
                        r"Rss(?:File|Shmem):\s+(\d+)", Path("/proc/self/status").read_text()
                    ),
                )
            )
            * 1024
        )

    count = 100_000
    write_files(
        tmp_path,
        {LABELS: idx(0x801, count, content=bytes(count)), IMAGES: idx(0x803, count, 28, 28)},
    )
    with (tmp_path / IMAGES).open("r+b") as file:
        file.truncate(16 + count * 784)  # nothing but holes
    digits, before = load_digits("mine", data_dir=tmp_path), resident()
    assert digits.images[np.random.default_rng(0).permutation(count)[: count // 4]].sum() == 0
    assert resident() - before > 2**23
    release(digits.images)
    assert resident() - before < 2**22


def test_release_leaves_what_is_in_memory_alone(test_digits):
    before = test_digits.images[:9].copy()
    release(test_digits.images)
    release(before)
    assert (test_digits.images[:9] == before).all()


# ---- hyperparameters ----


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("z_dim", 4097),
        ("z_dim", 2**63),
        ("embedding_dim", 10**9),
        ("batch_size", 65_537),
        ("batch_size", 1),
        ("generator_steps", 101),
        ("images_per_epoch", 2**31),
        ("epochs", 10**400),
        ("penalty_interval", 2**64),
        ("gamma", 10**400),
        ("gamma", 1e300),
        ("clip", float("inf")),
        ("ema_half_life", float("nan")),
        ("ema_half_life", 10**13),
        ("ema_ramp", 2),
        ("generator_lr", 10**5000),
        ("beta1", -(10**400)),
        ("real_range", [0, 10**400]),
        ("real_range", [0, [1]]),
        ("real_range", [[0, 1], [0, 1]]),
        ("real_range", [False, True]),
        ("real_range", {"0": 1}),
        ("architecture", []),
        ("architecture", {}),
        ("architecture", "DCGAN"),
        ("system", []),
        ("loss", None),
        ("loss", 3),
        ("conditional", 1),
        ("conditional", "true"),
        ("dataset", "MNIST\0"),
        ("dataset", "a\nb"),
        ("dataset", "x" * 10**6),
        ("dataset", ["MNIST"]),
    ],
    ids=brief,
)
def test_absurd_values_are_refused_in_one_short_line(field, value):
    told = refusal(Hyperparameters.from_dict, {field: value})
    assert told.startswith(f"{field} = ") and "must be" in told and len(told) < 250


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
        (b"\x80", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b'{"gamma":' * 50_000, "not JSON"),
        (b'{"epochs": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"null", "must be one object"),
        (b"[1, 2]", "must be one object"),
        (b'{"gamma": NaN}', "gamma = nan"),
        (b'{"gamma": 1e999}', "gamma = inf"),
        (b'{"z_dim": 32.0}', "z_dim = 32.0"),
        (b'{"dataset": "../../etc"}', "dataset"),
        (b'{"dataset": "a\\u0000b"}', "dataset"),
        (b'{"__class__": 1}', "no such hyperparameter"),
        (b'{"a\\nb": 1}', "no such hyperparameter"),
        (b'{"' + b"a" * 900_000 + b'": 1}', "no such hyperparameter"),
        (b'{"epochs": 1}' + b" " * 1_000_000, "more than 1,000,000"),
        (PAGE, "not JSON"),
    ],
    ids=brief,
)
def test_files_of_hyperparameters_that_hold_none_are_refused_in_one_line(content, said, tmp_path):
    told = refusal(read_json, tmp_path, content)
    assert said in told and "h.json" in told


def test_what_is_no_dict_with_names_is_refused():
    for values in (None, 5, [], "epochs", {1: 2}, {None: 1}, {("a",): 1}):
        refusal(Hyperparameters.from_dict, values)
    for read in (Hyperparameters.from_json, load_generator, load_classifier):
        with pytest.raises(FileNotFoundError, match="no such file"):
            read(Path(__file__).parent)


# ---- weights ----

SHAPES = {"generator": build(SMALL)[0].state_dict(), "classifier": DigitClassifier().state_dict()}


def weights(what, **changes):
    """Names and tensors of a sound generator or classifier, some replaced (an underscore for each
    dot; None: left out)."""
    shapes = SHAPES[what].items()
    sound = {name: torch.full(like.shape, 0.01).to(like.dtype) for name, like in shapes}
    changes = {name.replace("_", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in (sound | changes).items() if tensor is not None}


def generator_file(about=None, **changes):
    return save(weights("generator", **changes), {"hyperparameters": about or SMALL.to_json()})


def with_header(content, change):
    """A safetensors file with its header changed by `change(header)`, which may give bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = change(json.loads(content[8:end]))
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content[end:]


SOUND = generator_file()
FIRST = "net.0.weight"  # (3136, z_dim + embedding_dim)


def with_first(**changes):
    """The sound file with some entries of its header's first tensor changed."""
    return with_header(SOUND, lambda header: header | {FIRST: header[FIRST] | changes})


def with_metadata(value):
    return with_header(SOUND, lambda header: header | {"__metadata__": value})


def test_sound_files_are_read(tmp_path):
    assert read_generator(tmp_path, SOUND).hyperparameters == SMALL
    assert torch.equal(
        read_classifier(tmp_path, save(weights("classifier"))).head[1].weight,
        torch.full((10, 128), 0.01),
    )
    assert read_idx(tmp_path, {}).labels.tolist() == [1, 2, 3]
    assert read_json(tmp_path, SMALL.to_json().encode()) == SMALL
    read = read_idx(
        tmp_path / "gz", {name + ".gz": gzip.compress(content) for name, content in THREE.items()}
    )
    assert read.images.tobytes() == THREE[IMAGES][16:] and read.images.flags.writeable
    rows = np.array([[label] + [0] * 7 for label in (4, 5, 6)], ">i4")
    assert read_idx(
        tmp_path, {LABELS: idx(0xC02, 3, 8, content=rows.tobytes())}
    ).labels.tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ""),
        (b"\0" * 8, ""),
        (b"\xff" * 100, "header"),
        (PAGE, "header"),
        (SOUND[:-1], "header|incomplete|Metadata"),
        (SOUND + b"\0", "header|incomplete|Metadata"),
        (SOUND[:100], "header"),
        (SOUND[:8] + b"[" + SOUND[9:], "header"),
        (with_header(SOUND, lambda header: b"[" * 100_000), "header"),
        (
            with_header(SOUND, lambda header: header | {"x" * 2**20: header[FIRST]}),
            "must be at most 268,435,456 and 1,048,576",
        ),
        (with_metadata({}), "hyperparameters = None"),
        (with_metadata("x" * 5000), "header"),
        (with_metadata({"hyperparameters": 5}), "header"),
        (with_first(dtype="F128"), "header"),
        (with_first(shape=[2**62, 4]), "header"),
        (with_first(shape=[2, 3136]), FIRST),
        (with_first(dtype="I32"), FIRST),
        (with_first(dtype="F16", shape=[3136, 4]), FIRST),
        (
            with_header(SOUND, lambda header: {"a\nb" * 9: header.pop(FIRST)} | header),
            "its tensors are",
        ),
        (generator_file("5"), "must be one object"),
        (generator_file("[" * 100_000), "not JSON"),
        (generator_file("[" * 2**20), "must be at most"),
        (generator_file('{"z_dim": 1000000000}'), "z_dim = 1000000000"),
        (
            generator_file('{"architecture": "multiply", "z_dim": 4096}'),
            "architecture = 'multiply'",
        ),
        (generator_file('{"networks": "multiply", "z_dim": 4096}'), "aux_weight = 0.3"),
        (generator_file('{"system": "none"}'), "embedding.weight"),
        (generator_file('{"system": "none", "architecture": "own", "aux_weight": 0}'), "'none'"),
        (generator_file('{"z_dim": 4096, "embedding_dim": 4096}'), "embedding.weight"),
        (generator_file("{}"), "embedding.weight"),
        (generator_file(net_0_weight=None), "its tensors are"),
        (generator_file(extra=torch.zeros(3)), "its tensors are"),
        (
            generator_file(net_0_weight=torch.zeros(3136, 3)),
            r"\[3136, 3\], must be finite torch.float32 \[3136, 2\]",
        ),
        (
            generator_file(net_0_weight=torch.zeros(3136, 2).double()),
            "torch.float64 .*must be finite torch.float32",
        ),
        (
            generator_file(net_0_weight=torch.full((3136, 2), torch.nan)),
            f"{FIRST} .*must be finite",
        ),
        (
            generator_file(net_0_weight=torch.full((3136, 2), -torch.inf)),
            f"{FIRST} .*must be finite",
        ),
        (generator_file(embedding_weight=torch.zeros(0, 1)), "embedding.weight"),
        (save(weights("classifier")), "hyperparameters = None"),
    ],
    ids=brief,
)
def test_what_is_no_generator_is_refused_in_one_line(content, said, tmp_path):
    told = refusal(read_generator, tmp_path, content)
    assert "g.safetensors: not a generator (" in told and re.search(said, told)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ""),
        (SOUND, "its tensors are"),
        (
            save(weights("classifier", head_1_bias=torch.zeros(11))),
            r"head.1.bias .*must be finite torch.float32 \[10\]",
        ),
        (
            save(weights("classifier", head_1_bias=torch.zeros(10).double())),
            "head.1.bias is torch.float64",
        ),
        (
            save(weights("classifier", head_1_bias=torch.full((10,), torch.nan))),
            "head.1.bias .*must be finite",
        ),
        (save(weights("classifier", head_1_bias=None)), "its tensors are"),
        (save(weights("classifier"))[:-4], "header|incomplete|Metadata"),
    ],
    ids=brief,
)
def test_what_is_no_classifier_is_refused_in_one_line(content, said, tmp_path):
    told = refusal(read_classifier, tmp_path, content)
    assert "c.safetensors: not a classifier's weights (" in told and re.search(said, told)


def test_weights_beyond_all_bounds_are_not_even_opened(tmp_path):
    with (tmp_path / "g").open("wb") as file:
        file.truncate(2**28 + 1)
    for load in (load_generator, load_classifier):
        assert "268,435,457 bytes" in refusal(load, tmp_path / "g")


# ---- checkpoints ----


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The state of a run after one epoch of two."""
    folder = tmp_path_factory.mktemp("sound")
    hp = FCNN.replace(epochs=2, images_per_epoch=64)
    Trainer(hp, folder).train(lambda trainer: trainer.history and trainer.stop())
    return hp, torch.load(folder / "checkpoint.pt", weights_only=True)


def resumed(folder, hyperparameters, state):
    file = io.BytesIO()
    torch.save(state, file)
    files = {"hyperparameters.json": hyperparameters.to_json().encode()}
    write_files(folder, files | {"checkpoint.pt": file.getvalue()})
    return Trainer.resume(folder)


def of_optimizer(name, index, value):
    """Replace what the discriminator's optimiser keeps of a weight."""

    def change(state):
        state["d_optimizer"]["state"][index][name] = value

    return change


def without(*places):
    def change(state):
        for place in places[:-1]:
            state = state[place]
        del state[places[-1]]

    return change


WRONG = {
    "few moments": of_optimizer("exp_avg", 0, torch.zeros(3)),
    "no moments": of_optimizer("exp_avg_sq", 1, torch.zeros(0)),
    "moments of another weight": of_optimizer("exp_avg", 0, torch.zeros(128, 783)),
    "moments of as many numbers": of_optimizer("exp_avg_sq", 0, torch.zeros(784, 128)),
    "several step numbers": of_optimizer("step", 0, torch.zeros(2)),
    "another weight": lambda state: state["generator"].update({"net.0.weight": torch.zeros(2, 2)}),
    "a weight too many": lambda state: state["averaged"].update(extra=torch.zeros(2)),
    "a weight missing": without("discriminator", "to_logit.bias"),
    "no optimiser": without("g_optimizer"),
    "an optimiser of fewer weights": without("g_optimizer", "param_groups", 0, "params"),
    "an optimiser that is a text": lambda state: state.update(g_optimizer="Adam"),
    "no step": without("step"),
    "a step that is a text": lambda state: state.update(step="two"),
    "a history that is a number": lambda state: state.update(history=3),
    "other sums": lambda state: state.update(sums=torch.zeros(99)),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_checkpoint_that_holds_no_such_run_is_refused_in_one_line(wrong, checkpoint, tmp_path):
    """torch itself does not look at the shapes of moments: the next fused step would write beyond
    them."""
    hp, state = checkpoint
    state = copy.deepcopy(state)
    WRONG[wrong](state)
    told = refusal(resumed, tmp_path, hp, state, error=RunFolderError)
    assert "its checkpoint holds no such run" in told and str(tmp_path) in told


def test_the_checkpoint_itself_is_sound(checkpoint, tmp_path, train_digits):
    trainer = resumed(tmp_path, *checkpoint)
    assert trainer.step == 2 and len(trainer.history) == 1
    pixels, y = (torch.from_numpy(a[:32]) for a in (train_digits.images, train_digits.labels))
    assert all(value.isfinite() for value in trainer.train_step(pixels, y).values())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"epochs": 3}, "epochs = 3, asked for 2"),
        ({"limit": 128}, "images_per_epoch = 128, asked for 64"),  # under its old name
    ],
)
def test_a_checkpoint_of_another_run_is_refused(fields, said, checkpoint, tmp_path):
    hp, state = checkpoint
    found = state["hyperparameters"] | fields
    if "limit" in fields:
        del found["images_per_epoch"]
    state = state | {"hyperparameters": found}
    assert said in refusal(resumed, tmp_path, hp, state, error=RunFolderError)


# ---- any input at all ----

TOKENS = (
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"[",
    b"{}",
    b'"',
    b",",
    b"\\u0000",
    b"9" * 5000,
    b"[" * 3000,
    b"\n",
)
TOKENS += (
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0" * 8,
    b"\xff" * 8,
    b"\0\0\x0c\x02",
    b"\0\0\xc0\x7f",
)


def mutated(dice, content):
    """A few bytes changed, left out, put in or moved, more often near the beginning; or bytes at
    random."""
    if dice.random() < 0.1:
        return dice.randbytes(dice.randrange(3000))
    content = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at, length = (
            int(len(content) * dice.random() ** dice.choice((1, 4))),
            dice.choice((0, 1, 1, 2, 4, 8, 64)),
        )
        other = content[: dice.randrange(99)]
        content[at : at + length] = dice.choice(
            (b"", dice.randbytes(length), dice.choice(TOKENS), other)
        )
    return bytes(content[: dice.randrange(len(content) + 1)] if dice.random() < 0.1 else content)


def hostile_idx(dice, folder):
    name = dice.choice((IMAGES, LABELS))
    sound = dice.choice(
        (THREE[name], idx(0xC02, 3, 8, content=bytes(96)) if name == LABELS else THREE[name])
    )
    form = dice.choice(("", ".gz", ".gz"))
    content = mutated(dice, sound)
    if form:
        content = dice.choice((gzip.compress(content, 1), mutated(dice, gzip.compress(sound, 1))))
    read_idx(folder / (name + form), {name + form: content})


def hostile_json(dice, folder):
    lines = dice.choice(list(SYSTEMS.values())).to_json().encode().splitlines()
    field = dice.randrange(1, len(lines) - 2)
    other = dice.choice(
        (dice.choice(TOKENS), dice.choice(lines).split(b": ")[-1].rstrip(b","), lines[field][-2:-1])
    )
    lines[field] = re.sub(rb": .*,", lambda _: b": " + other + b",", lines[field])
    content = b"\n".join(lines)
    read_json(folder, dice.choice((content, mutated(dice, content))))


def hostile_weights(dice, folder):
    damaged = with_header(SOUND, lambda header: mutated(dice, json.dumps(header).encode()))
    read_generator(folder, dice.choice((damaged, mutated(dice, SOUND))))


@pytest.mark.parametrize("hostile", [hostile_idx, hostile_json, hostile_weights])
def test_any_bytes_are_refused_in_one_line_or_read(hostile, tmp_path, torture, table):
    dice, read = random.Random(0), 0
    for _ in range(40_000 if torture else 150):
        with attempt(table, FUZZED, "refused in one line, or read"):
            try:
                hostile(dice, tmp_path)
                read += 1
            except InvalidInputError as refused:
                assert "\n" not in str(refused) and len(str(refused)) < 1500
    assert read > 0  # some mutations do no harm: what is fuzzed is nearly sound


# ---- any value at all ----

anything = settings(max_examples=100, deadline=None, derandomize=True, database=None)
FIELDS = vars(Hyperparameters())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(list(FIELDS.values())),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)
plausible = st.integers(0, 3) | st.floats(0, 1) | st.booleans()


@anything
@given(st.dictionaries(st.sampled_from(list(FIELDS)), plausible | json_values, max_size=3))
def test_any_values_are_hyperparameters_that_come_back_or_are_refused(values):
    try:
        made = Hyperparameters.from_text(json.dumps(values))
    except InvalidInputError as refused:
        assert "\n" not in str(refused)
    else:
        assert Hyperparameters.from_text(made.to_json()) == made
        assert json.loads(made.to_json()) == json.loads(made.to_json()) | json.loads(
            json.dumps(values)
        )


@pytest.fixture(scope="module")
def generator():
    return build(SMALL)[0].eval()


@anything
@given(st.lists(st.integers(-1, 10), max_size=5) | st.lists(st.integers()))
def test_any_whole_numbers_are_labels_or_are_refused(generator, labels):
    if all(0 <= label <= 9 for label in labels):
        assert (
            check_labels(labels).tolist()
            == generate(generator, labels, seed=0).labels.tolist()
            == labels
        )
    else:
        assert refusal(check_labels, labels) == refusal(generate, generator, labels)


@anything
@given(st.text() | st.text("0123456789 ", max_size=9))
def test_any_text_is_a_number_to_write_or_is_refused(generator, text):
    if set(text) <= set("0123456789 ") and text.strip():
        written = write(generator, text, seed=0)
        assert "".join(" " if label < 0 else str(label) for label in written.labels) == text
    else:
        refusal(write, generator, text)


SEVEN = Digits(np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8), range(7))
places = (
    st.slices(7)
    | st.lists(st.integers(-7, 6))
    | st.lists(st.booleans(), min_size=7, max_size=7).map(np.array)
)


@anything
@given(places | st.integers(-9, 9), st.slices(4))
def test_digits_are_taken_as_numpy_takes_them(index, again):
    if isinstance(index, int):
        if not -7 <= index < 7:
            with pytest.raises(IndexError):
                SEVEN[index]
            return
        index = slice(index, index + 1 or None)
    index = np.array(index, int) if isinstance(index, list) else index
    taken = SEVEN[index][again]
    assert (taken.images == SEVEN.images[index][again]).all() and (
        taken.labels == SEVEN.labels[index][again]
    ).all()
    assert len(taken) == len(taken.images) == len(taken.labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures")


@settings(anything, max_examples=50)
@given(st.slices(7), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_digits_saved_as_png_come_back(folder, index, columns, scale, inverted):
    digits = SEVEN[index]
    path = digits.save(folder / "x.png", columns=columns, scale=scale, inverted=inverted)
    page = np.asarray(Image.open(path))[::scale, ::scale]
    page = 255 - page if inverted else page
    cells = page.reshape(-1, 28, columns, 28).swapaxes(1, 2).reshape(-1, 28, 28)
    assert (cells[: len(digits)] == digits.images).all() and not cells[len(digits) :].any()
