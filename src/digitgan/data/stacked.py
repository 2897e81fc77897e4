"""Stacked MNIST: three random digits as red, green and blue, a set of a thousand modes."""

import numpy as np

from ..bounds import whole_number
from .digits import Digits

TRIPLES = tuple(f"{i:03}" for i in range(1000))  # the classes: which three digits


def stack_digits(digits: Digits, count: int, seed: int = 0) -> Digits:
    """`count` images (28, 28, 3) of three `digits` each, drawn with `seed`, one in each channel.

    Metz et al., arXiv 1611.02163; Srivastava et al., arXiv 1705.07761. The class of an image is its
    three digits: "407" has a 4 in red, a 0 in green and a 7 in blue.
    """
    count, seed = whole_number("count", count, 1), whole_number("seed", seed, 0, 2**32 - 1)
    rows = np.random.default_rng(seed).integers(0, len(digits), (count, 3))
    images = np.empty((count, *digits.images.shape[1:], 3), np.uint8)
    for channel in range(3):
        images[..., channel] = digits.images[rows[:, channel]]
    return Digits(images, digits.labels[rows] @ (100, 10, 1), 255, TRIPLES)
