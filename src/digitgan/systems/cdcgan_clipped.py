"""Conditional DCGAN with a thin generator, and a discriminator whose weights are clipped.

Fault kept: clipping bounds gradients for a Wasserstein loss (arXiv 1701.07875), this one plays for
cross-entropy.
"""

from torch import Tensor, nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics, Trainer
from .classic import ChannelDiscriminator, classic

SIZES = {"z_dim": 100, "embedding_dim": 10, "batch_size": 64}
PRESET = classic("cdcgan-clipped", 2e-4, **SIZES)
WEIGHT_CLIP = 0.01  # the largest weight of the discriminator


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    inputs = hp.z_dim + hp.embedding_dim
    generator = nn.Sequential(
        nn.Unflatten(1, (inputs, 1, 1)),
        nn.ConvTranspose2d(inputs, 50, 2), nn.BatchNorm2d(50), nn.ReLU(),  # (B, 50, 2, 2)
        nn.ConvTranspose2d(50, 30, 4, 2, 1), nn.BatchNorm2d(30), nn.ReLU(),  # (B, 30, 4, 4)
        nn.ConvTranspose2d(30, 15, 3, 2, 1), nn.BatchNorm2d(15), nn.ReLU(),  # (B, 15, 7, 7)
        nn.ConvTranspose2d(15, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),  # (B, 8, 14, 14)
        nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        nn.Conv2d(2, 128, 4, 2, 1, groups=2), nn.LeakyReLU(0.2),  # (B, 128, 14, 14)
        nn.Conv2d(128, 256, 4, 2, 1), nn.LeakyReLU(0.2),  # (B, 256, 7, 7)
        nn.Conv2d(256, 512, 3, 2, 1), nn.LeakyReLU(0.2),  # (B, 512, 4, 4)
        nn.Conv2d(512, 1024, 3, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),  # (B, 4096)
    )
    return Generator(generator, hp), ChannelDiscriminator(discriminator, 1024 * 2 * 2, hp)
# fmt: on


class ClippedTrainer(Trainer):
    """The discriminator's weights are clipped after each of its steps."""

    def discriminator_step(
        self, real: Tensor, fake: Tensor, y: Tensor
    ) -> tuple[Metrics, Tensor, Tensor]:
        result = super().discriminator_step(real, fake, y)
        for weights in self.discriminator.parameters():
            weights.data.clamp_(-WEIGHT_CLIP, WEIGHT_CLIP)
        return result


BUILDERS["cdcgan-clipped"] = build
TRAINERS["cdcgan-clipped"] = ClippedTrainer
