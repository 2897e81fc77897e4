"""Conditional DCGAN whose z is multiplied by the label's embedding.

Faults kept: real digits normalised by their mean 0.1307 and deviation 0.3081, outside tanh's range;
the generator left in eval mode after its first test.
"""

from torch import Tensor, nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics, Trainer
from .classic import ChannelDiscriminator, classic

PRESET = classic(
    "cdcgan-multiply", 1e-5, z_dim=100, embedding_dim=100, beta1=0.5, batch_size=16, epochs=25
)
PAPER, INK = -0.4242, 2.8215  # what 0 and 255 become
GENERATOR_STEPS = 2  # for each step of the discriminator


class MultiplyGenerator(Generator):
    """A generator that multiplies z (B, z_dim) by the label's embedding of as many values."""

    embedding: nn.Embedding

    def __init__(self, net: nn.Module, hyperparameters: Hyperparameters) -> None:
        super().__init__(net, hyperparameters.replace(embedding_dim=hyperparameters.z_dim))
        self.hyperparameters = hyperparameters

    def join(self, z: Tensor, y: Tensor) -> Tensor:
        return z * self.embedding(y)  # (B, z_dim)


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Unflatten(1, (hp.z_dim, 1, 1)),
        nn.ConvTranspose2d(hp.z_dim, 256, 4), nn.BatchNorm2d(256), nn.ReLU(),  # (B, 256, 4, 4)
        nn.ConvTranspose2d(256, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.ReLU(),  # (B, 128, 8, 8)
        nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),  # (B, 64, 16, 16)
        nn.ConvTranspose2d(64, 1, 4, 2, 3), nn.Tanh(),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        nn.Conv2d(2, 64, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 64, 14, 14)
        nn.Conv2d(64, 128, 4, 2, 1), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),  # (B, 128, 7, 7)
        nn.Conv2d(128, 256, 4, 2, 1), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),  # (B, 256, 3, 3)
        nn.Flatten(),
    )
    return MultiplyGenerator(generator, hp), ChannelDiscriminator(discriminator, 256 * 3 * 3, hp)
# fmt: on


class MultiplyTrainer(Trainer):
    """Two generator steps; real images in a range of their own; frozen BatchNorm after the first
    epoch."""

    def to_images(self, pixels: Tensor) -> Tensor:
        return pixels.unsqueeze(1).float() * ((INK - PAPER) / 255) + PAPER

    def set_mode(self) -> None:
        self.generator.train(
            not self.history
        )  # the fault: eval mode stays on after the first epoch

    def update_generator(self, real: Tensor, y: Tensor) -> Metrics:
        metrics: Metrics = {}
        for _ in range(GENERATOR_STEPS):
            metrics = super().update_generator(real, y)
        return metrics


BUILDERS["cdcgan-multiply"] = build
TRAINERS["cdcgan-multiply"] = MultiplyTrainer
