"""DCGAN: Radford et al., arXiv 1511.06434. Strided convolutions, their optimiser, no labels."""

from torch import nn

from ..models import ARCHITECTURES, Networks
from ..runs.run import TRAINERS
from ..trainer import Trainer
from .classic import classic

PRESET = classic("dcgan", 2e-4, architecture="dcgan-strided", beta1=0.5)


# fmt: off
def dcgan_strided(inputs: int, c: int = 64) -> Networks:
    """The classic: two strides of 2 each way."""
    generator = nn.Sequential(
        nn.Linear(inputs, c * 7 * 7), nn.Unflatten(1, (c, 7, 7)), nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c), nn.ReLU(),  # (B, 64, 7, 7)
        nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1, bias=False),  # (B, 32, 14, 14)
        nn.BatchNorm2d(c // 2), nn.ReLU(),
        nn.ConvTranspose2d(c // 2, 1, 4, stride=2, padding=1), nn.Tanh(),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, c // 2, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 32, 14, 14)
        nn.Conv2d(c // 2, c, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 64, 7, 7)
        nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 128, 4, 4)
        nn.Flatten(), nn.Linear(2 * c * 4 * 4, 128), nn.LeakyReLU(0.2),  # (B, 128)
    )
    return generator, discriminator, 128
# fmt: on


ARCHITECTURES["dcgan-strided"] = dcgan_strided
TRAINERS["dcgan"] = Trainer
