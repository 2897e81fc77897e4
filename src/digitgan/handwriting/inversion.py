"""GAN inversion: the latent of a given handwriting, and directions of the latent space that mean
something."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ..bounds import whole_number
from ..data.digits import Digits
from ..data.pixels import channels_first
from ..data.randomness import random_source
from ..data.spec import COLUMNS
from ..errors import InvalidInputError
from ..evaluation.stroke_features import ink_features, stroke_features
from ..models import Generator, sample
from ..runs.processes import native_bf16
from ..runs.torch_modes import evaluating, ordinary_torch
from .encoder import check_labelled, load_encoder
from .refinement import KEPT, WEIGHT, StyleDistance, knows_styles
from .sampling import check_conditional

POPULATION = 64  # latents whose handwriting tells what is common


@ordinary_torch()
def imitate(
    generator: nn.Module,
    digits: Digits,
    seed: int = 0,
    starts: int = 8,
    steps: int = 60,
    style_steps: int = 24,
    progress: Callable[[float], object] | None = None,
) -> Tensor:
    """The latent (1, z_dim) of the handwriting of some digits, by GAN inversion.

    `write(generator, "0123456789", z=z)` goes on in that handwriting. digits: one or several
    `Digits` of one writer, with labels, of the generator's size and classes (a class is known by
    its name); `prepare` makes them of pictures. From the best of many latents drawn with `seed`,
    and the one that the generator's encoder returns if it has one, several are improved at once by
    Adam. Two things are asked of a latent: that the given digits look as given, and, so that the
    handwriting is found and not only the digit, that all ten digits differ from the population's in
    slant, stroke width and height as the given ones do. In `style_steps` more steps, the
    best of them also come nearer to the given digits in the eyes of a style encoder that knows real
    writers. `progress(fraction)` is called after each step, with 0..1.

    Raises `InvalidInputError` where there are no digits or one has no label.
    """
    generator = check_conditional(generator)
    seed, starts = whole_number("seed", seed), whole_number("starts", starts, 1)
    steps, style_steps = whole_number("steps", steps), whole_number("style_steps", style_steps)
    check_labelled(digits)
    digits = in_classes_of(generator, digits)
    with evaluating(generator):
        population = generator.draw_latents(POPULATION, random_source(seed))
        with torch.no_grad():
            objective = Inversion(generator, digits, population)
            distance = objective(population)
            z = population[distance.topk(starts, largest=False).indices]
            if encoder := load_encoder(generator):
                z = torch.cat([encoder.encode(digits), z[: starts - 1]])
        style_steps *= knows_styles(generator)
        report = Progress(progress, steps + style_steps)
        z = descend(objective, z, steps, 0.15, report)
        if style_steps:
            with torch.no_grad():
                z = z[objective(z).topk(min(KEPT, len(z)), largest=False).indices]
            objective.style_encoder = StyleDistance(digits, objective.bf16)
            z = descend(objective, z, style_steps, 0.08, report)
        with torch.no_grad():
            return z[objective(z).argmin()][None]


class Progress:
    """report(): one more of `steps` steps is done; `function` is told the fraction, 0..1."""

    def __init__(self, function: Callable[[float], object] | None, steps: int) -> None:
        self.function, self.steps, self.done = function, steps, 0

    def __call__(self) -> None:
        self.done += 1
        if self.function:
            self.function(self.done / self.steps)


def descend(
    objective: Callable[[Tensor], Tensor], z: Tensor, steps: int, lr: float, report: Progress
) -> Tensor:
    """Latents (k, z_dim) after `steps` steps of Adam, each towards a smaller objective(z), (k,)."""
    with torch.enable_grad():
        z = z.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], betas=(0.8, 0.9))
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps) + 0.01
            (z.grad,) = torch.autograd.grad(objective(z).sum(), z)  # the weights get none
            optimizer.step()
            report()
    return z.detach()


def in_classes_of(generator: Generator, digits: Digits) -> Digits:
    """The same digits, their labels as the generator numbers the classes of their names.

    Raises `InvalidInputError` for images of another size, and classes that it does not have.
    """
    spec = generator.spec
    if digits.spec.shape != spec.shape:
        raise InvalidInputError(f"{digits.spec}: must be {spec}, as the generator's")
    if digits.classes == spec.classes:
        return digits
    names = digits.names()
    if unknown := [name for name in dict.fromkeys(names) if name not in spec.classes]:
        told = f"the generator has no class for {' '.join(unknown[:20])}"
        raise InvalidInputError(f"{told}: must be of {' '.join(spec.classes[:100])}")
    labels = [spec.classes.index(name) for name in names]
    return Digits(digits.images, labels, 255, spec.classes)


class Inversion:
    """objective(z): how far the handwriting of latents z (k, z_dim) is from that of given digits,
    (k,)."""

    def __init__(self, generator: Generator, digits: Digits, population: Tensor) -> None:
        self.generator, self.device = generator, next(generator.parameters()).device
        self.bf16 = native_bf16(self.device)
        self.style_encoder: StyleDistance | None = None
        self.target = (
            channels_first(torch.from_numpy(digits.images)).float() / 255
        )  # (n, 1, 28, 28)
        # the ten digits; of more than `COLUMNS` classes, so many and those given
        count = len(generator.spec.classes)
        some = np.linspace(0, count - 1, min(count, COLUMNS)).astype(int)
        self.classes = torch.from_numpy(np.union1d(some, digits.labels))
        self.labels = torch.searchsorted(self.classes, torch.from_numpy(digits.labels))
        features = ink_features(self.ten_digits(population).mean(2))  # (POPULATION, 10, 3)
        self.mean, self.deviation = features.mean(0), features.std(0) + 1e-6  # (10, 3)
        given = ink_features(self.target.mean(1))  # (n, 3)
        style = (given - self.mean[self.labels]) / self.deviation[self.labels]
        # (3,), in standard deviations of the population
        self.style = style.mean(0).clamp(-2.5, 2.5)

    def ten_digits(self, z: Tensor) -> Tensor:
        """The ten digits of latents z (k, z_dim): (k, 10, 1, 28, 28), ink 1 on paper 0."""
        count = len(self.classes)
        y = self.classes.to(self.device).repeat(len(z))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            images = self.generator(z.to(self.device).repeat_interleave(count, 0), y)
        return (images.float().cpu().unflatten(0, (-1, count)) + 1) / 2

    def __call__(self, z: Tensor) -> Tensor:
        images = self.ten_digits(z)
        difference = (images[:, self.labels] - self.target).flatten(1, 2)  # (k, n, 28, 28)
        coarse = avg_pool2d(difference, 2).square().mean((1, 2, 3))
        pixels = difference.square().mean((1, 2, 3)) + 2 * coarse
        style = (ink_features(images.mean(2)) - self.mean) / self.deviation  # (k, 10, 3)
        style_distance = (style - self.style).square().mean((1, 2))
        total = pixels + 0.05 * style_distance + 0.002 * z.square().mean(1)
        if self.style_encoder:
            total = total + WEIGHT * self.style_encoder(images.squeeze(2))
        return total


@ordinary_torch()
def style_directions(generator: nn.Module, seed: int = 0, count: int = 300) -> Tensor:
    """Directions of the latent space, (3, z_dim), for slant, stroke width and height.

    A step of 1 along one changes that feature by one standard deviation among latents, and the
    other two as little as can be (least squares).
    """
    generator = check_conditional(generator)
    z = generator.draw_latents(count, random_source(seed))
    k = generator.spec.columns
    digits = sample(generator, np.tile(np.arange(k), count), z.repeat_interleave(k, 0))
    features = torch.from_numpy(stroke_features(digits)).unflatten(0, (count, k))  # (count, 10, 3)
    style = ((features - features.mean(0)) / (features.std(0) + 1e-6)).mean(1)  # (count, 3)
    style = (style - style.mean(0)) / style.std(0)
    coefficients = torch.linalg.lstsq(z, style).solution  # (z_dim, 3)
    return torch.linalg.pinv(coefficients)
