"""Where all random numbers come from: seeds of (seed, position), and sources of their own."""

import torch

from ..bounds import whole_number


def random_seed(seed: int, position: int, stream: int = 0) -> int:
    """The seed of a step (stream 0) or of an epoch's shuffle (stream 1), from a run's seed.

    torch takes 32 bits: the run's seed is spread over them by a large odd factor, and its position
    and stream are mixed in by exclusive or, so that two seeds share no step.
    """
    return (position << 1 | stream) ^ (seed * 0x9E3779B9 % 2**32)


def random_source(seed: int | None = None) -> torch.Generator:
    """Random numbers of their own, from a seed of 0 to 2**32 - 1 or (None) from a fresh one."""
    source = torch.Generator()
    if seed is None:
        source.seed()
    else:
        source.manual_seed(whole_number("seed", seed, 0, 2**32 - 1))
    return source
