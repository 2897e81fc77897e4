"""Generators and discriminators: the networks, how they are built, sampled, saved and loaded.

Conditional DCGAN: Radford et al., arXiv 1511.06434, with labels as in Mirza & Osindero, arXiv
1411.1784 (generator) and Miyato & Koyama, arXiv 1802.05637 (discriminator). The training set's
`ImageSpec` decides size, channels and classes; shapes are told for MNIST's. Images are float (B, 1,
28, 28) inside, paper -1 and ink 1, and uint8 (B, 28, 28) outside. Deviations from DCGAN: no
BatchNorm in D (arXiv 2501.05441), 3x3 kernels and pixel shuffles, a hidden linear layer in D, maps
that begin at 7x7, torch's initialisation.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .aliases import is_of_old_form
from .data.digits import Digits
from .data.pixels import from_pixels, to_pixels  # noqa: F401
from .data.randomness import random_source
from .data.spec import MNIST, ImageSpec
from .errors import InvalidInputError
from .files import ASSET
from .hyperparameters import Hyperparameters
from .runs.torch_modes import evaluating, ordinary_torch
from .runs.weights import load_network

SAMPLE_BATCH = 1000  # images that `sample` makes at once: bounds the memory
# generator, discriminator, how many features the discriminator's last layer sees
Networks = tuple[nn.Sequential, nn.Sequential, int]


class Generator(nn.Module):
    """generator(z, y): z (B, z_dim), y (B,) int64 in 0..9 -> images (B, 1, 28, 28) in [-1, 1].

    The label's embedding is put beside z. An unconditional generator takes y and ignores it.
    """

    def __init__(
        self, net: nn.Module, hyperparameters: Hyperparameters, spec: ImageSpec = MNIST
    ) -> None:
        super().__init__()
        self.spec, classes, hp = spec, len(spec.classes), hyperparameters
        self.embedding = nn.Embedding(classes, hp.embedding_dim) if hp.conditional else None
        self.net, self.hyperparameters = net, hp

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.net(self.join(z, y))  # (B, 1, 28, 28)

    def join(self, z: Tensor, y: Tensor) -> Tensor:
        """What enters the net: (B, z_dim + embedding_dim), or z alone."""
        return z if self.embedding is None else torch.cat([z, self.embedding(y)], 1)

    def untrained(self) -> "Generator":
        """Another generator for the same images, as `build` makes it."""
        return build(self.hyperparameters, self.spec)[0]

    def draw_latents(self, n: int, source: torch.Generator | None = None) -> Tensor:
        """Latents (n, z_dim), standard normal; without a source, from torch's global state."""
        return torch.randn(n, self.hyperparameters.z_dim, generator=source)


