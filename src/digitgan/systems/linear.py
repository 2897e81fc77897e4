"""Four fully connected layers each, widening and narrowing."""

from torch import nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Trainer
from .classic import classic

PRESET = classic("linear", 2e-3, conditional=False, z_dim=100, batch_size=64, loss="smoothed")


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 32), nn.LeakyReLU(0.2),
        nn.Linear(32, 64), nn.LeakyReLU(0.2),
        nn.Linear(64, 128), nn.LeakyReLU(0.2),
        nn.Linear(128, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3),
    )
    return Generator(generator, hp), Discriminator(discriminator, 32, hp)
# fmt: on


BUILDERS["linear"] = build
TRAINERS["linear"] = Trainer
