"""What one asks of a trained generator: digits, a whole number in one handwriting, a walk through
many."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.digits import Digits, check_labels
from ..data.randomness import random_source
from ..data.text import check_number
from ..errors import InvalidInputError
from ..models import SAMPLE_BATCH, Generator, sample


def generate(generator: Generator, labels: Any, seed: int | None = None, z: Any = None) -> Digits:
    """One image per label, as `Digits`.

    labels: whole numbers 0..9, (N,), as a list, array or tensor. z: latents float32, (1, z_dim) for
    one handwriting in all, or (N, z_dim); where none are given they are drawn with `seed` (a fresh
    one if None). An unconditional generator ignores the labels: its digits have the label -1. The
    network is left in the mode it was found in.

    Raises `InvalidInputError` for labels outside 0..9, and latents that are not finite or of
    another shape.
    """
    labels = check_labels(labels)
    if z is None:
        return sample(generator, labels, seed=seed)
    return sample(generator, labels, check_latents(generator, z, len(labels)))


def check_latents(generator: Generator, z: Any, count: int) -> Tensor:
    """Latents as a tensor float32 (count, z_dim), from (1, z_dim) or (count, z_dim)."""
    z_dim = generator.hyperparameters.z_dim
    z = torch.as_tensor(np.asarray(z) if isinstance(z, list) else z, dtype=torch.float32).detach()
    if z.ndim != 2 or z.shape[1] != z_dim or len(z) not in (1, count):
        rule = f"must be (1, {z_dim}) or ({count}, {z_dim})"
        raise InvalidInputError(f"z of shape {tuple(z.shape)}: {rule}")
    if not z.isfinite().all():
        raise InvalidInputError("z holds numbers that are not finite")
    return z.expand(count, z_dim)


def stream(generator: Generator, count: int, seed: int | None = None) -> Iterator[Digits]:
    """`count` digits with labels 0, 1, ..., 9, 0, 1, ..., in batches, one at a time in memory."""
    source = random_source(seed)
    for start in range(0, count, SAMPLE_BATCH):
        labels = np.arange(start, min(start + SAMPLE_BATCH, count)) % 10
        yield sample(generator, labels, generator.draw_latents(len(labels), source))


def write(
    generator: Generator, number: str | int, seed: int | None = None, z: Any = None
) -> Digits:
    """A whole number in one handwriting: the same latent for every digit, as `Digits` in order.

    number: a string of digits and spaces, of any length, or a whole number; a space is an empty
    image with label -1. `.strip()` of the result is the line of handwriting. Raises
    `InvalidInputError` for others.
    """
    text = check_number(number)
    check_conditional(generator)
    if z is None:
        z = generator.draw_latents(1, random_source(seed))
    digits = generate(generator, [int(digit) for digit in text if digit != " "], z=z)
    images, labels = np.zeros((len(text), 28, 28), np.uint8), np.full(len(text), -1)
    written = np.array([digit != " " for digit in text])
    images[written], labels[written] = digits.images, digits.labels
    return Digits(images, labels)


def walk(
    generator: Generator, label: int, steps: int = 48, seed: int | None = None, stops: int = 4
) -> Digits:
    """A smooth round trip through `stops` handwritings, all of one `label`, as `steps` `Digits`.

    `.save("walk.gif")` shows it. Between two latents it goes along the sphere (White, arXiv
    1609.04468): a straight line would pass through shorter latents than training has seen.
    """
    check_conditional(generator)
    if not {type(steps), type(stops)} <= {int} or min(steps, stops) < 1:
        rule = "must be whole numbers, 1 or more"
        raise InvalidInputError(f"steps = {steps!r}, stops = {stops!r}: {rule}")
    anchors = generator.draw_latents(stops, random_source(seed))
    position = torch.arange(steps) * stops / steps  # 0 <= position < stops
    start, end = anchors[position.long()], anchors[(position.long() + 1) % stops]  # (steps, z_dim)
    alpha = (position % 1)[:, None]
    angle = torch.cosine_similarity(start, end, 1).clamp(-1 + 1e-6, 1 - 1e-6).acos()[:, None]
    z = (((1 - alpha) * angle).sin() * start + (alpha * angle).sin() * end) / angle.sin()
    return generate(generator, [label] * steps, z=torch.where(angle > 2e-3, z, start))


def check_conditional(generator: Generator) -> None:
    """Raise `InvalidInputError` where a generator knows no labels."""
    if not generator.hyperparameters.conditional:
        raise InvalidInputError("an unconditional generator cannot be asked for a digit")
