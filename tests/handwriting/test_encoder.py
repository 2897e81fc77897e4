"""The encoder: the handwriting of a digit in one pass, nearly as well as by gradients."""

import csv

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from digitgan import Digits, Hyperparameters, InvalidInputError, generate, load_generator
from digitgan.evaluation.stroke_features import STROKE_FEATURES, stroke_features
from digitgan.files import ASSET
from digitgan.handwriting.encoder import (
    ENCODER,
    Encoder,
    load_encoder,
    save_encoder,
    train_encoder,
)
from digitgan.models import build


def rank_correlations(generator, source, latents):
    """Of the stroke features of digits and of the other nine digits in the handwriting that was
    found for each, ranked within each class: (3,)."""

    def ranks(values, classes):
        found = np.zeros(values.shape)
        for label in np.unique(classes):
            own = classes == label
            found[own] = (rankdata(values[own], axis=0) - 0.5) / own.sum()
        return found

    ten = generate(
        generator, np.tile(np.arange(10), len(latents)), z=latents.repeat_interleave(10, 0)
    )
    theirs = ranks(stroke_features(ten), ten.labels).reshape(-1, 10, 3)
    ours = ranks(stroke_features(source), source.labels)
    other = np.arange(10) != source.labels[:, None]
    return np.array(
        [spearmanr(np.repeat(ours[:, i], 9), theirs[..., i][other])[0] for i in range(3)]
    )


@pytest.fixture(scope="module")
def shipped():
    return load_generator()


@pytest.fixture(scope="module")
def sources(test_digits):
    """The 200 test digits whose handwriting notebooks/handwriting.ipynb measures."""
    return test_digits[np.random.default_rng(0).choice(len(test_digits), 200, replace=False)]


def test_it_keeps_nine_tenths_of_what_the_search_reaches(shipped, sources):
    encoder = load_encoder(shipped)
    found = rank_correlations(shipped, sources, torch.cat([encoder.encode(d) for d in sources]))
    with (ASSET / "results" / "handwriting.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["handwriting"].startswith("imitated"))
    reached = [float(row[name]) for name in STROKE_FEATURES]
    for name, value, best in zip(STROKE_FEATURES, found, reached, strict=True):
        print(f"{name}: {value:.3f} of {best:.3f}")
    assert (found >= 0.9 * np.array(reached)).all()


def test_the_shipped_file_is_small_and_at_half_precision():
    assert ENCODER.stat().st_size <= 600_000


def test_a_few_steps_find_slant_and_width(shipped, sources, train_digits):
    encoder = train_encoder(shipped, steps=25, seed=1, digits=train_digits[:5000])
    found = rank_correlations(shipped, sources, torch.cat([encoder.encode(d) for d in sources]))
    assert (found[:2] > 0.8).all()  # by pixels alone, without stroke features, the width is 0.69


def test_the_same_seed_trains_the_same_encoder_and_leaves_the_generator_alone(
    shipped, train_digits, tmp_path
):
    weights = {name: value.clone() for name, value in shipped.state_dict().items()}
    state = torch.get_rng_state()
    fractions = []
    first = train_encoder(
        shipped, tmp_path / "e.safetensors", 2, 3, train_digits[:100], fractions.append
    )
    second = train_encoder(shipped, steps=2, seed=3, digits=train_digits[:100])
    other = train_encoder(shipped, steps=2, seed=4, digits=train_digits[:100])
    assert fractions == [0.5, 1.0]
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, weights[name]) for name, value in shipped.state_dict().items())
    assert all(p.grad is None for p in shipped.parameters())
    same, different = (torch.equal(first.head[0].weight, e.head[0].weight) for e in (second, other))
    assert same and not different
    loaded = load_encoder(shipped, tmp_path / "e.safetensors")
    assert all(
        torch.equal(value, first.state_dict()[name]) for name, value in loaded.state_dict().items()
    )


def test_an_encoder_serves_its_own_generator_only(tmp_path):
    assert load_encoder(build(Hyperparameters(z_dim=64))[0]) is None
    assert load_encoder(build(Hyperparameters(z_dim=8))[0]) is None
    assert load_encoder(load_generator(), tmp_path / "none.safetensors") is None
    path = tmp_path / "broken.safetensors"
    path.write_bytes(ENCODER.read_bytes()[:1000])
    with pytest.raises(InvalidInputError, match="not an encoder"):
        load_encoder(load_generator(), path)


def test_several_digits_give_the_mean_latent(shipped, sources):
    encoder = load_encoder(shipped)
    latents = torch.cat([encoder.encode(digit) for digit in sources[:3]])
    assert latents.shape == (3, 64)
    assert torch.allclose(encoder.encode(sources[:3]), latents.mean(0, True), atol=1e-5)


def test_digits_without_label_and_useless_requests_are_refused(shipped, sources):
    encoder = load_encoder(shipped)
    with pytest.raises(InvalidInputError, match="1 of 1 digits without label"):
        encoder.encode(Digits(sources.images[0]))
    with pytest.raises(InvalidInputError, match="0 of 0 digits"):
        encoder.encode(Digits([]))
    with pytest.raises(InvalidInputError, match="steps = 0: must be 1 or more"):
        train_encoder(shipped, steps=0)
    unconditional = load_generator("linear")
    with pytest.raises(InvalidInputError, match="unconditional"):
        train_encoder(unconditional)


def test_saving_needs_no_half_precision_network(shipped, tmp_path):
    encoder = Encoder(64)
    save_encoder(encoder, shipped, tmp_path / "e.safetensors")
    assert encoder.head[0].weight.dtype == torch.float32
    loaded = load_encoder(shipped, tmp_path / "e.safetensors")
    assert torch.equal(loaded.head[0].weight, encoder.head[0].weight.half().float())
