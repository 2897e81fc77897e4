"""Two fully connected layers each, as in the first GAN paper."""

from torch import nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Trainer
from .classic import classic

PRESET = classic("fcnn", 5e-4, conditional=False, batch_size=32, epochs=50)


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 256), nn.LeakyReLU(0.2),
        nn.Linear(256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.LeakyReLU(0.2))
    return Generator(generator, hp), Discriminator(discriminator, 128, hp)
# fmt: on


BUILDERS["fcnn"] = build
TRAINERS["fcnn"] = Trainer
