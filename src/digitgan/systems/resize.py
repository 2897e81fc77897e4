"""Starts larger than the picture and comes down to it: strided convolutions, each resized to 56x56.

BatchNorm has no gamma and uses batch statistics always, in sampling too: a digit depends a little
on the others that are sampled with it. The discriminator has two optimisers, one for the step on
real images and one for the step on generated ones, and takes 300 steps alone at first.

Fault kept: the statistics of the batch in sampling. Maps that are doubled and at once read by a
stride of 2 hold nothing that the smaller ones did not.

Deviations: the generator ends in 2 sigmoid - 1 and the discriminator begins with the way back to
[0, 1]: the same function. Doubled maps are not made; the convolutions that read them by a stride of
2 read the smaller maps in their place, with kernels that give the same sums. An epoch draws 55,000
of the 60,000 digits anew; the recipe keeps the same 5,000 aside. 91 epochs are 100,100 steps, for
100,300. The original takes D's two steps in one run of its graph, which leaves open whether the
second gradient sees the first step. Here it does: that way it learned better in ten epochs (one
seed).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, pad, softplus

from ..hyperparameters import Hyperparameters
from ..models import BUILDERS, Discriminator, Generator
from ..runs.run import TRAINERS
from ..trainer import Metrics
from .classic import ClassicTrainer, FromRange, ToRange, classic

PRESET = classic(
    "resize",
    1e-4,
    discriminator_lr=3e-4,
    z_dim=100,
    batch_size=50,
    images_per_epoch=55_000,
    epochs=91,
)
DISCRIMINATOR_ALONE = 300  # steps before the generator's first
INIT_STD = 0.02  # of new weights, which are cut at twice that
EPSILON = 1e-5  # of BatchNorm


class BatchStatistics(nn.Module):
    """BatchNorm without gamma, on the statistics of the batch, in eval mode too."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, None, None, None, self.bias, True, 0.0, EPSILON)


class PadSame(nn.Module):
    """One row and one column of zeros, below and right: what a kernel of 3 and a stride of 2 need
    on an even map."""

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, (0, 1, 0, 1))


class DoublingConv2d(nn.Conv2d):
    """A convolution of kernel 3 and stride 2, padded by `PadSame`, over maps of doubled height and
    width, without making them.

    Doubling is bilinear: row 2i is row i of the source, row 2i + 1 the mean of its rows i and i +
    1, and the last row repeats. So the rows 2i, 2i + 1 and 2i + 2 that the kernel reads are sums of
    the source's rows i and i + 1, with the weights of `TAPS`: a kernel of 2 and a stride of 1. At
    the last row (and column) the source has no row i + 1; half of row i stands in for it in row 2i
    + 1, which is added.
    """

    TAPS = ((1.0, 0.5, 0.0), (0.0, 0.5, 1.0))  # of rows i and i + 1 in rows 2i, 2i + 1 and 2i + 2

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        taps = self.weight.new_tensor(self.TAPS)
        along_rows = taps @ self.weight  # (out, in, 2, 3)
        along_columns = self.weight @ taps.T  # (out, in, 3, 2)
        x = pad(x, (0, 1, 0, 1))
        maps = conv2d(x, along_rows @ taps.T, self.bias)  # (B, out, height, width)
        row = conv2d(x[:, :, -2:-1], along_columns[:, :, 1:2] / 2)  # (B, out, 1, width)
        column = conv2d(x[..., -2:-1], along_rows[..., 1:2] / 2)  # (B, out, height, 1)
        corner = conv2d(x[:, :, -2:-1, -2:-1], self.weight[:, :, 1:2, 1:2] / 4)  # (B, out, 1, 1)
        corner = pad(corner, (width - 1, 0, height - 1, 0))
        return maps + pad(row, (0, 0, height - 1, 0)) + pad(column, (width - 1, 0)) + corner


# fmt: off
def build(hp: Hyperparameters) -> tuple[Generator, Discriminator]:
    """The untrained networks."""
    generator = nn.Sequential(
        nn.Linear(hp.z_dim, 3136), nn.Unflatten(1, (1, 56, 56)), BatchStatistics(1), nn.ReLU(),
        PadSame(), nn.Conv2d(1, 50, 3, 2), BatchStatistics(50), nn.ReLU(),  # (B, 50, 28, 28)
        DoublingConv2d(50, 25, 3), BatchStatistics(25), nn.ReLU(),  # 28x28, as if from 56x56
        nn.Conv2d(25, 1, 1), nn.Sigmoid(), FromRange(0.0, 1.0),  # (B, 1, 28, 28)
    )
    discriminator = nn.Sequential(
        ToRange(0.0, 1.0),
        nn.Conv2d(1, 32, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),  # (B, 32, 14, 14)
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.AvgPool2d(2),  # (B, 64, 7, 7)
        nn.Flatten(), nn.Linear(64 * 7 * 7, 1024), nn.ReLU(),
    )
    networks = Generator(generator, hp), Discriminator(discriminator, 1024, hp)
    for network in networks:
        for name, weights in network.named_parameters():
            if "bias" not in name or network is networks[0]:
                nn.init.trunc_normal_(weights, 0.0, INIT_STD, -2 * INIT_STD, 2 * INIT_STD)
            else:
                nn.init.zeros_(weights)
    for layer in generator:
        if isinstance(layer, BatchStatistics):
            nn.init.zeros_(layer.bias)
    return networks
# fmt: on


class ResizeTrainer(ClassicTrainer):
    """Two steps of the discriminator, one for the real images and one for the generated ones, each
    with an optimiser of its own; the discriminator alone at first.

    Each of the two steps moves all logits, by tens after some epochs, and the other moves them
    back. So the logits that are told of generated images are those between the steps.
    """

    def start_over(self) -> None:
        super().start_over()
        self.d_optimizer_fake = self.build_optimizers()[1]

    def parts(self) -> dict[str, Any]:
        return super().parts() | {"d_optimizer_fake": self.d_optimizer_fake}

    def tell_apart(self, real: Tensor, y: Tensor, fake: Tensor, labels: Tensor) -> Metrics:
        with self.autocast():
            real_logits = self.discriminator(real, y)  # (B,)
        real_loss = softplus(-real_logits).mean()
        self.optimise(self.d_optimizer, real_loss)
        with self.autocast():
            fake_logits = self.discriminator(fake, labels)  # (B,)
        fake_loss = softplus(fake_logits).mean()
        self.optimise(self.d_optimizer_fake, fake_loss)
        return self.metrics_of(real_loss + fake_loss, real_logits, fake_logits)

    def update_generator(self, real: Tensor, y: Tensor) -> Metrics:
        if self.step < DISCRIMINATOR_ALONE:
            return {"generator_loss": real.new_zeros(())}
        return super().update_generator(real, y)


BUILDERS["resize"] = build
TRAINERS["resize"] = ResizeTrainer
