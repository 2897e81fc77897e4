import numpy as np
import pytest
import scipy.linalg

from digitgan import Digits, Mistake, generate, load_generator, score
from digitgan.scorecard import load_reader, train_reader


@pytest.fixture(scope="module")
def reader():
    return load_reader()


def test_the_reader_reads_real_digits(reader, test_digits):
    assert (reader.read(test_digits) == test_digits.labels).mean() >= 0.995


def test_frechet_distance_is_that_of_scipy(reader, train_digits, test_digits):
    fake = train_digits[:1000]
    a, b = reader.features(fake).double().numpy(), reader.features(test_digits).double().numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert score(fake, test_digits).fid == pytest.approx(expected, rel=1e-3)


def test_a_collapsed_generator_reads_well_and_scores_badly(test_digits):
    """One perfect digit of each kind: accuracy is blind to it, the other figures are not."""
    ten = np.array([np.flatnonzero(test_digits.labels == y)[3] for y in range(10)])
    card = score(test_digits[np.tile(ten, 100)], test_digits)
    assert card.read_as_asked == 1
    assert card.recall < 0.05 and card.coverage < 0.05 and card.fid > 5 * card.floor.fid
    assert card.floor.read_as_asked > 0.98 and card.floor.recall > 0.8


def test_the_shipped_generator_holds_what_is_said_of_it(test_digits):
    card = score(generate(load_generator(), np.arange(2000) % 10, seed=0), test_digits[:2000])
    assert card.read_as_asked >= 0.97 and card.recall >= 0.75 and card.fid <= 5.4 * card.floor.fid
    assert card.confusion.sum() == 2000 and np.trace(card.confusion) == round(card.read_as_asked * 2000)
    assert "2,000 generated" in str(card) and "<table>" in card._repr_html_()


def test_scores_repeat(test_digits):
    fake = test_digits[:300]
    first, second = (score(fake, test_digits[300:900], seed=3) for _ in range(2))
    assert str(first) == str(second)
    assert first.samples == 300 and first.reals == 600


def test_digits_without_labels_are_not_read_as_asked(test_digits):
    assert score(Digits(test_digits.images[:200]), test_digits[:500]).read_as_asked is None


def test_too_few_digits_are_refused(test_digits):
    with pytest.raises(Mistake, match="99 generated"):
        score(test_digits[:99])


def test_a_reader_is_trained_and_written_by_one_call(tmp_path, monkeypatch, train_digits, capsys):
    from digitgan import scorecard

    small = {True: train_digits[:2000], False: train_digits[2000:2500]}
    monkeypatch.setattr(scorecard, "load_digits", lambda train: small[train])
    accuracy = train_reader(tmp_path / "reader.safetensors", epochs=2)
    assert accuracy > 0.7 and f"{accuracy:.2%}" in capsys.readouterr().out
    assert (load_reader(tmp_path / "reader.safetensors").read(small[False]) == small[False].labels).mean() == accuracy
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(Mistake, match="junk"):
        load_reader(tmp_path / "junk")
