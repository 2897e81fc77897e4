"""Averaged (EMA) weights of a generator."""

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class AveragedNetwork(nn.Module, Generic[Network]):
    """A copy of a network whose weights follow the network's, as `module`.

    An update reads nothing back from the device. The copy holds no reference to the network, so
    that it can be pickled by itself.
    """

    n_averaged: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module: Network = copy.deepcopy(network)
        device = next(network.parameters()).device
        self.register_buffer("n_averaged", torch.tensor(0, device=device))

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.module(*inputs)

    @torch.no_grad()
    def update(self, network: nn.Module, alpha: float) -> None:
        """Move weights and buffers the fraction `alpha` (0..1) of the way to the network's."""
        averaged = [*self.module.parameters(), *self.module.buffers()]
        current = [*network.parameters(), *network.buffers()]
        pairs = list(zip(averaged, current, strict=True))
        numbers = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([a for a, _ in numbers], [c for _, c in numbers], alpha)
        for counter, value in pairs:  # BatchNorm's counters of batches
            if not counter.is_floating_point():
                counter.copy_(value)
        self.n_averaged += 1
