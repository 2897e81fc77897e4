"""A short judgement of generated digits: four figures of the scorecard in a second or two."""

import functools

import numpy as np
import torch
from torch import Tensor

from ...data.datasets import load_digits
from ...data.digits import Digits
from ...errors import InvalidInputError
from ...evaluation.classifier import load_classifier
from ...evaluation.distances import frechet_distance, precision_recall

JUDGE_REALS = 2000  # real test digits that `judge` holds generated ones against


@functools.lru_cache(1)
def _real_features() -> Tensor:
    digits = load_digits(train=False)
    rows = np.linspace(0, len(digits) - 1, JUDGE_REALS).astype(int)  # of all writers
    return load_classifier().features(digits[rows])


def judge(digits: Digits) -> dict[str, float]:
    """Four figures of the scorecard, from fewer real digits, in a second or two.

    digits: at least 10, all with labels. Returns `label_accuracy`, `precision` and `recall` (0..1)
    and `frechet_distance` (0 or more), against 2,000 real test digits. Compare only figures of
    equally many digits: the distance falls as their number grows.
    """
    if len(digits) < 10 or (digits.labels < 0).any():
        told = f"{len(digits)} digits, {(digits.labels < 0).sum()} of them without a label"
        raise InvalidInputError(f"{told}: must be at least 10, all with labels")
    classifier = load_classifier()
    features = classifier.features(digits)
    with torch.inference_mode():
        predicted = classifier.head(features).argmax(1).numpy()
    near = precision_recall(features, _real_features())
    return {
        "label_accuracy": float((predicted == digits.labels).mean()),
        "frechet_distance": frechet_distance(features, _real_features()),
        "precision": near["precision"],
        "recall": near["recall"],
    }
