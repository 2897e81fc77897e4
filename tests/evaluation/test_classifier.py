import numpy as np
import pytest
import torch

from digitgan import InvalidInputError
from digitgan.evaluation import classifier as classifier_module
from digitgan.evaluation.classifier import fit_classifier, load_classifier, train_classifier


def test_the_classifier_knows_real_digits(test_digits):
    predictions = load_classifier().predict(test_digits)
    assert predictions.dtype == np.int64
    assert (predictions == test_digits.labels).mean() >= 0.995


def test_features_are_what_the_last_layer_sees(test_digits):
    classifier = load_classifier()
    features = classifier.features(test_digits[:7])
    assert features.shape == (7, 128) and features.dtype == torch.float32
    with torch.no_grad():
        classes = classifier.head(features).argmax(1).numpy()
    assert (classes == classifier.predict(test_digits[:7])).all()


def test_a_classifier_is_trained_and_written_by_one_call(
    tmp_path, monkeypatch, train_digits, capsys
):
    small = {True: train_digits[:2000], False: train_digits[2000:2500]}
    monkeypatch.setattr(classifier_module, "load_digits", lambda train: small[train])
    accuracy = train_classifier(tmp_path / "c.safetensors", epochs=2)
    assert accuracy > 0.7 and f"{accuracy:.2%}" in capsys.readouterr().out
    predictions = load_classifier(tmp_path / "c.safetensors").predict(small[False])
    assert (predictions == small[False].labels).mean() == accuracy
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(InvalidInputError, match="junk"):
        load_classifier(tmp_path / "junk")


def test_training_is_repeatable_and_leaves_the_random_state_alone(train_digits):
    before, fitted = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        classifier, _ = fit_classifier(train_digits[:200], train_digits[:10], 1, seed, quiet=True)
        fitted.append(classifier.head[1].weight)
    assert torch.equal(fitted[0], fitted[1]) and not torch.equal(fitted[0], fitted[2])
    assert torch.equal(before, torch.get_rng_state())


def test_impossible_epochs_and_seeds_are_refused(tmp_path):
    for epochs, seed, said in ((0, 0, "epochs = 0"), (1, -1, "seed = -1"), (1, 2**32, "seed = 4")):
        with pytest.raises(InvalidInputError, match=f"{said}.*: must"):
            train_classifier(tmp_path / "c", epochs, seed)
    assert not list(tmp_path.iterdir())
