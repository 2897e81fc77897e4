"""Compiled networks with CUDA graphs, an option for GPUs: the one place where torch.compile stands.

A step of networks this small is many short kernels; a GPU waits for Python between them. On CPUs it
does not pay: benchmark.ipynb has the figures.
"""

from typing import Any

import torch
from torch import Tensor


def compile_networks(trainer: Any, backend: str = "inductor") -> None:
    """Compile a trainer's networks, if they are not; as a callback: `train(compile_networks)`.

    On CUDA the compiled networks run as CUDA graphs (not tried: `digitgan train --compile` on a
    machine with a GPU is the command to try). The gradient penalty is computed without them, since
    torch.compile knows no second derivatives. Results differ from uncompiled ones by rounding, and
    the first steps wait for the compiler, which on a CPU needs a C++ compiler.
    """
    discriminator, penalty = trainer.discriminator, trainer.penalty
    if "logits_and_classes" in vars(discriminator):
        return
    mode = "reduce-overhead" if backend == "inductor" else None  # CUDA graphs, where there is CUDA
    plain = discriminator.logits_and_classes
    compiled = torch.compile(plain, backend=backend, mode=mode)

    def penalty_of_plain_networks(real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        discriminator.logits_and_classes = plain
        try:
            return penalty(real, fake, y)
        finally:
            discriminator.logits_and_classes = compiled

    discriminator.logits_and_classes = compiled
    trainer.penalty = penalty_of_plain_networks
    trainer.generator.compile(backend=backend, mode=mode)
