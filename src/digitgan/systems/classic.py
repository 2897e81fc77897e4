"""What several older systems have in common."""

from typing import Any

import torch
from torch import Tensor, nn

from ..hyperparameters import Hyperparameters
from ..models import CLASSES, Discriminator


def classic(system: str, learning_rate: float, **changes: Any) -> Hyperparameters:
    """A preset of its time: cross-entropy, no penalty, no schedule, torch's Adam, networks of its
    own."""
    fields: dict[str, Any] = {
        "system": system,
        "architecture": "own",
        "loss": "non-saturating",
        "aux_weight": 0.0,
        "gamma": 0.0,
        "updates": "alternating",
        "generator_lr": learning_rate,
        "discriminator_lr": learning_rate,
        "beta1": 0.9,
        "beta2": 0.999,
        "schedule": "constant",
        "z_dim": 64,
        "batch_size": 128,
    }
    return Hyperparameters(**{**fields, **changes})


class ChannelDiscriminator(Discriminator):
    """A discriminator whose label enters as a second channel of the image: an embedding of 28x28
    values."""

    embedding: nn.Embedding

    def __init__(self, net: nn.Module, features: int, hyperparameters: Hyperparameters) -> None:
        super().__init__(net, features, hyperparameters.replace(conditional=False))
        self.embedding = nn.Embedding(CLASSES, 28 * 28)

    def logits_and_classes(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        plane = self.embedding(y).unflatten(1, (1, 28, 28))  # (B, 1, 28, 28)
        features = self.net(torch.cat([x, plane], 1)).float()  # (B, features)
        with torch.autocast(x.device.type, enabled=False):
            return self.to_logit(features).squeeze(1), None
