"""numpy and torch as people use them: strides, scalars, torch's global modes, wrapped generators,
and `Digits` as a data set."""

import contextlib
import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset, random_split

from digitgan import (
    Digits,
    Hyperparameters,
    InvalidInputError,
    Trainer,
    generate,
    imitate,
    load_digits,
    load_generator,
    save_generator,
    score,
    walk,
    write,
)
from digitgan.evaluation.classifier import load_classifier, train_classifier
from digitgan.evaluation.scorecard import score_generator
from digitgan.evaluation.stroke_features import stroke_features
from digitgan.handwriting import stream, style_directions
from digitgan.models import EARLIER
from digitgan.systems import SYSTEMS

HP = Hyperparameters(epochs=1, images_per_epoch=96, batch_size=32)


@pytest.fixture(scope="module")
def some(test_digits):
    return test_digits[:50]


# ---- arrays ----


def turned(images):
    read_only = images.copy()
    read_only.flags.writeable = False
    return {
        "backwards": images[::-1],
        "mirrored": np.flip(images, 2),
        "upside down": images[:, ::-1],
        "rotated": np.rot90(images, axes=(1, 2)),
        "transposed": images.swapaxes(1, 2),
        "every second": images[::2],
        "Fortran's order": np.asfortranarray(images),
        "read-only": read_only,
        "broadcast": np.broadcast_to(images[0], images.shape),
        "from bytes": np.frombuffer(images.tobytes(), np.uint8).reshape(images.shape),
    }


@pytest.mark.parametrize("kind", turned(np.zeros((2, 28, 28), np.uint8)))
def test_arrays_of_any_strides_are_used_as_their_plain_copies(kind, some):
    given = turned(some.images)[kind]
    digits, plain = Digits(given), Digits(given.copy(order="C"))
    classifier = load_classifier()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (torch.from_numpy(digits.images) == torch.from_numpy(plain.images)).all()
        assert (classifier.predict(digits) == classifier.predict(plain)).all()
    assert np.allclose(stroke_features(digits), stroke_features(plain), atol=1e-3)
    assert (np.asarray(digits.grid()) == np.asarray(plain.grid())).all()


def test_digits_backwards_are_used_as_any_others(test_digits):
    digits = test_digits[99::-1]
    assert (load_classifier().predict(digits) == digits.labels).mean() > 0.95
    assert score(digits).samples == 100
    assert imitate(load_generator(), digits[1::-1], steps=1).shape == (1, 64)
    assert (digits[::-1].images == test_digits[:100].images).all()


@pytest.mark.parametrize(
    "index",
    [
        torch.tensor(3), np.array(3), np.int64(3), np.uint8(3), np.arange(9)[3], (3,), -47,
        torch.randperm(50, generator=torch.Generator().manual_seed(0)).argsort()[0] * 0 + 3,
    ],
)  # fmt: skip
def test_a_number_without_axes_chooses_one_digit(index, some):
    digit = some[index]
    assert len(digit) == 1 and digit.labels.tolist() == [some.labels[3]]
    assert (digit.images[0] == some.images[3]).all()


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (torch.tensor([2, 1]), [2, 1]),
        ([torch.tensor(2), torch.tensor(1)], [2, 1]),
        (slice(torch.tensor(1), np.int64(3)), [1, 2]),
        (torch.arange(50) < 2, [0, 1]),
        ([], []),
        (range(2), [0, 1]),
    ],
)
def test_several_are_chosen_by_lists_tensors_and_masks(index, rows, some):
    assert (some[index].images == some.images[rows]).all()
    assert some[index].labels.tolist() == some.labels[rows].tolist()


@pytest.mark.parametrize("index", [50, -51, True, None, 3.0, "3", [[0, 1], [2, 3]], (1, 2)])
def test_what_chooses_no_digits_is_an_index_error(index, some):
    with pytest.raises(IndexError):
        some[index]


# ---- scalars ----

SCALARS = [np.int64, np.uint8, np.array, torch.tensor]


