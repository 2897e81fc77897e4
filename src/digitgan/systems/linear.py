"""Four fully connected layers each, widening and narrowing, with dropout in both networks.

The generator's dropout is what keeps this system from collapse. It is off in sampling. Latents are
uniform in [-1, 1]. Real images have the target 0.9 in the discriminator's step.

Deviation: the discriminator returns logits, as in the recipe; seeds are digitgan's.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from .classic import ClassicTrainer, classic

PRESET = classic(
    "linear", 2e-3, z_dim=100, batch_size=64, epochs=100, loss="smoothed", precision="fp32"
)


class UniformGenerator(Generator):
    """A generator whose latents are uniform in [-1, 1]."""

    def draw_latents(self, n: int, source: torch.Generator | None = None) -> Tensor:
        return torch.rand(n, self.hyperparameters.z_dim, generator=source) * 2 - 1


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(128, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)),
    )
    discriminator = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 128), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Dropout(0.3),
        nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3),
    )
    return UniformGenerator(generator, hp), Discriminator(discriminator, 32, hp)
# fmt: on


class LinearTrainer(ClassicTrainer):
    """Its own loss in place of the others'."""

    FIXED: ClassVar[dict[str, Any]] = ClassicTrainer.FIXED | {"loss": "smoothed"}


BUILDERS["linear"] = build
TRAINERS["linear"] = LinearTrainer
