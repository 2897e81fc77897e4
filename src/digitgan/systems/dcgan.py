"""DCGAN (Radford et al., arXiv 1511.06434) without labels: strided convolutions and BatchNorm.

From the paper: BatchNorm in both networks but for the generator's end and the discriminator's
beginning, ReLU and LeakyReLU of 0.2, tanh, weights from N(0, 0.02), Adam with 2e-4 and betas (0.5,
0.999), batches of 128.

Deviations: maps begin at 7x7, which is 28 halved twice, and have at most 64 channels in the
generator and 128 in the discriminator: digits are small. The generator has one more convolution
(stride 1). Matrix products in bfloat16 where that is native, as everywhere in digitgan.
"""

import functools

from torch import nn

from ..data.spec import MNIST, ImageSpec
from ..hyperparameters import Hyperparameters
from ..models import ARCHITECTURES, BUILDERS, Discriminator, Generator, Networks, dcgan
from ..runs.run import TRAINERS
from .classic import ClassicTrainer, classic

PRESET = classic("dcgan", 2e-4, beta1=0.5, z_dim=100, epochs=16)
INIT_STD = 0.02  # standard deviation of new weights


# fmt: off
def strided_generator(inputs: int, spec: ImageSpec = MNIST, c: int = 64) -> nn.Sequential:
    """Two strides of 2, from 7x7 to 28x28."""
    s = spec.size // 4  # 7
    return nn.Sequential(
        nn.Linear(inputs, c * s * s), nn.Unflatten(1, (c, s, s)), nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),  # (B, 64, 7, 7)
        nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1, bias=False),  # (B, 32, 14, 14)
        nn.BatchNorm2d(c // 2), nn.ReLU(),
        nn.ConvTranspose2d(c // 2, spec.channels, 4, stride=2, padding=1), nn.Tanh(),  # 28x28
    )


def dcgan_strided(inputs: int, spec: ImageSpec, c: int = 64) -> Networks:
    """The classic strides for other systems: a discriminator without BatchNorm."""
    end = (spec.size + 4) // 8  # 4
    discriminator = nn.Sequential(
        nn.Conv2d(spec.channels, c // 2, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # 14x14
        nn.Conv2d(c // 2, c, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 64, 7, 7)
        nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 128, 4, 4)
        nn.Flatten(), nn.Linear(2 * c * end * end, 128), nn.LeakyReLU(0.2),  # (B, 128)
    )
    return strided_generator(inputs, spec, c), discriminator, 128


def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 32, 14, 14)
        nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),  # 7x7
        nn.Conv2d(64, 128, 3, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),  # 4x4
        nn.Flatten(),
    )
    networks = Generator(strided_generator(hp.z_dim), hp), Discriminator(discriminator, 2048, hp)
    for network in networks:
        network.apply(initialise)
    return networks
# fmt: on


def initialise(layer: nn.Module) -> None:
    """Draw a layer's weights from N(0, 0.02); biases are 0, BatchNorm begins at 1 and 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, INIT_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


ARCHITECTURES["dcgan-strided"] = dcgan_strided
ARCHITECTURES["dcgan-wide"] = functools.partial(dcgan, depth=1, c=128)
BUILDERS["dcgan"] = build
TRAINERS["dcgan"] = ClassicTrainer