class Discriminator(nn.Module):
    """discriminator(x, y): images (B, 1, 28, 28), y (B,) int64 in 0..9 -> logits float32 (B,).

    A positive logit means "real". The label enters by projection (arXiv 1802.05637): how well the
    image's features agree with the label's embedding is added to how real they look. An
    unconditional discriminator ignores y.
    """

    def __init__(
        self, net: nn.Module, features: int, hp: Hyperparameters, spec: ImageSpec = MNIST
    ) -> None:
        super().__init__()
        self.net, self.to_logit = net, nn.Linear(features, 1)
        self.embedding = nn.Embedding(len(spec.classes), features) if hp.conditional else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits_and_classes(x, y)[0]

    def logits_and_classes(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits (B,), and class logits (B, 10): how well the image agrees with each label."""
        features = self.net(x).float()  # (B, features)
        with torch.autocast(x.device.type, enabled=False):  # float32: losses subtract large logits
            logits = self.to_logit(features).squeeze(1)  # (B,)
            if self.embedding is None:
                return logits, None
            classes = features @ self.embedding.weight.T  # (B, 10)
            return logits + classes.gather(1, y[:, None]).squeeze(1), classes


# fmt: off
def dcgan(inputs: int, spec: ImageSpec = MNIST, c: int = 64, depth: int = 0) -> Networks:
    """The default: 7x7 to 28x28 in one stride of 4. A convolution to 16 channels and a pixel
    shuffle are a transposed convolution of stride 4 and kernel 12, twice as fast."""
    s, pixels = spec.size // 4, 16 * spec.channels  # 7, 16
    generator = nn.Sequential(
        nn.Linear(inputs, c * s * s), nn.Unflatten(1, (c, s, s)), nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),  # (B, 64, 7, 7)
        nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),  # (B, 64, 7, 7)
        nn.Conv2d(c, pixels, 3, padding=1), nn.PixelShuffle(4), nn.Tanh(),  # (B, 1, 28, 28)
    )
    layers: list[nn.Module] = [nn.PixelUnshuffle(4)]  # (B, 16, 7, 7)
    layers += [nn.Conv2d(pixels, c, 3, padding=1), nn.LeakyReLU(0.2)]  # (B, 64, 7, 7)
    for _ in range(depth):
        layers += [nn.Conv2d(c, c, 3, padding=1), nn.LeakyReLU(0.2)]  # (B, 64, 7, 7)
    width = c
    while width == c or s > 4:  # once; twice above 32x32, as the learning rates ask for
        layers += [nn.Conv2d(width, 2 * c, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width, s = 2 * c, (s + 1) // 2  # (B, 128, 4, 4)
    layers += [nn.Flatten(), nn.Linear(width * s * s, 128), nn.LeakyReLU(0.2)]  # (B, 128)
    return generator, nn.Sequential(*layers), 128
# fmt: on


# Further networks and systems are added to these by the files of `systems/`.
ARCHITECTURES: dict[str, Callable[[int, ImageSpec], Networks]] = {
    "dcgan": dcgan,
    "dcgan-deep": functools.partial(dcgan, depth=1),
}
BUILDERS: dict[str, Callable[[Hyperparameters], tuple[Generator, Discriminator]]] = {}
EARLIER: dict[str, Callable[[Hyperparameters], Generator]] = {}  # of files of the old form


def build(
    hyperparameters: Hyperparameters, spec: ImageSpec = MNIST
) -> tuple[Generator, Discriminator]:
    """The untrained networks, with weights drawn from torch's global random state."""
    hp = hyperparameters
    if hp.architecture == "own" and hp.system in BUILDERS:
        if spec.shape != MNIST.shape or len(spec.classes) != len(MNIST.classes):
            raise InvalidInputError(f"system = {hp.system!r}: {spec}, must be {MNIST}")
        networks = BUILDERS[hp.system](hp)
        networks[0].spec = spec  # the classes have names of their own
        return networks
    if hp.architecture not in ARCHITECTURES:
        told = f"architecture = {hp.architecture!r} with system = {hp.system!r}"
        rule = f"{', '.join(ARCHITECTURES)}, or 'own' with one of {', '.join(BUILDERS)}"
        raise InvalidInputError(f"{told}: must be {rule} (`import digitgan.systems` knows more)")
    inputs = hp.z_dim + (hp.embedding_dim if hp.conditional else 0)
    generator, discriminator, features = ARCHITECTURES[hp.architecture](inputs, spec)
    return Generator(generator, hp, spec), Discriminator(discriminator, features, hp, spec)


@ordinary_torch()
def sample(
    generator: Generator, labels: np.ndarray, z: Tensor | None = None, seed: int | None = None
) -> Digits:
    """One image for each label int64 (N,), as `Digits`, from latents (N, z_dim) or a seed.

    The generator is in eval mode meanwhile. The digits of an unconditional one have the label -1.
    """
    if z is None:
        z = generator.draw_latents(len(labels), random_source(seed))
    device = next(generator.parameters()).device
    with evaluating(generator), torch.inference_mode():
        y = torch.from_numpy(labels).split(SAMPLE_BATCH) if len(labels) else ()
        batches = zip(z.split(SAMPLE_BATCH), y, strict=False)
        images = [to_pixels(generator(z.to(device), y.to(device))) for z, y in batches]
    if not generator.hyperparameters.conditional:
        labels = np.full(len(labels), -1)
    none = torch.zeros(0, *generator.spec.shape, dtype=torch.uint8)
    return Digits(torch.cat([none.to(device), *images]), labels, 255, generator.spec.classes)


@ordinary_torch()
def sample_rows(generator: Generator, rows: int, seed: int | None = None) -> Digits:
    """Rows of the classes (0 to 9), one latent in each row (without labels: one for each image)."""
    z, columns = None, generator.spec.columns
    if generator.hyperparameters.conditional:
        z = generator.draw_latents(rows, random_source(seed))  # (rows, z_dim)
        z = z.repeat_interleave(columns, 0)  # (10 * rows, z_dim)
    return sample(generator, np.arange(columns * rows) % columns, z, seed)


def load_generator(path: str | Path | None = None) -> Generator:
    """A trained generator in eval mode, on the CPU: the shipped one, or the one in `path`.

    `path` may be the name of a system: its shipped generator. Raises FileNotFoundError where there
    is none, `InvalidInputError` where it is no generator.
    """

    def build_from(metadata: dict[str, str]) -> Generator:
        text = metadata.get("hyperparameters", "null")
        hp = Hyperparameters.from_text(text)
        if is_of_old_form(text) and hp.system in EARLIER:
            return EARLIER[hp.system](hp)
        spec = ImageSpec.from_json(metadata["images"]) if "images" in metadata else MNIST
        return build(hp, spec)[0]

    shipped = ASSET / "pretrained" / f"{path or 'cdcgan'}.safetensors"
    path = path if path and not shipped.is_file() else shipped
    return load_network(path, build_from, "a generator")
