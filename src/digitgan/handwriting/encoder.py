"""An encoder: a small network that returns the latent of a digit's handwriting in one pass, where
`imitate` searches for it by gradients.

It is trained through its generator, which stays as it is: the generator's own digits and real ones
go in, and what the generator makes of the latent has to look as they do.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

from ..data.datasets import load_digits
from ..data.digits import Digits
from ..data.randomness import random_source
from ..data.spec import MNIST
from ..errors import InvalidInputError
from ..evaluation.stroke_features import ink_features
from ..files import ASSET
from ..models import Generator, evaluating
from ..runs.processes import native_bf16
from ..runs.weights import load_network, save_weights
from .sampling import check_conditional

ENCODER = ASSET / "pretrained" / "cdcgan-encoder.safetensors"  # of the shipped generator
POPULATION = 256  # latents whose digits tell which stroke features are common
OTHERS = 2  # further labels for which each handwriting is compared, in each step


class Encoder(nn.Module):
    """encoder(x, y): images (B, 1, 28, 28), ink 1 on paper 0, y (B,) int64, the classes' numbers ->
    latents (B, z_dim).

    The label's embedding is put beside the image's features.
    """

    def __init__(self, z_dim: int, classes: int = 10, c: int = 32) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.body = nn.Sequential(
            nn.Conv2d(1, c, 3, 2, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),  # (B, c, 14, 14)
            nn.Conv2d(c, 2 * c, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU(),
            nn.Conv2d(2 * c, 2 * c, 3, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU(),
            nn.Flatten(),  # (B, 2 * c * 4 * 4)
        )  # fmt: skip
        self.embedding = nn.Embedding(classes, 16)
        self.head = nn.Sequential(
            nn.Linear(2 * c * 4 * 4 + 16, 160), nn.ReLU(), nn.Linear(160, z_dim)
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.cat([self.body(x), self.embedding(y)], 1))

    def encode(self, digits: Digits) -> Tensor:
        """The latent (1, z_dim) of the handwriting of some `Digits` with labels: their mean.

        Raises `InvalidInputError` where there are no digits or one has no label.
        """
        check_labelled(digits)
        device = next(self.parameters()).device
        images = torch.from_numpy(digits.images).to(device).unsqueeze(1).float() / 255
        with evaluating(self), torch.no_grad():
            return self(images, torch.from_numpy(digits.labels).to(device)).mean(0, True).cpu()


def check_labelled(digits: Digits) -> None:
    """Raise `InvalidInputError` where there are no digits or one has no label."""
    unlabelled = (digits.labels < 0).sum()
    if unlabelled or not len(digits):
        told = f"{unlabelled} of {len(digits)} digits without label"
        raise InvalidInputError(f"{told}: must be 1 or more, all with labels")


def encoder_for(generator: Generator) -> Encoder:
    """An untrained encoder."""
    return Encoder(generator.hyperparameters.z_dim, len(generator.spec.classes))


def load_encoder(generator: Generator, path: str | Path = ENCODER) -> Encoder | None:
    """The encoder in `path` if it was trained for this generator, else None.

    It is in eval mode, on the CPU. Raises `InvalidInputError` where the file holds no encoder.
    """
    fingerprints: list[str | None] = []

    def build(metadata: dict[str, str]) -> Encoder:
        fingerprints.append(metadata.get("generator"))
        return encoder_for(generator).half()

    if not Path(path).expanduser().is_file():
        return None
    try:
        encoder = load_network(path, build, "an encoder")
    except InvalidInputError:
        if fingerprints and fingerprints[0] != fingerprint(generator):
            return None  # of a generator with other latents
        raise
    return encoder.float() if fingerprints[0] == fingerprint(generator) else None


def save_encoder(encoder: Encoder, generator: Generator, path: str | Path) -> None:
    """Write an encoder at half precision, with the fingerprint of its generator."""
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in encoder.state_dict().items()
    }
    save_weights(path, weights, {"generator": fingerprint(generator)})


def fingerprint(generator: Generator) -> str:
    """SHA-256 of a generator's weights, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, value in sorted(generator.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def train_encoder(
    generator: Generator,
    path: str | Path | None = None,
    steps: int = 6000,
    seed: int = 0,
    digits: Digits | None = None,
    progress: Callable[[float], object] | None = None,
) -> Encoder:
    """An encoder trained for a generator of digits, and written to `path` if one is given.

    generator: a conditional one, of grey images of 28x28 pixels; its weights and its mode stay.
    digits: real ones with labels, MNIST's training digits if left out. Half of each batch of 128
    are the generator's own, half are real ones, sheared, scaled and shifted a little. 6000 steps
    take about 8 minutes on one core. `progress(fraction)` is called after each step, with 0..1.

    Raises `InvalidInputError` for another generator, digits of other classes than it has, or fewer
    than 1 step.
    """
    spec = check_conditional(generator).spec
    if spec.shape != MNIST.shape:
        raise InvalidInputError(f"a generator of {spec}: must be of grey ones of 28x28 pixels")
    if steps < 1:
        raise InvalidInputError(f"steps = {steps}: must be 1 or more")
    digits = load_digits(train=True) if digits is None else digits
    if digits.spec != spec:
        raise InvalidInputError(f"digits = {digits.spec}: must be {spec}, as the generator's")
    source = random_source(seed)
    with evaluating(generator), torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        encoder = encoder_for(generator)
        objective = Reconstruction(generator, source)
        optimizer = torch.optim.Adam(encoder.parameters(), betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for step in range(steps):
            images, labels = _batch(objective, digits, source)
            loss = objective(encoder(images, labels), images, labels)
            optimizer.zero_grad()
            loss.backward(inputs=list(encoder.parameters()))  # the generator's weights get none
            optimizer.step()
            schedule.step()
            if progress:
                progress((step + 1) / steps)
    encoder = encoder.half().float().eval()  # as it is shipped
    if path is not None:
        save_encoder(encoder, generator, path)
    return encoder


class Reconstruction:
    """objective(z, images, labels): how far what a generator makes of z (B, z_dim) is from given
    digits, as one number.

    Two things are compared, as `imitate` compares them: the digits themselves, pixel by pixel and
    coarsely; and the stroke features of these digits and of others in the same handwriting, in
    standard deviations of the generator's population.
    """

    def __init__(self, generator: Generator, source: torch.Generator) -> None:
        self.generator, self.source = generator, source
        self.classes = len(generator.spec.classes)
        self.bf16 = native_bf16(next(generator.parameters()).device)
        z = generator.draw_latents(POPULATION, source).repeat_interleave(self.classes, 0)
        with torch.no_grad():
            ink = self.ink(z, torch.arange(self.classes).repeat(POPULATION))
        features = ink_features(ink).unflatten(0, (POPULATION, self.classes))
        self.mean, self.deviation = features.mean(0), features.std(0) + 1e-6  # (10, 3)

    def ink(self, z: Tensor, y: Tensor) -> Tensor:
        """The generator's images (B, 28, 28), ink 1 on paper 0."""
        with torch.autocast(z.device.type, torch.bfloat16, enabled=self.bf16):
            images = self.generator(z, y)
        return (images.float().squeeze(1) + 1) / 2

    def style(self, ink: Tensor, labels: Tensor) -> Tensor:
        """Stroke features (B, 3) in standard deviations of the population's digits of that
        label."""
        return (ink_features(ink) - self.mean[labels]) / self.deviation[labels]

    def __call__(self, z: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        target = images.squeeze(1)  # (B, 28, 28)
        others = torch.randint(self.classes, (OTHERS * len(z),), generator=self.source)
        asked = torch.cat([labels, others])  # (B + OTHERS * B,)
        ink = self.ink(z.repeat(1 + OTHERS, 1), asked)
        difference = ink[: len(z)] - target
        pixels = difference.square().mean() + 2 * avg_pool2d(difference, 2).square().mean()
        wanted = self.style(target, labels).clamp(-2.5, 2.5).repeat(1 + OTHERS, 1)
        style = (self.style(ink, asked) - wanted).clamp(-5, 5).square().mean()
        return pixels + 0.08 * style + 0.002 * z.square().mean()


def _batch(
    objective: Reconstruction, digits: Digits, source: torch.Generator, size: int = 64
) -> tuple[Tensor, Tensor]:
    """As many of the generator's own digits as real ones: images (2 * size, 1, 28, 28), labels."""
    y = torch.randint(objective.classes, (size,), generator=source)
    with torch.no_grad():
        made = objective.ink(objective.generator.draw_latents(size, source), y)
    chosen = torch.randint(len(digits), (size,), generator=source).numpy()
    real = torch.from_numpy(digits.images[chosen]).unsqueeze(1).float() / 255
    images = torch.cat([made[:, None], _varied(real, source)])
    return images, torch.cat([y, torch.from_numpy(digits.labels[chosen])])


def _varied(images: Tensor, source: torch.Generator) -> Tensor:
    """Images (B, 1, 28, 28), half of them sheared, scaled and shifted at random."""
    n = len(images)
    amount = torch.rand(n, 5, generator=source) * 2 - 1  # (B, 5) in [-1, 1]
    amount *= (torch.rand(n, 1, generator=source) < 0.5).float()
    maps = torch.zeros(n, 2, 3)
    maps[:, 0, 0], maps[:, 1, 1] = 1 + 0.15 * amount[:, 0], 1 + 0.15 * amount[:, 1]
    maps[:, 0, 1] = 0.3 * amount[:, 2]
    maps[:, :, 2] = amount[:, 3:] / 14  # a pixel at most
    grid = affine_grid(maps, [n, 1, 28, 28], align_corners=False)
    return grid_sample(images, grid, align_corners=False)


__all__ = ["ENCODER", "Encoder", "load_encoder", "save_encoder", "train_encoder"]
