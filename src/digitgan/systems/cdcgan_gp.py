"""Our own variant of `cdcgan-clipped`: the Wasserstein loss, and WGAN-GP's penalty (arXiv
1704.00028, lambda 10) in place of clipping; one step of the discriminator for each of the
generator."""

import torch
from torch import Tensor

from ..losses import wgan_gp_penalty
from ..models import BUILDERS
from ..runs.run import TRAINERS
from ..trainer import Trainer
from .cdcgan_clipped import SIZES, build
from .classic import classic

PENALTY = {"loss": "wasserstein", "gamma": 10.0, "gamma_end": 10.0, "penalty_interval": 1}
PRESET = classic("cdcgan-gp", 2e-4, **SIZES, **PENALTY)


class GradientPenaltyTrainer(Trainer):
    """The penalty between real and generated images, in place of R1 + R2."""

    def penalty(self, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        alpha = self.processes.shard(torch.rand(self.batch_size, 1, 1, 1)).to(self.device)
        return wgan_gp_penalty(self.discriminator, real, fake, y, alpha)


BUILDERS["cdcgan-gp"] = build
TRAINERS["cdcgan-gp"] = GradientPenaltyTrainer
