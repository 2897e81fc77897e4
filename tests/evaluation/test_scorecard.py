import numpy as np
import pytest
import scipy.linalg
import torch

from digitgan import Digits, InvalidInputError, generate, load_generator, score
from digitgan.evaluation.classifier import load_classifier
from digitgan.evaluation.distances import frechet_distance
from digitgan.evaluation.scorecard import style_consistency, writers_consistency
from digitgan.models import sample_rows


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


@pytest.mark.filterwarnings("ignore:Matrix is singular")  # features that are 0 throughout
def test_frechet_distance_is_that_of_scipy(classifier, train_digits, test_digits):
    fake, test_digits = train_digits[:1000], test_digits[:2000]
    a, b = (classifier.features(d).double().numpy() for d in (fake, test_digits))
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert score(fake, test_digits).frechet_distance == pytest.approx(expected, rel=1e-4)
    with pytest.raises(InvalidInputError, match="distance of 1 images to 2000: there must be 2"):
        frechet_distance(torch.zeros(1, 128), torch.zeros(2000, 128))


def test_a_collapsed_generator_is_accurate_and_scores_badly(test_digits):
    """One perfect digit of each kind: accuracy is blind to it, the other figures are not."""
    ten = np.array([np.flatnonzero(test_digits.labels == y)[3] for y in range(10)])
    card = score(test_digits[np.tile(ten, 100)], test_digits[:2000])
    assert card.label_accuracy == 1
    assert card.recall < 0.05 and card.coverage < 0.05
    assert card.frechet_distance > 5 * card.reference.frechet_distance
    assert card.reference.label_accuracy > 0.98 and card.reference.recall > 0.8


def test_the_shipped_generator_holds_what_is_said_of_it(test_digits):
    card = score(generate(load_generator(), np.arange(2000) % 10, seed=0), test_digits[:2000])
    assert card.label_accuracy >= 0.97 and card.recall >= 0.75
    assert card.frechet_distance <= 5.4 * card.reference.frechet_distance
    assert card.confusion.sum() == 2000
    assert np.trace(card.confusion) == round(card.label_accuracy * 2000)
    assert "2,000 generated" in str(card) and "| --- |" in card._repr_markdown_()
    assert card.copy_fraction <= 0.02 and len(card.pairs) == 20
    assert 0.9 < card.nn_distance / card.reference.nn_distance < 1.2


def test_training_digits_are_told_as_copies(train_digits, test_digits):
    stolen = train_digits[:300]
    card = score(stolen, test_digits[:1000])
    assert card.copy_fraction == 1 and card.nn_distance < 0.01
    assert card.reference.copy_fraction == pytest.approx(0.01)
    assert (card.pairs.images[:10] == card.pairs.images[10:]).all()


def test_what_one_latent_keeps_is_seen_and_other_latents_are_told_apart(test_digits):
    generator = load_generator()
    slant, width, size = style_consistency(sample_rows(generator, 100, seed=0))
    assert slant > 0.5 and width > 0.4 and size > 0.1
    others = generate(generator, np.arange(1000) % 10, seed=0)
    assert max(np.abs(style_consistency(others))) < 0.1
    with pytest.raises(InvalidInputError, match="rows of the digits 0 to 9"):
        style_consistency(test_digits[:100])


def test_cas_is_the_accuracy_of_a_classifier_trained_on_the_digits(train_digits, test_digits):
    wrong = Digits(train_digits.images[:1950], (train_digits.labels[:1950] + 1) % 10)
    card = score(test_digits[:200], test_digits[:500], cas_samples=wrong)
    assert f"({len(wrong):,} digits)" in str(card)
    assert card.cas < 0.1 and card.reference.cas > 0.7


def test_real_writers_agree_with_themselves_and_strangers_do_not(train_digits):
    slant, width, height = writers_consistency(train_digits)
    assert 0.7 < slant < 0.95 and 0.75 < width < 0.95 and 0.2 < height < 0.4
    swapped = train_digits.writers.copy()  # each label by another person under the same name
    names, rng = np.unique(swapped), np.random.default_rng(0)
    for y in range(10):
        rows = train_digits.labels == y
        swapped[rows] = rng.permutation(names)[np.searchsorted(names, swapped[rows])]
    strangers = Digits(train_digits.images, train_digits.labels, 255, writers=swapped)
    assert max(np.abs(writers_consistency(strangers))) < 0.15
    assert writers_consistency(Digits(train_digits.images, train_digits.labels, 255)) is None
    assert writers_consistency(train_digits[train_digits.writers < 15]) is None  # too few


def test_scorecard_holds_one_latent_beside_one_writer(train_digits, test_digits):
    generator = load_generator()
    card = score(test_digits[:200], style_rows=sample_rows(generator, 50, seed=0))
    people = writers_consistency(train_digits)
    assert card.reference.style_consistency == people
    assert max(np.abs(card.strangers)) < 0.15
    row = next(row for row in card.rows() if row[0].startswith("style consistency: slant"))
    assert row[2:4] == (f"{people[0]:.2f}", "as people") and "strangers" in row[0]
