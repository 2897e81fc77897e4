"""Conditional DCGAN whose z is multiplied by the label's embedding.

The label enters the discriminator as a second channel of the image. Each step of the discriminator,
on the labels of the batch, is followed by two of the generator, each with new latents and new
labels drawn uniformly. The source has two states; this is the later one, with strided convolutions
and RAdam in the discriminator (the earlier one pools and uses Adam).

Fault kept: after the first epoch of 60,000 digits the first test puts both networks into eval mode,
and they stay in it. BatchNorm then works with the averages of the first epoch for good.

Deviations: the discriminator returns logits, and its last convolution is a linear layer: the same
function. Seeds are digitgan's.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import InvalidInputError
from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics, Trainer
from .classic import ChannelDiscriminator, ClassicTrainer, classic

PRESET = classic(
    "cdcgan-multiply",
    1e-5,
    conditional=True,
    z_dim=100,
    embedding_dim=100,
    beta1=0.5,
    batch_size=16,
    epochs=10,
)
GENERATOR_STEPS = 2  # for each step of the discriminator
FROZEN_AFTER = 60_000  # images


class MultiplyGenerator(Generator):
    """A generator that multiplies z (B, z_dim) by the label's embedding of as many values."""

    embedding: nn.Embedding

    def __init__(self, net: nn.Module, hyperparameters: Hyperparameters) -> None:
        super().__init__(net, hyperparameters)
        if hyperparameters.embedding_dim != hyperparameters.z_dim:
            rule = f"z_dim = {hyperparameters.z_dim}, since z is multiplied by it"
            raise InvalidInputError(
                f"embedding_dim = {hyperparameters.embedding_dim}: must be {rule}"
            )

    def join(self, z: Tensor, y: Tensor) -> Tensor:
        return z * self.embedding(y)  # (B, z_dim)


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    def up(inputs: int, outputs: int, stride: int = 1, padding: int = 0) -> nn.ConvTranspose2d:
        return nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)

    def down(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
        return nn.Conv2d(inputs, outputs, kernel, 2, 1, bias=False)

    generator = nn.Sequential(
        nn.Unflatten(1, (hp.z_dim, 1, 1)),
        up(hp.z_dim, 256), nn.BatchNorm2d(256), nn.ReLU(),  # (B, 256, 4, 4)
        up(256, 128, 2, 1), nn.BatchNorm2d(128), nn.ReLU(),  # (B, 128, 8, 8)
        up(128, 64, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),  # (B, 64, 16, 16)
        up(64, 1, 2, 3), nn.Tanh(),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        down(2, 64, 4), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),  # (B, 64, 14, 14)
        down(64, 128, 4), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),  # (B, 128, 7, 7)
        down(128, 256, 3), nn.BatchNorm2d(256), nn.LeakyReLU(0.2),  # (B, 256, 4, 4)
        nn.Flatten(),
    )
    return MultiplyGenerator(generator, hp), ChannelDiscriminator(discriminator, 256 * 4 * 4, hp)
# fmt: on


class MultiplyTrainer(ClassicTrainer):
    """Two generator steps; both networks in eval mode after the first 60,000 images."""

    FIXED: ClassVar[dict[str, Any]] = ClassicTrainer.FIXED | {"conditional": True}

    def build_optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        hp = self.hyperparameters
        g, _ = super().build_optimizers()
        betas = hp.beta1, hp.beta2
        return g, torch.optim.RAdam(self.discriminator.parameters(), hp.discriminator_lr, betas)

    def set_mode(self) -> None:
        for network in (self.generator, self.discriminator):
            network.train(self.images_seen < FROZEN_AFTER)

    def update_generator(self, real: Tensor, y: Tensor) -> Metrics:
        metrics: Metrics = {}
        for _ in range(GENERATOR_STEPS):
            metrics = Trainer.update_generator(self, real, self.draw_labels())
        return metrics


BUILDERS["cdcgan-multiply"] = build
TRAINERS["cdcgan-multiply"] = MultiplyTrainer
