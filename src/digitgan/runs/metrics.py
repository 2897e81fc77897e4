"""What a training step measures, summed over an epoch."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

STEP_METRICS = ("discriminator_loss", "generator_loss", "real_logit", "fake_logit", "penalty")
COLUMNS = (*STEP_METRICS, "seconds", "cpu_seconds")


class EpochMetrics:
    """Sums over the epoch so far.

    The tensors of a step stay on their device until `fetch` brings all that wait there at once.
    Sums are float64 on the CPU, in the order of steps, so that it does not matter when they are
    fetched.
    """

    def __init__(self, mean: Callable[[Tensor], Tensor]) -> None:
        self.sums = torch.zeros(len(COLUMNS), dtype=torch.float64)
        self._mean = mean  # over the processes
        self._waiting: list[Tensor] = []
        self._clocks: list[tuple[float, float]] = []

    def add(self, metrics: Mapping[str, Tensor], seconds: float, cpu_seconds: float) -> None:
        """Take a step's metrics (scalars, on the device) and what it took on the clock."""
        self._waiting.append(torch.stack([metrics[name].detach().float() for name in STEP_METRICS]))
        self._clocks.append((seconds, cpu_seconds))

    def fetch(self) -> None:
        """Add what waits on the device to the sums."""
        if not self._waiting:
            return
        clocks = torch.tensor(self._clocks, device=self._waiting[0].device)
        rows = self._mean(
            torch.cat([torch.stack(self._waiting), clocks], 1)
        )  # (steps, len(COLUMNS))
        for row in rows.double().cpu():
            self.sums += row
        self._waiting, self._clocks = [], []

    def means(self, steps: int) -> dict[str, float]:
        """The mean of each column over the epoch's steps so far."""
        self.fetch()
        return dict(zip(COLUMNS, (self.sums / max(1, steps)).tolist(), strict=True))

    def epoch_row(
        self, epoch: int, steps: int, penalties: int, batch_size: int
    ) -> dict[str, float]:
        """The history's row of an epoch of so many steps, of which some had a penalty; begins the
        next."""
        row = self.means(steps)
        row["penalty"] *= steps / max(1, penalties)  # the mean of the steps that have one
        row["seconds"], row["cpu_seconds"] = self.sums[-2:].tolist()
        row["images_per_second"] = steps * batch_size / row["seconds"]
        self.reset()
        return {"epoch": epoch, "images": epoch * steps * batch_size} | row

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums, self._waiting, self._clocks = torch.zeros_like(self.sums), [], []

    def load(self, sums: Tensor) -> None:
        """Take over the sums of a checkpoint, (len(COLUMNS),)."""
        self.reset()
        self.sums = sums.reshape(len(COLUMNS)).double()
