"""The judge of any set of images: a classifier of its own, and a run's quality epoch by epoch."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ..data.batches import Batches
from ..data.datasets import has_test_part, known_spec, load_digits
from ..data.digits import Digits
from ..data.sources import can_be_split, split
from ..data.spec import MNIST
from ..errors import InvalidInputError
from ..models import sample
from ..runs.run import Run
from ..runs.torch_modes import ordinary_torch
from ..runs.weights import save_weights
from ..streams import tell
from .classifier import DigitClassifier, fit_classifier, load_classifier
from .distances import frechet_distance

SAMPLES = 1000  # generated images of an epoch that are judged, and at most so many real ones
KNOWN = 0.95  # of real images: the shipped classifier judges a set of which it knows as many
ASKED = 200  # of which it is asked at most: what it knows it knows nearly all of, else a tenth
IMAGES_SEEN = 200_000  # in the training of a set's classifier, in 2 to 30 epochs


@ordinary_torch()
def classifier_for(
    train: Digits, test: Digits, folder: str | Path | None = None, seed: int = 0
) -> DigitClassifier:
    """The classifier that judges images of a set: the shipped one if it knows the set, else one
    trained on the set's training images and tested on its test images.

    It is kept as `classifier.safetensors` in `folder`, and taken from there for the same images,
    labels and seed. A line says how many test images it classifies correctly. Raises
    `InvalidInputError` where images have no labels.
    """
    if (train.labels < 0).any() or (test.labels < 0).any():
        raise InvalidInputError("images without labels: a classifier needs them all")
    if train.spec == MNIST and knows(shipped := load_classifier(), test):
        return shipped
    path = None if folder is None else Path(folder) / "classifier.safetensors"
    if path:
        made_of = {"train": Batches(train, 1, 1, 0).checksums, "images": len(train), "seed": seed}
        made_of |= {"classes": list(train.classes)}
        if path.is_file() and _made_of(path) == made_of:
            return load_classifier(path)
    epochs = min(30, max(2, IMAGES_SEEN // len(train)))
    tell(f"training a classifier of {train.spec}, {len(train):,} images, {epochs} epochs")
    classifier, accuracy = fit_classifier(train, test, epochs, seed, quiet=True)
    tell(f"it classifies {accuracy:.2%} of {len(test):,} other real images correctly")
    if path:
        metadata = {"images": train.spec.to_json(), "made_of": json.dumps(made_of)}
        save_weights(path, classifier.state_dict(), metadata | {"accuracy": f"{accuracy:.4f}"})
    return classifier.eval()


def knows(classifier: DigitClassifier, digits: Digits) -> bool:
    """Whether a classifier classifies nearly all of some real digits (of 200 at most) correctly."""
    some = digits.spread(ASKED)
    return bool((classifier.predict(some) == some.labels).mean() >= KNOWN)


def _made_of(path: Path) -> Any:
    """What a classifier was trained on, as its file says."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {}).get("made_of", "null"))
    except (SafetensorError, OSError, ValueError):
        return None


class Judge:
    """Label accuracy and Fréchet distance of a generator's samples, against `SAMPLES` real ones.

    Small samples: cheap enough for every epoch, good enough to see when quality comes. The
    scorecard has the figures to publish.
    """

    def __init__(self, classifier: DigitClassifier, real: Digits, seed: int = 0) -> None:
        self.classifier, self.real, self.seed = classifier, real.spread(SAMPLES), seed
        self.features = classifier.features(self.real)

    @ordinary_torch()
    def __call__(self, generator: nn.Module) -> dict[str, float]:
        """`label_accuracy` (where the generator knows labels) and `frechet_distance`, for the
        labels of the real images."""
        labels = np.resize(self.real.labels, SAMPLES)
        digits = sample(generator, labels, seed=self.seed)  # type: ignore[arg-type]
        features, found = self.classifier.features(digits), {}
        if (digits.labels >= 0).all():
            with torch.inference_mode():
                predicted = self.classifier.head(features).argmax(1).numpy()
            found["label_accuracy"] = float((predicted == labels).mean())
        return found | {"frechet_distance": frechet_distance(features, self.features)}


def judge_of(run: Run) -> Judge | None:
    """The judge of a run, its classifier beside the run's files; None for images without labels,
    and for fewer than two test images.

    Without labelled test images, a part of the training images is kept from the classifier's
    training, and a line says that the run sees them all the same.
    """
    train, test, name = run.digits, run.test_digits, run.hyperparameters.dataset
    if train is None or (train.labels < 0).any():
        return None
    named = known_spec(name) and (name == "MNIST" or not run.digits_given)
    if test is None and named and has_test_part(name, run.data_dir):
        test = load_digits(name, False, run.data_dir)
    if test is None or (test.labels < 0).any():
        if not can_be_split(train):
            return None
        train, test = split(train)
        tell("no labelled test images: epochs are judged against images that the run trains on")
    if len(test) < 2:
        tell(f"{len(test)} test image: epochs are not judged, which takes two or more")
        return None
    return Judge(classifier_for(train, test, run.run_dir), test)


def quality(run: Run) -> dict[str, float]:
    """The figures of a run's averaged generator, for its history; none for images without
    labels."""
    if run.judge is None:
        run.judge = judge_of(run) or (lambda generator: {})
    return run.judge(run.parts()["averaged"].module)
