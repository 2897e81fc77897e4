import numpy as np
import pytest
import scipy.linalg

from digitgan import Digits, Mistake, generate, load_generator, score
from digitgan.handwriting.sampling import hands
from digitgan.evaluation.classifier import load_reader
from digitgan.evaluation.scorecard import one_hand


@pytest.fixture(scope="module")
def reader():
    return load_reader()


@pytest.mark.filterwarnings("ignore:Matrix is singular")  # features that are 0 throughout
def test_frechet_distance_is_that_of_scipy(reader, train_digits, test_digits):
    fake, test_digits = train_digits[:1000], test_digits[:2000]
    a, b = reader.features(fake).double().numpy(), reader.features(test_digits).double().numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert score(fake, test_digits).fid == pytest.approx(expected, rel=1e-3)


def test_a_collapsed_generator_reads_well_and_scores_badly(test_digits):
    """One perfect digit of each kind: accuracy is blind to it, the other figures are not."""
    ten = np.array([np.flatnonzero(test_digits.labels == y)[3] for y in range(10)])
    card = score(test_digits[np.tile(ten, 100)], test_digits[:2000])
    assert card.read_as_asked == 1
    assert card.recall < 0.05 and card.coverage < 0.05 and card.fid > 5 * card.floor.fid
    assert card.floor.read_as_asked > 0.98 and card.floor.recall > 0.8


def test_the_shipped_generator_holds_what_is_said_of_it(test_digits):
    card = score(generate(load_generator(), np.arange(2000) % 10, seed=0), test_digits[:2000])
    assert card.read_as_asked >= 0.97 and card.recall >= 0.75 and card.fid <= 5.4 * card.floor.fid
    assert card.confusion.sum() == 2000 and np.trace(card.confusion) == round(card.read_as_asked * 2000)
    assert "2,000 generated" in str(card) and "<table>" in card._repr_html_()
    assert card.copies <= 0.02 and len(card.pairs) == 20
    assert 0.9 < card.nearest / card.floor.nearest < 1.2


def test_training_digits_are_told_as_copies(train_digits, test_digits):
    stolen = train_digits[:300]
    card = score(stolen, test_digits[:1000])
    assert card.copies == 1 and card.nearest < 0.01
    assert card.floor.copies == pytest.approx(0.01)
    assert (card.pairs.images[:10] == card.pairs.images[10:]).all()


def test_one_hand_is_seen_and_strangers_are_told_apart(test_digits):
    generator = load_generator()
    slant, width, size = one_hand(hands(generator, 100, seed=0))
    assert slant > 0.5 and width > 0.4 and size > 0.1
    strangers = generate(generator, np.arange(1000) % 10, seed=0)
    assert max(np.abs(one_hand(strangers))) < 0.1
    with pytest.raises(Mistake, match="rows of the digits 0 to 9"):
        one_hand(test_digits[:100])


def test_classification_accuracy_is_that_of_a_reader_taught_by_the_digits(train_digits, test_digits):
    liar = Digits(train_digits.images[:1950], (train_digits.labels[:1950] + 1) % 10)
    card = score(test_digits[:200], test_digits[:500], taught=liar)
    assert f"({len(liar):,} digits)" in str(card)
    assert card.classification_accuracy < 0.1 and card.floor.classification_accuracy > 0.7
