"""Modes: how many of Stacked MNIST's thousand a generator hits, and how evenly.

The field's test of mode collapse (Metz et al., arXiv 1611.02163): of 26,000 samples, a classifier
of digits reads each channel; the modes hit are counted, and the samples' shares compared with equal
ones by the Kullback-Leibler divergence KL(samples || equal shares).
"""

import numpy as np

from ..data.digits import Digits
from ..data.stacked import TRIPLES
from ..errors import InvalidInputError
from ..runs.torch_modes import ordinary_torch
from .classifier import DigitClassifier, load_classifier

SAMPLES = 26_000  # by custom: 26 for each mode


@ordinary_torch()
def predict_modes(stacked: Digits, classifier: DigitClassifier | None = None) -> np.ndarray:
    """The mode of each image (28, 28, 3), 0 to 999, as a classifier of digits (the shipped one if
    None) reads its channels, int64 (N,)."""
    if stacked.images.shape[1:] != (28, 28, 3):
        raise InvalidInputError(f"{stacked.spec}: must be of 28x28 pixels in colour")
    classifier = load_classifier() if classifier is None else classifier
    channels = [Digits(np.ascontiguousarray(stacked.images[..., i]), ink=255) for i in range(3)]
    red, green, blue = map(classifier.predict, channels)
    return 100 * red + 10 * green + blue


def mode_shares(modes: np.ndarray) -> np.ndarray:
    """The share of each of the thousand modes, (1000,)."""
    return np.bincount(modes, minlength=len(TRIPLES)) / len(modes)


def kl_divergence(shares: np.ndarray, expected: np.ndarray) -> float:
    """KL(shares || expected) = sum of shares log(shares / expected), in nats, over the modes that
    have a share."""
    hit = shares > 0
    return float((shares[hit] * np.log(shares[hit] / expected[hit])).sum())


def mode_figures(modes: np.ndarray, real_shares: np.ndarray) -> dict[str, float]:
    """`modes` hit, `kl` to equal shares (what papers print) and `kl_real` to the real ones, and
    `kl_digits`: that part of the latter which lies in how often each digit comes in a channel. The
    rest lies in how the three go together, and in the chance of so many samples."""
    shares, equal = mode_shares(modes), np.full(len(TRIPLES), 1 / len(TRIPLES))
    channels = zip(digit_shares(shares), digit_shares(real_shares), strict=True)
    return {
        "modes": int((shares > 0).sum()),
        "kl": kl_divergence(shares, equal),
        "kl_real": kl_divergence(shares, real_shares),
        "kl_digits": sum(kl_divergence(found, real) for found, real in channels),
    }


def digit_shares(shares: np.ndarray) -> list[np.ndarray]:
    """The shares of the ten digits in each of the three channels, (10,) each, from those of the
    modes, (1000,)."""
    cube = shares.reshape(10, 10, 10)
    return [cube.sum((1, 2)), cube.sum((0, 2)), cube.sum((0, 1))]


def perfect_figures(
    real_shares: np.ndarray, samples: int = SAMPLES, seed: int = 0, draws: int = 200
) -> dict[str, float]:
    """`mode_figures` of a sampler that draws from the real shares, mean over `draws`: no generator
    can be expected to be below, since so many samples are never even."""
    rng, places = np.random.default_rng(seed), np.arange(len(TRIPLES))
    cards = [
        mode_figures(rng.choice(places, samples, p=real_shares), real_shares) for _ in range(draws)
    ]
    return {name: float(np.mean([card[name] for card in cards])) for name in cards[0]}


def triple_shares(digits: Digits) -> np.ndarray:
    """The real shares of the modes, (1000,), of three independent digits of a set."""
    single = np.bincount(digits.labels, minlength=10) / len(digits)
    return np.einsum("i,j,k->ijk", single, single, single).reshape(-1)
