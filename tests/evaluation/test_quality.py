"""Images of any size, channels and classes: trained on, sampled, saved, loaded and judged."""

import csv

import numpy as np
import pytest
import sklearn.datasets
from own_images import (
    emnist_letters,
    letters,
    picture_folder,
    resized,
    tinted,
    torchvision_mnist,
)

from digitgan import (
    Digits,
    Hyperparameters,
    InvalidInputError,
    RunFolderError,
    Trainer,
    generate,
    load_digits,
    load_generator,
    score,
)
from digitgan.data.sources import as_sets, split
from digitgan.evaluation import quality
from digitgan.evaluation.classifier import load_classifier
from digitgan.evaluation.quality import Judge, classifier_for
from digitgan.evaluation.scorecard import score_generator

SMALL = Hyperparameters(epochs=1, images_per_epoch=240, batch_size=16, penalty_interval=2)


@pytest.fixture(autouse=True)
def quick_classifiers(monkeypatch):
    monkeypatch.setattr(quality, "IMAGES_SEEN", 0)  # two epochs


def eight_by_eight(folder, real):
    found = sklearn.datasets.load_digits()
    return Digits(found.images[:300], found.target[:300], ink=16), (8, 8), 10


def emnist(folder, real):
    root = emnist_letters(folder)
    parts = (load_digits("EMNIST-letters", train, root) for train in (True, False))
    return tuple(parts), (28, 28), 26


def colour(folder, real):
    return (tinted(real.images[:240]), real.labels[:240]), (28, 28, 3), 10


def larger_colour(folder, real):
    pixels = np.moveaxis(tinted(resized(real.images[:240], 32)), 3, 1)  # channels before rows
    return (pixels, real.labels[:240]), (32, 32, 3), 10


def one_class(folder, real):
    threes = resized(real.images[real.labels == 3][:240], 64)
    return Digits(threes, np.zeros(240, int), classes=["three"]), (64, 64), 1


def pictures(folder, real):
    return picture_folder(folder / "pictures", 24), (32, 32), 10


def torchvision_set(folder, real):
    return torchvision_mnist(folder, 240), (28, 28), 10


@pytest.mark.parametrize(
    "kind",
    [eight_by_eight, emnist, colour, larger_colour, one_class, pictures, torchvision_set],
    ids=lambda kind: kind.__name__,
)
def test_any_images_are_trained_on_sampled_saved_loaded_and_scored(kind, tmp_path, train_digits):
    source, shape, classes = kind(tmp_path, train_digits)
    trainer = Trainer(SMALL, tmp_path / "run", digits=source)
    (row,) = trainer.train()
    assert row["frechet_distance"] > 0 and 0 <= row["label_accuracy"] <= 1
    with (tmp_path / "run" / "history.csv").open() as file:
        assert float(next(csv.DictReader(file))["frechet_distance"]) == row["frechet_distance"]
    network = load_generator(tmp_path / "run" / "generator.safetensors")
    assert network.spec.shape == shape and len(network.spec.classes) == classes
    assert network.spec == trainer.spec == trainer.digits.spec
    samples = generate(network, np.arange(120) % classes, seed=0)
    assert samples.images.shape == (120, *shape) and samples.spec == trainer.spec
    assert (samples.images == trainer.test(120).images).all()
    resumed = Trainer.resume(tmp_path / "run")  # knows the images without seeing one
    assert (resumed.test(5).images == trainer.test(5).images).all()
    train, test = as_sets(source)
    if test is None or len(test) < 100:  # the folder's reader holds a tenth out
        train, test = split(train if test is None else train + test, 0.5)
    judge = classifier_for(train, test, tmp_path / "run")
    card = score(samples, test, judge, train=train)
    assert card.confusion.shape == (classes, classes) and card.class_names == trainer.spec.classes
    assert f"of {classes}" in str(card)


def test_a_whole_scorecard_of_letters_with_style_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("digitgan.evaluation.scorecard.STYLE_ROWS", 4)
    train, test = letters(520, 1), letters(130, 2)
    hp = SMALL.replace(epochs=0)
    network = Trainer(hp, tmp_path, digits=train).averaged.module
    judge = classifier_for(train, test)
    card = score_generator(network, 130, classifier=judge, real=test, train=train)
    assert len(card.per_digit) == 26 and len(card.style_consistency) == 3
    assert "label accuracy, A to Z" in str(card) and card.reference.label_accuracy is not None
    with pytest.raises(InvalidInputError, match=r"26 classes: give real and training"):
        score_generator(network, 130)
    with pytest.raises(InvalidInputError, match=r"26 classes against real .* must be of one kind"):
        score(test)


# ---- the classifier of a set ----


