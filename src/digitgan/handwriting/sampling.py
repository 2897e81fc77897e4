"""What one asks of a trained generator: digits, a whole number in one handwriting, a walk through
many."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bounds import whole_number
from ..data.digits import Digits, check_labels
from ..data.randomness import random_source
from ..data.spec import MNIST
from ..data.text import spell
from ..errors import InvalidInputError
from ..evaluation.classifier import SUPPORTED_DATASETS
from ..models import SAMPLE_BATCH, Generator, sample
from ..runs.torch_modes import ordinary_torch
from ..runs.weights import as_generator


@ordinary_torch()
def generate(generator: nn.Module, labels: Any, seed: int | None = None, z: Any = None) -> Digits:
    """One image per label, as `Digits`.

    generator: a trained one, also compiled, averaged, halved or wrapped (`as_generator` has the
    rule). labels: whole numbers 0..9, or to the last of its classes, (N,), as a list, array or
    tensor. z: latents float32, (1, z_dim) for one handwriting in all, or (N, z_dim); where none are
    given they are drawn with `seed` (a fresh one if None). An unconditional generator ignores the
    labels: its digits have the label -1. The network is left in the mode it was found in.

    Raises `InvalidInputError` for labels outside its classes, and latents that are not finite or of
    another shape.
    """
    network: Generator = as_generator(generator)
    labels = check_labels(labels, classes=network.spec.classes)
    if z is None:
        return sample(network, labels, seed=seed)
    return sample(network, labels, check_latents(network, z, len(labels)))


def check_latents(generator: Generator, z: Any, count: int) -> Tensor:
    """Latents as a tensor float32 (count, z_dim), from (1, z_dim) or (count, z_dim)."""
    z_dim = generator.hyperparameters.z_dim
    z = torch.as_tensor(z if isinstance(z, Tensor) else np.array(z), dtype=torch.float32)
    z = z.detach().cpu()
    if z.ndim != 2 or z.shape[1] != z_dim or len(z) not in (1, count):
        rule = f"must be (1, {z_dim}) or ({count}, {z_dim})"
        raise InvalidInputError(f"z of shape {tuple(z.shape)}: {rule}")
    if not z.isfinite().all():
        raise InvalidInputError("z holds numbers that are not finite")
    return z.expand(count, z_dim)


def stream(generator: nn.Module, count: int, seed: int | None = None) -> Iterator[Digits]:
    """`count` digits with labels 0, 1, ..., 9, 0, 1, ..., or through its other classes, in batches,
    one at a time in memory."""
    network, source = as_generator(generator), random_source(seed)
    count = whole_number("count", count)
    for start in range(0, count, SAMPLE_BATCH):
        labels = np.arange(start, min(start + SAMPLE_BATCH, count)) % len(network.spec.classes)
        with ordinary_torch():
            z = network.draw_latents(len(labels), source)
        yield sample(network, labels, z)


@ordinary_torch()
def write(
    generator: nn.Module, number: str | int, seed: int | None = None, z: Any = None
) -> Digits:
    """A whole number in one handwriting: the same latent for every digit, as `Digits` in order.

    number: a string of digits and spaces, of any length, or a whole number; a space is an empty
    image with label -1. Where the generator's classes are letters, a text of them: `write(g, "HELLO
    42")`. `.strip()` of the result is the line of handwriting. Raises `InvalidInputError` for
    others, with the characters that the generator cannot write.
    """
    generator = check_conditional(generator)
    labels = np.array(spell(number, generator.spec.classes))
    if z is None:
        z = generator.draw_latents(1, random_source(seed))
    written = labels >= 0
    images = np.zeros((len(labels), *generator.spec.shape), np.uint8)
    images[written] = generate(generator, labels[written], z=z).images
    return Digits(images, labels, 255, generator.spec.classes)


@ordinary_torch()
def walk(
    generator: nn.Module, label: int, steps: int = 48, seed: int | None = None, stops: int = 4
) -> Digits:
    """A smooth round trip through `stops` handwritings, all of one `label`, as `steps` `Digits`.

    `.save("walk.gif")` shows it. Between two latents it goes along the sphere (White, arXiv
    1609.04468): a straight line would pass through shorter latents than training has seen.
    """
    generator = check_conditional(generator)
    steps, stops = whole_number("steps", steps, 1), whole_number("stops", stops, 1)
    anchors = generator.draw_latents(stops, random_source(seed))
    position = torch.arange(steps) * stops / steps  # 0 <= position < stops
    start, end = anchors[position.long()], anchors[(position.long() + 1) % stops]  # (steps, z_dim)
    alpha = (position % 1)[:, None]
    angle = torch.cosine_similarity(start, end, 1).clamp(-1 + 1e-6, 1 - 1e-6).acos()[:, None]
    z = (((1 - alpha) * angle).sin() * start + (alpha * angle).sin() * end) / angle.sin()
    return generate(generator, [label] * steps, z=torch.where(angle > 2e-3, z, start))


def check_conditional(network: nn.Module) -> Generator:
    """The generator that a network is or has inside.

    Raises `InvalidInputError` where there is none, or it knows no labels.
    """
    generator: Generator = as_generator(network)
    if not generator.hyperparameters.conditional:
        raise InvalidInputError("an unconditional generator cannot be asked for a digit")
    return generator


def writes_digits(generator: Generator) -> bool:
    """Whether it is a conditional generator of what the shipped classifier reads."""
    hp = generator.hyperparameters
    return hp.conditional and generator.spec == MNIST and hp.dataset in SUPPORTED_DATASETS