@pytest.mark.parametrize("scalar", SCALARS)
def test_scalars_of_numpy_and_torch_are_whole_numbers(scalar, tmp_path):
    network, two = load_generator(), scalar(2)
    trainer = Trainer(Hyperparameters(epochs=0, seed=two), tmp_path)
    assert trainer.hyperparameters == Hyperparameters(epochs=0, seed=2)
    for call in (
        lambda n: trainer.test(num=n, label=n),
        lambda n: generate(network, [n, n], seed=n),
        lambda n: generate(network, n, seed=n),
        lambda n: walk(network, n, steps=n, seed=n, stops=n),
        lambda n: write(network, n, seed=n),
        lambda n: next(stream(network, n, seed=n)),
    ):
        assert (call(two).images == call(2).images).all()
    z = imitate(network, trainer.test(1), seed=two, starts=two, steps=two)
    assert (z == imitate(network, trainer.test(1), seed=2, starts=2, steps=2)).all()


@pytest.mark.parametrize("value", [np.float64(0.5), np.float32(0.5), torch.tensor(0.5)])
def test_fractions_of_numpy_and_torch_are_hyperparameters(value):
    assert Hyperparameters(gamma=value) == Hyperparameters(gamma=0.5)
    assert Hyperparameters(conditional=np.True_) == Hyperparameters()
    assert Hyperparameters.from_text(Hyperparameters(gamma=value).to_json()).gamma == 0.5


@pytest.mark.parametrize("value", [True, 1.0, -1, 2**40, "1", [1], np.array([1, 2]), np.nan])
def test_what_is_no_whole_number_in_range_is_refused_in_one_line(value, finished):
    network = load_generator()
    for name, call in {
        "seed": lambda: generate(network, [1], seed=value),
        "steps": lambda: walk(network, 1, steps=value),
        "stops": lambda: walk(network, 1, stops=value),
        "starts": lambda: imitate(network, finished.test(1), starts=value),
        "num": lambda: finished.test(num=value),
        "epochs": lambda: train_classifier("never", epochs=value),
    }.items():
        with pytest.raises(InvalidInputError, match=f"^{name} = .*must be a whole number") as told:
            call()
        assert "\n" not in str(told.value)


def test_labels_that_a_table_has_made_fractions_are_labels_if_they_are_whole(some):
    assert Digits(some.images[:2], np.array([1.0, 7.0])).labels.tolist() == [1, 7]
    for labels in ([0.5, 1], [np.nan, 1], [np.inf, 1]):
        with pytest.raises(InvalidInputError, match="whole numbers"):
            Digits(some.images[:2], labels)


# ---- torch's global modes ----


@contextlib.contextmanager
def changed(get, put, value):
    before = get()
    put(value)
    try:
        yield
        assert get() == value  # the caller's mode is left as it was
    finally:
        put(before)


def default_dtype(dtype):
    return changed(torch.get_default_dtype, torch.set_default_dtype, dtype)


@contextlib.contextmanager
def autocast_twice():
    with torch.autocast("cpu", torch.float16), torch.autocast("cpu", torch.bfloat16):
        yield
        assert torch.is_autocast_enabled("cpu")


MODES = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta device": lambda: torch.device("meta"),
    "no gradients": torch.no_grad,
    "gradients off": lambda: changed(torch.is_grad_enabled, torch.set_grad_enabled, False),
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast twice": autocast_twice,
}


def results(folder):
    """What all of digitgan computes, as numbers."""
    test, network = load_digits(train=False)[:100], load_generator()
    z = imitate(network, test[:1], starts=2, steps=2)
    trainer = Trainer(HP, folder)
    history = trainer.train()
    resumed = Trainer.resume(folder)
    card = score(test)
    return {
        "generate": generate(network, [1, 2], seed=0).images.sum(),
        "write": write(network, "12", seed=0).images.sum(),
        "walk": walk(network, 4, steps=4, seed=0).images.sum(),
        "stream": next(stream(network, 10, seed=0)).images.sum(),
        "imitate": z.tolist(),
        "directions": style_directions(network, count=40).tolist(),
        "classifier": load_classifier().features(test).sum().item(),
        "strokes": stroke_features(test).sum(),
        "score": (card.label_accuracy, card.frechet_distance, card.recall),
        "history": [row["generator_loss"] for row in history],
        "weights": [p.sum().item() for p in trainer.generator.parameters()],
        "averaged": trainer.test(4).images.sum(),
        "resumed": resumed.test(4).images.sum(),
        "dtypes": {p.dtype for p in (*trainer.generator.parameters(), z)},
    }