def test_the_classifier_is_kept_beside_the_run_and_made_again_for_other_images(tmp_path, capsys):
    train, test = split(letters(520), 0.25)
    first = classifier_for(train, test, tmp_path)
    assert "26 classes" in capsys.readouterr().out
    again = classifier_for(train, test, tmp_path)
    assert capsys.readouterr().out == ""
    assert (first.predict(test) == again.predict(test)).all()
    classifier_for(letters(300, 5), test, tmp_path)
    assert "300 images" in capsys.readouterr().out
    classifier_for(*(Digits(d.images, 25 - d.labels, classes=26) for d in (train, test)), tmp_path)
    assert "26 classes" in capsys.readouterr().out  # other labels, another classifier
    with pytest.raises(InvalidInputError, match="images without labels"):
        classifier_for(Digits(train.images, classes=26), test)


def test_a_classifier_learns_its_set(monkeypatch):
    monkeypatch.setattr(quality, "IMAGES_SEEN", 6000)
    judge = classifier_for(letters(1040, 1), letters(260, 2))
    assert (judge.predict(letters(260, 3)) == letters(260, 3).labels).mean() > 0.9


def test_the_shipped_classifier_judges_what_it_knows_and_nothing_else(train_digits, test_digits):
    train, test = train_digits[:300], test_digits[:200]
    assert classifier_for(train, test).spec == load_classifier().spec
    found = classifier_for(train, test).state_dict()
    assert all((found[k] == v).all() for k, v in load_classifier().state_dict().items())
    swapped = [Digits(d.images, 9 - d.labels) for d in (train, test)]  # ten classes, others
    made = classifier_for(*swapped).state_dict()
    assert any((made[k] != v).any() for k, v in load_classifier().state_dict().items())


def test_a_judge_tells_good_samples_from_bad(test_digits):
    judge = Judge(load_classifier(), test_digits)
    good, bad = judge(load_generator()), judge(Trainer(SMALL).averaged.module)
    assert good["label_accuracy"] > 0.95 and bad["label_accuracy"] < 0.5
    assert good["frechet_distance"] < 0.1 * bad["frechet_distance"]


# ---- runs ----


def test_images_given_are_mnists_only_where_they_are(tmp_path, train_digits, test_digits, capsys):
    few = train_digits[:64]
    assert Trainer(SMALL, tmp_path, digits=few).hyperparameters.dataset == "MNIST"
    assert Trainer(SMALL, tmp_path, digits=test_digits[5:9]).hyperparameters.dataset == "MNIST"
    unlike = [Digits(few.images, 9 - few.labels), Digits(255 - few.images, few.labels)]
    for digits in (*unlike, Digits(few.images, few.labels % 2, classes=2)):
        trainer = Trainer(SMALL, tmp_path / "own", digits=digits)
        assert trainer.hyperparameters.dataset == "own images"
    trainer.train()
    with pytest.raises(InvalidInputError, match="own: a run on one's own images, give them again"):
        Trainer.resume(tmp_path / "own").train()
    other = Digits(few.images, 1 - few.labels % 2, classes=2)
    with pytest.raises(RunFolderError, match="trained on other labels than those given"):
        Trainer.resume(tmp_path / "own", digits=other).train()


def test_few_images_are_passed_again_and_again_and_few_of_them_are_not_judged(tmp_path, capsys):
    few = Digits(letters(26).images, np.arange(26) % 2, classes=["a", "b", "nothing"])
    (row,) = Trainer(SMALL, tmp_path / "a", digits=(few[:20], few[20:21])).train()
    assert row["images"] == SMALL.images_per_epoch and "frechet_distance" not in row
    told = capsys.readouterr().out
    assert "no images of 'nothing'" in told and "1 test image: epochs are not judged" in told
    (row,) = Trainer(SMALL, tmp_path / "b", digits=few).train()
    assert row["frechet_distance"] > 0
    assert "against images that the run trains on" in capsys.readouterr().out
    with pytest.raises(InvalidInputError, match="has no images"):
        Trainer(SMALL, tmp_path / "c", digits=few[:0]).train()


def test_images_without_labels_have_no_judge(tmp_path, train_digits):
    hp = SMALL.replace(conditional=False, aux_weight=0)
    (row,) = Trainer(hp, tmp_path, digits=Digits(train_digits.images[:64])).train()
    assert "frechet_distance" not in row


def test_an_unconditional_run_has_a_distance_and_no_accuracy(tmp_path):
    hp = SMALL.replace(conditional=False, aux_weight=0)
    (row,) = Trainer(hp, tmp_path, digits=letters(260)).train()
    assert row["frechet_distance"] > 0 and "label_accuracy" not in row


def test_a_folder_holds_one_kind_of_images(tmp_path):
    hp = SMALL.replace(dataset="mine")
    Trainer(hp, tmp_path, digits=letters(260)).train()
    others = letters(260, names=tuple("abcdefghijklmnopqrstuvwxyz"))
    with pytest.raises(RunFolderError, match="holds a run on"):
        Trainer(hp, tmp_path, digits=others).train()


def test_older_systems_are_for_images_as_mnists(tmp_path):
    from digitgan import SYSTEMS

    with pytest.raises(InvalidInputError, match=r"'fcnn': grey .* in 26 classes, must be grey"):
        Trainer(SYSTEMS["fcnn"], tmp_path, digits=letters(52))
