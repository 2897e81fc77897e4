"""Transposed convolutions against a LeNet with max-pooling and dropout.

Range of real digits, losses and order of steps are those of `fcnn`. The generator has no tanh at
its end, so it reaches that range.

Deviations: the networks take and return images in [-1, 1], and the two layers that convert them are
part of the networks: the same function. Seeds are digitgan's.
"""

from torch import nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from .classic import FromRange, ToRange, classic
from .fcnn import RANGE, SETTINGS, SameBatchTrainer

PRESET = classic("cnn", 5e-4, **SETTINGS)


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 64 * 7 * 7), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2), nn.ReLU(),  # (B, 32, 16, 16)
        nn.ConvTranspose2d(32, 16, 4, 2), nn.ReLU(),  # (B, 16, 34, 34)
        nn.Conv2d(16, 1, 7), FromRange(*RANGE),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        ToRange(*RANGE),
        nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(),  # (B, 10, 12, 12)
        nn.Conv2d(10, 20, 5), nn.Dropout2d(0.5), nn.MaxPool2d(2), nn.ReLU(),  # (B, 20, 4, 4)
        nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Dropout(0.5),
    )
    return Generator(generator, hp), Discriminator(discriminator, 50, hp)
# fmt: on


BUILDERS["cnn"] = build
TRAINERS["cnn"] = SameBatchTrainer