@pytest.fixture(scope="module")
def plain_results(tmp_path_factory):
    torch.set_num_threads(1)
    return results(tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("mode", MODES)
def test_torchs_global_modes_change_no_result(mode, plain_results, tmp_path):
    with MODES[mode]():
        found = results(tmp_path / "run")
    # of least squares and a decomposition, whose last bits depend on where its input lies in memory
    directions, plain = found.pop("directions"), plain_results["directions"]
    np.testing.assert_allclose(directions, plain, atol=1e-5)
    assert found == {name: value for name, value in plain_results.items() if name != "directions"}


def test_a_generator_made_in_inference_mode_can_be_imitated_and_trained(some, tmp_path):
    with torch.inference_mode():
        network, own = load_generator(), copy.deepcopy(load_generator())
        trainer = Trainer(HP, tmp_path / "run")
    assert not any(p.is_inference() for p in network.parameters())
    assert trainer.train()
    with torch.inference_mode():
        for p in own.parameters():
            p.data = p.data.clone()
    expected = imitate(network, some[:1], starts=1, steps=1)
    assert (imitate(own, some[:1], starts=1, steps=1) == expected).all()


# ---- generators as they come ----


WRAPPED = {
    "compiled": lambda g: torch.compile(g, backend="eager"),
    "averaged": AveragedModel,
    "averaged and compiled": lambda g: torch.compile(AveragedModel(g), backend="eager"),
    "data parallel": torch.nn.DataParallel,
    "in a module of one's own": lambda g: torch.nn.ModuleDict({"g": g}),
    "half": lambda g: g.half(),
    "bfloat16": lambda g: g.bfloat16(),
    "double": lambda g: g.double(),
    "channels last": lambda g: g.to(memory_format=torch.channels_last),
    "train mode": lambda g: g.train(),
    "frozen": lambda g: g.requires_grad_(False),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_wrapped_generator_writes_and_is_saved_as_the_one_inside(kind, some, tmp_path):
    network = WRAPPED[kind](load_generator())
    dtypes = {p.dtype for p in network.parameters()}
    digits = generate(network, [1, 2, 3], seed=0)
    save_generator(network, tmp_path / "g.safetensors")
    saved = load_generator(tmp_path / "g.safetensors")
    assert (generate(saved, [1, 2, 3], seed=0).images == digits.images).all()
    if kind not in ("half", "bfloat16"):
        exact = generate(load_generator(), [1, 2, 3], seed=0)
        assert (digits.images == exact.images).all()
    assert {p.dtype for p in network.parameters()} == dtypes  # it is left as it was
    for call in (write(network, 12, seed=0), walk(network, 1, steps=2), next(stream(network, 2))):
        assert len(call) == 2
    assert imitate(network, some[:1], starts=1, steps=1).dtype == torch.float32
    assert score_generator(network, 100).samples == 100


def test_the_trainers_averaged_generator_is_one_of_them(finished, tmp_path):
    digits = generate(finished.averaged, [1, 2], seed=3)
    assert (digits.images == generate(finished.averaged.module, [1, 2], seed=3).images).all()
    save_generator(finished.averaged, tmp_path / "g.safetensors")
    loaded = load_generator(tmp_path / "g.safetensors")
    assert (generate(loaded, [1, 2], seed=3).images == digits.images).all()


def test_the_averaged_generator_is_pickled_by_itself(finished):
    for module in (finished.averaged, finished.averaged.module, finished.generator):
        content = pickle.dumps(module)
        weights = sum(t.nbytes for t in module.state_dict().values())
        assert len(content) < 1.2 * weights + 20_000
        again = pickle.loads(content)
        assert (generate(again, [1], seed=0).images == generate(module, [1], seed=0).images).all()
    assert copy.deepcopy(finished.averaged).module is not finished.averaged.module


def pruned(network):
    prune.l1_unstructured(network.net[0], "weight", 0.5)
    return network


def not_finite(network):
    network.net[0].weight.data[0, 0] = torch.nan
    return network


def quantised(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(network, {torch.nn.Linear})


def another_activation(network):
    network.net[3] = torch.nn.LeakyReLU(0.2)
    return network


@pytest.mark.parametrize("change", [pruned, not_finite, quantised, another_activation])
def test_what_could_not_be_loaded_again_is_refused_when_it_is_saved(change, tmp_path):
    network = change(load_generator())
    with pytest.raises(InvalidInputError, match="this generator cannot be saved: ") as told:
        save_generator(network, tmp_path / "g.safetensors")
    assert "\n" not in str(told.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("system", ["fcnn", "cnn"])
def test_a_generator_of_an_older_form_is_not_saved_as_one_of_today(system, tmp_path):
    network = EARLIER[system](SYSTEMS[system])  # its weights have the shapes of today's
    with pytest.raises(InvalidInputError, match=f"layers are not those of system = '{system}'"):
        save_generator(network, tmp_path / "g.safetensors")


def test_what_is_no_generator_is_refused_in_one_line(finished, tmp_path):
    two = torch.nn.ModuleList([load_generator(), load_generator()])
    for network in (None, "g", finished, finished.discriminator, torch.nn.Linear(1, 1), two):
        told = r"^\w+ holds [02] generators: must be one"
        with pytest.raises(InvalidInputError, match=told):
            generate(network, [1])
        with pytest.raises(InvalidInputError, match=told):
            save_generator(network, tmp_path / "g.safetensors")


# ---- a data set ----


def test_a_data_loader_makes_batches_of_images_and_labels(some):
    for digits in (some, some[:20] + some[20:]):
        (images, labels), *others = DataLoader(digits, batch_size=40)
        assert images.dtype == torch.uint8 and labels.dtype == torch.int64 and len(others) == 1
        assert (images.numpy() == some.images[:40]).all()
        assert labels.tolist() == some.labels[:40].tolist()


@pytest.mark.parametrize("workers", [0, 1])
def test_subsets_and_splits_are_loaded_too(workers, some):
    first, second = random_split(some, [40, 10], torch.Generator().manual_seed(0))
    assert (len(first), len(second)) == (40, 10)
    seen = []
    for part in (first, second, Subset(some, [1, 2])):
        for images, labels in DataLoader(part, batch_size=7, num_workers=workers):
            assert len(images) == len(labels)
            seen += labels.tolist()
    assert sorted(seen) == sorted([*some.labels.tolist(), *some.labels[1:3].tolist()])


def test_a_shuffled_loader_keeps_images_and_labels_together(some):
    for images, labels in DataLoader(some, batch_size=50, shuffle=True):
        found = {
            image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)
        }
    expected = {i.tobytes(): int(y) for i, y in zip(some.images, some.labels, strict=True)}
    assert found == expected


def test_one_unpacks_as_image_and_label_and_stays_digits(some):
    for place, (image, label) in enumerate(some):
        assert (image == some.images[place]).all() and type(label) is int
        assert label == some.labels[place]
    image, label = some[3]
    assert image.shape == (28, 28) and label == some.labels[3]
    assert isinstance(some[3], Digits) and some[3].png()
    assert [len(digit) for digit in some[:3]] == [1, 1, 1]
    assert [int(digit.labels[0]) for digit in reversed(some[:2])] == some.labels[1::-1].tolist()


def test_some_digits_are_added(some):
    total = sum([some[:1], some[1:3], some[3]])
    assert (total.images == some.images[:4]).all()
    assert total.labels.tolist() == some.labels[:4].tolist()
    for other in (1, None, [some]):
        with pytest.raises(TypeError):
            some + other
    with pytest.raises(TypeError):
        1 + some
