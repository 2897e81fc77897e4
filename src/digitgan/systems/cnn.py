"""Transposed convolutions against a LeNet with max-pooling and dropout."""

from torch import nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Trainer
from .classic import classic

PRESET = classic("cnn", 5e-4, conditional=False, batch_size=32, epochs=50)


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 64 * 7 * 7), nn.LeakyReLU(0.2), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 32, 14, 14)
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 16, 28, 28)
        nn.Conv2d(16, 1, 7, padding=3), nn.Tanh(),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.LeakyReLU(0.2),  # (B, 10, 12, 12)
        nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.LeakyReLU(0.2),  # (B, 20, 4, 4)
        nn.Flatten(), nn.Linear(320, 50), nn.LeakyReLU(0.2),
    )
    return Generator(generator, hp), Discriminator(discriminator, 50, hp)
# fmt: on


BUILDERS["cnn"] = build
TRAINERS["cnn"] = Trainer
