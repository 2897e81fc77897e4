"""The modes of torch in which digitgan computes, whatever its caller has set."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def ordinary_torch() -> Iterator[None]:
    """A block, or as `@ordinary_torch()` a function, in which torch's global modes are as at its
    start: float32 and the CPU by default, gradients on, no inference mode, no autocast.

    Afterwards the caller's modes hold again. So a float64 that an earlier cell made the default
    changes no result, and a network that is made under `torch.no_grad()` can be trained.
    """
    dtype = torch.get_default_dtype()
    device = torch.get_default_device().type
    on_cpu = contextlib.nullcontext() if device == "cpu" else torch.device("cpu")
    torch.set_default_dtype(torch.float32)
    try:
        with on_cpu, _no_autocast(), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def _no_autocast() -> Iterator[None]:
    """A block outside of all autocast blocks that it stands in.

    Disabling them would not be enough: inside of any, torch keeps the bfloat16 copies of weights,
    which are outdated after an optimiser's step.
    """
    depth = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    if not depth:
        yield
        return
    accelerator = torch.accelerator.current_accelerator()
    kinds = {"cpu", accelerator.type if accelerator else "cpu"}
    enabled = {kind: torch.is_autocast_enabled(kind) for kind in kinds}
    _leave_autocast(depth, kinds)
    try:
        yield
    finally:
        for _ in range(depth):
            torch.autocast_increment_nesting()
        for kind, value in enabled.items():
            torch.set_autocast_enabled(kind, value)


def _leave_autocast(depth: int, kinds: set[str]) -> None:
    torch.clear_autocast_cache()
    for _ in range(depth):
        torch.autocast_decrement_nesting()
    for kind in kinds:
        torch.set_autocast_enabled(kind, False)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in eval mode; afterwards it is in the mode it was found in."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
