"""Starts larger than the picture and comes down to it: strided convolutions, each resized to 56x56
again.

The recipe ends in a sigmoid, [0, 1]; here in tanh(v) = 2 sigmoid(2v) - 1, the same picture in [-1,
1]. The discriminator takes one step for the real images and another for the generated ones.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics, Trainer
from .classic import classic

PRESET = classic("resize", 1e-4, discriminator_lr=3e-4, conditional=False, z_dim=100)


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 3136), nn.Unflatten(1, (1, 56, 56)), nn.BatchNorm2d(1), nn.ReLU(),
        nn.Conv2d(1, 50, 3, 2, 1), nn.BatchNorm2d(50), nn.ReLU(),  # (B, 50, 28, 28)
        nn.Upsample(56, mode="bilinear"),  # (B, 50, 56, 56)
        nn.Conv2d(50, 25, 3, 2, 1), nn.BatchNorm2d(25), nn.ReLU(),  # (B, 25, 28, 28)
        nn.Upsample(56, mode="bilinear"),  # (B, 25, 56, 56)
        nn.Conv2d(25, 1, 1, 2), nn.Tanh(),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2), nn.LeakyReLU(0.2), nn.AvgPool2d(2),  # (B, 32, 14, 14)
        nn.Conv2d(32, 64, 5, padding=2), nn.LeakyReLU(0.2), nn.AvgPool2d(2),  # (B, 64, 7, 7)
        nn.Flatten(), nn.Linear(64 * 7 * 7, 1024), nn.LeakyReLU(0.2),
    )
    return Generator(generator, hp), Discriminator(discriminator, 1024, hp)
# fmt: on


class ResizeTrainer(Trainer):
    """Two steps of the discriminator, one for the real images and one for the generated ones."""

    def discriminator_step(
        self, real: Tensor, fake: Tensor, y: Tensor
    ) -> tuple[Metrics, Tensor, Tensor]:
        with self.autocast():
            real_logits = self.discriminator(real, y)
        real_loss = softplus(-real_logits).mean()
        self.optimise(self.d_optimizer, real_loss)
        with self.autocast():
            fake_logits = self.discriminator(fake, y)
        fake_loss = softplus(fake_logits).mean()
        self.optimise(self.d_optimizer, fake_loss)
        metrics = {"discriminator_loss": real_loss + fake_loss, "penalty": torch.zeros(())}
        metrics |= {"real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        return metrics, real_logits, fake_logits


BUILDERS["resize"] = build
TRAINERS["resize"] = ResizeTrainer
