"""Conditional DCGAN with a thin generator, and a discriminator whose weights are clipped.

Both networks have BatchNorm after their activations. The discriminator has one branch for the image
and one for the label; its weights are clipped to 0.01 before each of its steps. The labels of
generated digits are drawn anew, uniformly, in each step.

Fault kept: clipping bounds the gradients for a Wasserstein loss (arXiv 1701.07875), while this
system plays for cross-entropy. D learns all the same, its layers being wide.

Deviations: the discriminator returns logits, and its last convolution is a linear layer: the same
function. It sums its first trunk layer over both branches and computes the label's part once for
the ten labels, not once for each image: the same function as well, but for rounding.
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, unfold

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics
from .classic import CLASSES, ClassicTrainer, classic

PRESET = classic(
    "cdcgan-clipped", 2e-4, conditional=True, z_dim=100, embedding_dim=10, batch_size=64, epochs=26
)
WEIGHT_CLIP = 0.01  # the largest weight of the discriminator
INIT_STD = 0.02  # standard deviation of new weights


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    networks = build_generator(hp), TwoBranchDiscriminator(hp)
    for network in networks:
        network.apply(initialise)
    return networks


def build_generator(hp: Hyperparameters) -> Generator:
    """A thin generator, with BatchNorm after its activations."""
    inputs = hp.z_dim + hp.embedding_dim
    return Generator(nn.Sequential(
        nn.Unflatten(1, (inputs, 1, 1)),
        nn.ConvTranspose2d(inputs, 50, 4, 2, 1), nn.ReLU(), nn.BatchNorm2d(50),  # (B, 50, 2, 2)
        nn.ConvTranspose2d(50, 30, 4, 2, 1), nn.ReLU(), nn.BatchNorm2d(30),  # (B, 30, 4, 4)
        nn.ConvTranspose2d(30, 15, 4), nn.ReLU(), nn.BatchNorm2d(15),  # (B, 15, 7, 7)
        nn.ConvTranspose2d(15, 8, 4, 2, 1), nn.ReLU(), nn.BatchNorm2d(8),  # (B, 8, 14, 14)
        nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh(),  # (B, 1, 28, 28)
    ), hp)


class PatchConv2d(nn.Conv2d):
    """A convolution as one matrix product over all patches of its input: the same function, faster
    on a CPU where maps are small and have hundreds of channels."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride  # square
        padding = cast(tuple[int, int], self.padding)
        height, width = ((n + 2 * padding[0] - kernel) // stride + 1 for n in x.shape[2:])
        patches = unfold(x, kernel, padding=padding[0], stride=stride)
        rows = patches.transpose(1, 2).flatten(0, 1)  # (B * positions, channels * kernel ** 2)
        maps = linear(rows, self.weight.flatten(1), self.bias)  # (B * positions, out_channels)
        return maps.unflatten(0, (len(x), height, width)).permute(0, 3, 1, 2)


class TwoBranchDiscriminator(Discriminator):
    """An image branch and a label branch of so many channels, and a trunk that sees the maps of
    both.

    The trunk's first layer, `merge`, has four times the channels of a branch, and each further one
    twice those before it. `norm` is the layer after each activation.
    """

    def __init__(
        self,
        hyperparameters: Hyperparameters,
        channels: int = 64,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        c = channels
        trunk = nn.Sequential(
            nn.LeakyReLU(0.2), norm(4 * c),  # (B, 256, 14, 14)
            nn.Conv2d(4 * c, 8 * c, 4, 2, 1), nn.LeakyReLU(0.2), norm(8 * c),  # (B, 512, 7, 7)
            PatchConv2d(8 * c, 16 * c, 4, 2, 2), nn.LeakyReLU(0.2), norm(16 * c),  # (B, 1024, 4, 4)
            nn.Flatten(),
        )
        super().__init__(trunk, 16 * c * 4 * 4, hyperparameters.replace(conditional=False))
        self.image_branch = nn.Sequential(nn.Conv2d(1, c, 3, 1, 1), nn.LeakyReLU(0.2))
        self.embedding = nn.Embedding(CLASSES, 56 * 56)
        self.label_branch = nn.Sequential(
            nn.Unflatten(1, (1, 56, 56)), nn.Conv2d(1, c, 4, 2, 1), nn.LeakyReLU(0.2)
        )
        self.merge = nn.Conv2d(2 * c, 4 * c, 4, 2, 1)
# fmt: on

    def logits_and_classes(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        of_image, of_label = self.merge.weight.chunk(2, 1)  # (256, 64, 4, 4) each
        planes = self.label_branch(cast(nn.Embedding, self.embedding).weight)  # (10, 64, 28, 28)
        label_part = conv2d(planes, of_label, None, 2, 1)  # (10, 256, 14, 14)
        image_part = conv2d(self.image_branch(x), of_image, self.merge.bias, 2, 1)
        features = self.net(image_part + label_part[y]).float()  # (B, 16384)
        with torch.autocast(x.device.type, enabled=False):
            return self.to_logit(features).squeeze(1), None


def initialise(layer: nn.Module) -> None:
    """Draw a layer's weights from N(0, 0.02), those of BatchNorm from N(1, 0.02); biases are 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, INIT_STD)
        nn.init.zeros_(cast(Tensor, layer.bias))
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, INIT_STD)


class ClippedTrainer(ClassicTrainer):
    """The discriminator's weights are clipped before each of its steps."""

    FIXED: ClassVar[dict[str, Any]] = ClassicTrainer.FIXED | {"conditional": True}

    def fake_labels(self, y: Tensor) -> Tensor:
        return self.draw_labels()

    def update_discriminator(self, real: Tensor, y: Tensor) -> Metrics:
        with torch.no_grad():
            for weights in self.discriminator.parameters():
                weights.clamp_(-WEIGHT_CLIP, WEIGHT_CLIP)
        return super().update_discriminator(real, y)


BUILDERS["cdcgan-clipped"] = build
TRAINERS["cdcgan-clipped"] = ClippedTrainer
