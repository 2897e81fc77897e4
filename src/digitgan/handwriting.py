"""What one does with a trained generator: ask it for digits, or for a whole number in one hand."""

import numpy as np
import torch

from .common import Mistake
from .digits import Digits, check_labels
from .models import to_pixels

BATCH = 1000  # images made at once: bounds the memory


def generate(generator, labels, seed=None, z=None):
    """One image per label, as `Digits`.

    labels: whole numbers 0..9, (N,), as a list, array or tensor. z: latents float32, (1, z_dim)
    for one hand in all, or (N, z_dim); where none are given they are drawn from a standard
    normal with `seed` (a fresh one if None). An unconditional generator ignores the labels: its
    digits come with label -1. The network is left in the mode it was found in.

    Raises `Mistake` for labels outside 0..9, latents that are not finite or of another shape.
    """
    labels = check_labels(labels)
    z_dim = generator.hyperparameters.z_dim
    if z is None:
        z = draw_latents(len(labels), z_dim, seed)
    z = torch.as_tensor(np.asarray(z) if isinstance(z, list) else z, dtype=torch.float32).detach()
    if z.ndim != 2 or z.shape[1] != z_dim or len(z) not in (1, len(labels)):
        raise Mistake(f"z of shape {tuple(z.shape)}: must be (1, {z_dim}) or ({len(labels)}, {z_dim})")
    if not z.isfinite().all():
        raise Mistake("z holds numbers that are not finite")
    z = z.expand(len(labels), z_dim)
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    try:
        with torch.inference_mode():
            images = [
                to_pixels(generator(z[i : i + BATCH].to(device), torch.from_numpy(labels[i : i + BATCH]).to(device)))
                for i in range(0, len(labels), BATCH)
            ]
    finally:
        generator.train(training)
    if not generator.hyperparameters.conditional:
        labels = np.full(len(labels), -1)
    return Digits(torch.cat(images) if images else [], labels)


def stream(generator, count, seed=None):
    """`count` digits with labels 0, 1, ..., 9, 0, 1, ..., as an iterable of `Digits`, one batch in memory at a time."""
    source = random_source(seed)
    for start in range(0, count, BATCH):
        labels = np.arange(start, min(start + BATCH, count)) % 10
        yield generate(generator, labels, z=torch.randn(len(labels), generator.hyperparameters.z_dim, generator=source))


def draw_latents(n, z_dim, seed=None):
    """Latents (n, z_dim) from a standard normal, leaving torch's own random state alone."""
    return torch.randn(n, z_dim, generator=random_source(seed))


def random_source(seed=None):
    """A source of random numbers of its own, from a seed or a fresh one."""
    source = torch.Generator()
    if seed is None:
        source.seed()
    elif type(seed) is int and 0 <= seed < 2**32:  # as many bits as torch's generator takes
        source.manual_seed(seed)
    else:
        raise Mistake(f"seed = {seed!r}: must be a whole number from 0 to {2**32 - 1}")
    return source


def write(generator, number, seed=None, z=None):
    """A whole number in one hand: the same latent for every digit, as `Digits` in order.

    number: a string of digits, of any length, or a whole number. Raises `Mistake` for anything else.
    """
    text = str(number)
    if not text or not set(text) <= set("0123456789"):
        raise Mistake(f"number = {number!r}: must be made of the digits 0 to 9")
    if not generator.hyperparameters.conditional:
        raise Mistake("an unconditional generator cannot be asked for a digit")
    if z is None:
        z = draw_latents(1, generator.hyperparameters.z_dim, seed)
    return generate(generator, [int(digit) for digit in text], z=z)
