"""The device and the processes of a run: one, or several that share every batch (torchrun)."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ..errors import InvalidInputError, ProcessLostError


def native_bf16(device: torch.device) -> bool:
    """Whether the device multiplies matrices in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = cpu_capabilities() if device.type == "cpu" else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def cpu_capabilities() -> Mapping[str, Any]:
    """What torch knows of this processor's instructions; torch 2.9 knows nothing."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


class Processes:
    """This process among those of its run; alone, sharing and averaging change nothing.

    `device`: where this process computes. `count`: how many there are. `is_main`: whether this one
    writes.
    """

    def __init__(self, batch_size: int, run_dir: Path) -> None:
        self._accelerator = Accelerator(cpu=not torch.accelerator.is_available())
        self._run_dir = run_dir
        self.device: torch.device = self._accelerator.device
        self.count: int = self._accelerator.num_processes
        self.is_main: bool = self._accelerator.is_main_process
        if batch_size % self.count:
            told = f"batches of {batch_size} for {self.count} processes"
            raise InvalidInputError(f"{told}: must divide evenly")

    def shard(self, batch: Tensor) -> Tensor:
        """This process's part of a batch (B, ...): every `count`-th row."""
        return batch[self._accelerator.process_index :: self.count]

    def mean(self, values: Any) -> Tensor:
        """The means of a tensor's or a list's numbers over all processes, float32, on the
        device."""
        values = torch.as_tensor(values, dtype=torch.float32, device=self.device)
        if self.count == 1:
            return values
        try:
            return self._accelerator.reduce(values, "mean")
        except RuntimeError as error:
            reason = f"another process of this run has ended ({str(error).splitlines()[0]})"
            hint = f"started again, it continues from {self._run_dir}'s last checkpoint"
            raise ProcessLostError(f"{reason}: training stopped; {hint}") from None

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any of the processes. Alone, nothing waits for the device."""
        return flag if self.count == 1 else bool(self.mean([flag]) > 0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes, each of which saw its part of the
        batch."""
        if self.count > 1:
            gradients = [p.grad for p in parameters if p.grad is not None]
            vector_to_parameters(self.mean(parameters_to_vector(gradients)), gradients)

    def main_first(self) -> AbstractContextManager[None]:
        """A block that the main process of each machine runs before the others."""
        return self._accelerator.local_main_process_first()

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self._accelerator.wait_for_everyone()
