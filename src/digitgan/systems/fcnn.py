"""Two fully connected layers each, as in the first GAN paper (arXiv 1406.2661).

Real digits are normalised by the mean and the deviation of MNIST's pixels: paper is -0.4242 and ink
2.8215. Both losses of the discriminator are halved. The generator's step uses the images of the
discriminator's step, judged by the updated discriminator.

Fault kept: the generator ends in tanh, which cannot reach that range. The discriminator knows a
real digit by its ink, and the generator ends in one grey digit or in noise. `fcnn-mended` is
without it.

Deviations: the networks take and return images in [-1, 1], and the two layers that convert them are
part of the networks: the same function. Seeds are digitgan's.
"""

import torch
from torch import Tensor, nn

from ..hyperparameters import Hyperparameters
from ..losses import non_saturating_discriminator
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics
from .classic import ClassicTrainer, FromRange, ToRange, classic

MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, ink 1 on paper 0
RANGE = -MEAN / DEVIATION, (1 - MEAN) / DEVIATION  # what paper and ink become
SETTINGS = {"batch_size": 32, "epochs": 50, "precision": "fp32"}
PRESET = classic("fcnn", 5e-4, **SETTINGS)


# fmt: off
def build(
    hp: Hyperparameters, value_range: tuple[float, float] = RANGE
) -> tuple[Generator, Discriminator]:
    """The untrained networks, for real digits whose paper and ink have the values of that range."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 256), nn.LeakyReLU(0.1),
        nn.Linear(256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)), FromRange(*value_range),
    )
    discriminator = nn.Sequential(
        ToRange(*value_range), nn.Flatten(), nn.Linear(784, 128), nn.LeakyReLU(0.1),
    )
    return Generator(generator, hp), Discriminator(discriminator, 128, hp)
# fmt: on


def halved_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Half the non-saturating loss."""
    return non_saturating_discriminator(real, fake) / 2


class SameBatchTrainer(ClassicTrainer):
    """Both steps use the same generated images; the discriminator's loss is halved."""

    def start_over(self) -> None:
        super().start_over()
        self.losses = halved_discriminator, self.losses[1]

    def update_discriminator(self, real: Tensor, y: Tensor) -> Metrics:
        self.fake = self.generate(y)  # (B, 1, 28, 28), with its graph
        return self.tell_apart(real, y, self.fake.detach(), y)

    def update_generator(self, real: Tensor, y: Tensor) -> Metrics:
        self.discriminator.requires_grad_(False)
        with self.autocast():
            logits = self.discriminator(self.fake, y)  # (B,)
        loss = self.losses[1](torch.zeros(()), logits)
        self.optimise(self.g_optimizer, loss)
        self.discriminator.requires_grad_(True)
        return {"generator_loss": loss}


BUILDERS["fcnn"] = build
TRAINERS["fcnn"] = SameBatchTrainer
