"""A training set in shuffled batches."""

import math
from zlib import crc32

import torch
from torch import Tensor

from .digits import Digits, release
from .randomness import random_seed, random_source

RESIDENT_BYTES = 2**30  # a set of at most so many bytes is kept on a GPU whole


class Batches:
    """Batches of some `Digits`; what a step's batch holds depends on the seed and the step alone.

    An epoch has `images_per_epoch` images, drawn without replacement; a set of fewer is passed
    several times, each time in another order. An incomplete last batch is left out. `checksums`
    tell these digits, and their labels, from others.
    """

    def __init__(
        self,
        digits: Digits,
        batch_size: int,
        images_per_epoch: int,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.digits = digits
        self.batch_size = min(batch_size, len(digits))
        self.steps_per_epoch = images_per_epoch // self.batch_size
        self._passes = math.ceil(images_per_epoch / len(digits))
        some = digits.images[:: len(digits) // 1000 + 1]
        self.checksums = {
            "crc": crc32(some.tobytes(), len(digits)),
            "labels_crc": crc32(digits.labels.tobytes()),
        }
        self.device = device or torch.device("cpu")
        self._seed, self._epoch, self._order = seed, -1, torch.empty(0)
        self._resident: tuple[Tensor, Tensor] | None = None  # the whole set, on the device
        if self.device.type != "cpu" and digits.images.nbytes <= RESIDENT_BYTES:
            images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
            self._resident = images.to(self.device), labels.to(self.device)

    def rows(self, step: int) -> Tensor:
        """Which images a step sees, (batch_size,)."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            source, count = random_source(random_seed(self._seed, epoch, stream=1)), self._passes
            orders = [torch.randperm(len(self.digits), generator=source) for _ in range(count)]
            self._order, self._epoch = torch.cat(orders), epoch
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]

    def load(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, 28, 28) and labels int64 (B,), on the device."""
        if self._resident:
            rows = rows.to(self.device, non_blocking=True)
            return self._resident[0][rows], self._resident[1][rows]
        digits = self.digits
        images, labels = (
            torch.from_numpy(part[rows.numpy()]) for part in (digits.images, digits.labels)
        )
        release(digits.images)  # where they lie in a file, their pages are given back
        return images.to(self.device), labels.to(self.device)
