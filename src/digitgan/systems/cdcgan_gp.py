"""Our own variant of `cdcgan-clipped`: WGAN-GP's penalty (arXiv 1704.00028) in place of clipping.

The generator is that of `cdcgan-clipped`. The loss is Wasserstein's, the penalty between real and
generated images has the weight 10, and Adam has the paper's betas (0, 0.9). The discriminator has
no BatchNorm, since the penalty is one of single images (section 4 of the paper), and a quarter of
the channels: a penalty costs three passes.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..hyperparameters import Hyperparameters
from ..losses import squared_gradient_norm
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics, Trainer
from .cdcgan_clipped import TwoBranchDiscriminator, build_generator
from .classic import ClassicTrainer, classic

PRESET = classic(
    "cdcgan-gp",
    5e-4,
    conditional=True,
    loss="wasserstein",
    gamma=10.0,
    gamma_end=10.0,
    penalty_interval=1,
    z_dim=100,
    embedding_dim=10,
    batch_size=64,
    epochs=10,
    beta1=0.0,
    beta2=0.9,
)


def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks, with torch's own initialisation."""
    return build_generator(hp), TwoBranchDiscriminator(hp, 16, lambda _: nn.Identity())


def wgan_gp_penalty(
    discriminator: nn.Module, real: Tensor, fake: Tensor, y: Tensor, alpha: Tensor
) -> Tensor:
    """E (||grad D(x')|| - 1)^2 at x' = alpha x + (1 - alpha) G(z), with alpha (B, 1, 1, 1) uniform
    in [0, 1] (Gulrajani et al., arXiv 1704.00028, eq. 3)."""
    images = torch.lerp(fake, real, alpha).detach().requires_grad_()  # (B, C, H, W)
    norm = squared_gradient_norm(discriminator(images, y), images).add(1e-12).sqrt()
    return (norm - 1).square().mean()


class GradientPenaltyTrainer(ClassicTrainer):
    """The penalty between real and generated images of the same labels, in place of R1 + R2."""

    FIXED: ClassVar[dict[str, Any]] = {"architecture": "own", "conditional": True}

    def update_discriminator(self, real: Tensor, y: Tensor) -> Metrics:
        return Trainer.update_discriminator(self, real, y)

    def penalty(self, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        alpha = self.processes.shard(torch.rand(self.batch_size, 1, 1, 1))
        alpha = alpha.to(self.device, non_blocking=True)
        return wgan_gp_penalty(self.discriminator, real, fake, y, alpha)


BUILDERS["cdcgan-gp"] = build
TRAINERS["cdcgan-gp"] = GradientPenaltyTrainer
