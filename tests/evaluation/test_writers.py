import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from digitgan import Digits, InvalidInputError
from digitgan.evaluation import writers as module
from digitgan.evaluation.writers import (
    Batches,
    WriterPanel,
    load_style_encoder,
    other_digits_loss,
    panels,
    split_writers,
    stroke_vectors,
    train_style_encoder,
)


def recognised(panel, given, seeds=3):
    found = []
    for seed in range(seeds):
        places, rows = panel.draw(given, seed=seed)
        shown = panel.digits[rows.reshape(-1)]
        found.append(panel.recognise(shown, places, shown.labels.reshape(rows.shape)))
    return np.mean(found, 0)  # AUC, median rank, in the top ten


@pytest.fixture(scope="module")
def judges(test_digits):
    return panels(test_digits)


def test_encoders_recognise_unseen_writers_better_than_stroke_features(judges):
    auc, rank, _ = recognised(judges["stroke features"], 1)
    assert 0.74 < auc < 0.82 and 30 < rank < 50
    for name, from_one, from_five in (("residual", *RESIDUAL), ("plain", *PLAIN)):
        assert recognised(judges[f"style encoder: {name}"], 1)[0] >= from_one
        assert recognised(judges[f"style encoder: {name}"], 5)[0] >= from_five


RESIDUAL, PLAIN = (0.87, 0.94), (0.79, 0.88)


def test_styles_do_not_say_which_digit_it_is(test_digits):
    styles = load_style_encoder().styles(test_digits)
    means = np.stack([styles[test_digits.labels == y].mean(0) for y in range(10)])
    assert np.linalg.norm(means - means.mean(0), axis=1).max() < 0.25  # of 1
    with pytest.raises(InvalidInputError, match="1 of 2 digits have no label"):
        load_style_encoder().styles(Digits(test_digits.images[:2], [7, -1]))


def test_panel_finds_whom_vectors_name_and_nobody_where_they_say_nothing(test_digits):
    def names(digits):
        return np.eye(297)[np.unique(test_digits.writers).searchsorted(digits.writers)]

    assert recognised(WriterPanel(test_digits, names), 1, 1).tolist() == [1, 1, 1]
    silent = WriterPanel(test_digits, lambda digits: np.ones((len(digits), 2)))
    assert len(silent.writers) == 271
    auc, rank, _ = recognised(silent, 1, 1)
    assert auc == pytest.approx(0.5) and rank == 136


def test_panel_compares_across_labels_alone(test_digits):
    """Vectors that name the writer in digits of one label recognise nobody by other labels."""
    rows = np.flatnonzero(test_digits.labels == 4)

    def names(digits):
        vectors = np.eye(297)[np.unique(test_digits.writers).searchsorted(digits.writers)]
        return np.where((digits.labels == 4)[:, None], vectors, 0.01)

    panel = WriterPanel(test_digits, names, unit=False)
    own = test_digits[rows[np.isin(test_digits.writers[rows], panel.writers)]]
    places = panel.writers.searchsorted(own.writers)
    assert panel.recognise(own, places, own.labels[:, None]).auc == pytest.approx(0.5)


def test_batches_have_different_digits_of_each_writer(train_digits):
    training, held_out = split_writers(train_digits)
    assert len(training) == 479 and len(held_out) == 60 and not set(training) & set(held_out)
    batches = Batches(train_digits, training, seed=0)
    _, labels, numbers = batches.draw()
    assert (numbers == numbers.unflatten(0, (-1, 8))[:, :1].expand(-1, 8).flatten()).all()
    assert all(len(set(own)) == 8 for own in labels.unflatten(0, (-1, 8)).tolist())
    rows = np.concatenate([kind for writer in batches.rows for kind in writer])
    assert not set(train_digits.writers[rows]) & set(held_out)


def test_loss_is_small_for_styles_that_are_the_writers_and_large_for_others():
    styles = torch.eye(32)[:, None].expand(32, 8, 32)
    assert other_digits_loss(styles, torch.tensor(30.0)) < 1e-6
    equal = normalize(torch.ones(32, 8, 32), dim=2)
    assert other_digits_loss(equal, torch.tensor(30.0)) == pytest.approx(np.log(32), rel=1e-3)
    lonely = torch.zeros(32, 8, 64)  # one digit of each finds another's centre, not its own
    lonely[..., :32] = torch.eye(32)[:, None]
    lonely[:, 0] = 0
    lonely[torch.arange(32), 0, 32 + torch.arange(32)] = 1
    chance = np.log(32) / 8  # of one digit in eight
    assert other_digits_loss(lonely, torch.tensor(30.0)) == pytest.approx(chance, rel=0.05)


def test_training_is_repeatable_and_its_file_is_read(train_digits, tmp_path, monkeypatch):
    monkeypatch.setitem(module.ENCODERS, "plain", tmp_path / "a.safetensors")
    told = []
    for name in "ab":
        train_style_encoder(
            tmp_path / f"{name}.safetensors", "plain", 2, 7, train_digits,
            progress=lambda step, encoder: told.append(step),
        )  # fmt: skip
    assert told == [2, 2]
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    styles = load_style_encoder("plain").styles(train_digits[:3])
    assert np.linalg.norm(styles, axis=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda digits: load_style_encoder("round"), "architecture = 'round': must be one of"),
        (lambda digits: train_style_encoder("x", steps=0), "steps = 0"),
        (lambda digits: train_style_encoder("x", digits=digits[:500]), "[0-9]+ .*writers"),
        (lambda digits: train_style_encoder("x", digits=Digits(digits.images)), "0 known writers"),
        (lambda digits: WriterPanel(digits[:20], stroke_vectors(digits)), "0 writers of 8"),
        (lambda digits: WriterPanel(digits, stroke_vectors(digits)).draw(8), "given = 8"),
    ],
)
def test_what_cannot_be_done_is_refused(call, said, test_digits):
    with pytest.raises(InvalidInputError, match=said):
        call(test_digits)
