"""What several older systems have in common: a plain game of two steps, and labels as a plane."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..aliases import is_of_old_form
from ..data.spec import MNIST
from ..errors import InvalidInputError, RunFolderError
from ..hyperparameters import Hyperparameters
from ..models import Discriminator
from ..trainer import Metrics, Trainer

CLASSES = len(MNIST.classes)  # the networks of older systems are for as many, and for MNIST's size


def classic(system: str, learning_rate: float, **changes: Any) -> Hyperparameters:
    """A preset of its time: cross-entropy, no penalty, no schedule, no averaged weights, torch's
    Adam, networks of its own."""
    fields: dict[str, Any] = {
        "system": system,
        "architecture": "own",
        "conditional": False,
        "loss": "non-saturating",
        "aux_weight": 0.0,
        "gamma": 0.0,
        "updates": "alternating",
        "generator_lr": learning_rate,
        "discriminator_lr": learning_rate,
        "beta1": 0.9,
        "beta2": 0.999,
        "schedule": "constant",
        "ema_half_life": 0.0,
        "z_dim": 64,
        "batch_size": 128,
    }
    return Hyperparameters(**{**fields, **changes})


class ClassicTrainer(Trainer):
    """One step of the discriminator, then one of the generator; generated digits may have labels of
    their own.

    Such a system's steps know no penalty and no shifts, and have one loss and one order: other
    values of these fields are refused, since they would change nothing.
    """

    FIXED: ClassVar[dict[str, Any]] = {
        "architecture": "own",
        "conditional": False,
        "loss": "non-saturating",
        "aux_weight": 0.0,
        "gamma": 0.0,
        "updates": "alternating",
        "augment_shift": 0,
    }

    def start_over(self) -> None:
        """Forget all training; refuse values that this system's steps do not know."""
        for name, value in self.FIXED.items():
            if (given := getattr(self.hyperparameters, name)) != value:
                rule = f"{value!r}, as the system {self.hyperparameters.system!r} fixes it"
                raise InvalidInputError(f"{name} = {given!r}: must be {rule}")
        super().start_over()

    def load_checkpoint(self) -> bool:
        """Take over the last checkpoint; one that an earlier version wrote is refused.

        Its networks and steps were others, some of them in the same shapes.
        """
        path = self.run_dir / "hyperparameters.json"
        if path.is_file() and is_of_old_form(path.read_text(encoding="utf-8")):
            told = f"a run of an earlier {self.hyperparameters.system!r}, which had other networks"
            rule = "it cannot be continued; load_generator reads its generator.safetensors"
            raise RunFolderError(f"{self.run_dir}: {told}: {rule}")
        return super().load_checkpoint()

    def fake_labels(self, y: Tensor) -> Tensor:
        """The labels (B,) of a step's generated digits: those of the batch's real digits."""
        return y

    def draw_labels(self) -> Tensor:
        """New labels (B,), each class as likely as the others."""
        labels = torch.randint(CLASSES, (self.batch_size,))
        return self.processes.shard(labels).to(self.device, non_blocking=True)

    def update_discriminator(self, real: Tensor, y: Tensor) -> Metrics:
        labels = self.fake_labels(y)
        with torch.no_grad():
            fake = self.generate(labels).float()  # (B, 1, 28, 28)
        return self.tell_apart(real, y, fake, labels)

    def tell_apart(self, real: Tensor, y: Tensor, fake: Tensor, labels: Tensor) -> Metrics:
        """One step of the discriminator, on real images with labels y and generated ones."""
        with self.autocast():
            real_logits = self.discriminator(real, y)  # (B,)
            fake_logits = self.discriminator(fake, labels)  # (B,)
        loss = self.losses[0](real_logits, fake_logits)
        self.optimise(self.d_optimizer, loss)
        return self.metrics_of(loss, real_logits, fake_logits)

    def update_generator(self, real: Tensor, y: Tensor) -> Metrics:
        return super().update_generator(real, self.fake_labels(y))

    def metrics_of(self, loss: Tensor, real_logits: Tensor, fake_logits: Tensor) -> Metrics:
        """What a step of the discriminator tells."""
        means = {"real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        return means | {"discriminator_loss": loss, "penalty": loss.new_zeros(())}


class FromRange(nn.Module):
    """Images from a range of their own, where paper and ink have these values, to [-1, 1].

    In eval mode what leaves [-1, 1] is cut: it is paper or ink.
    """

    def __init__(self, paper: float, ink: float) -> None:
        super().__init__()
        self.paper, self.ink = paper, ink

    def forward(self, x: Tensor) -> Tensor:
        images = (x.float() - self.paper) * (2 / (self.ink - self.paper)) - 1
        return images if self.training else images.clamp(-1, 1)


class ToRange(FromRange):
    """Images from [-1, 1] to that range: the first layer of its discriminator."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) * ((self.ink - self.paper) / 2) + self.paper


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
