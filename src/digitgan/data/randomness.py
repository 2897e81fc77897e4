"""Where all random numbers come from: seeds of (seed, position), and sources of their own."""

import numpy as np
import torch

from ..errors import InvalidInputError, short_repr


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
    elif isinstance(seed, int | np.integer) and type(seed) is not bool and 0 <= seed < 2**32:
        source.manual_seed(int(seed))
    else:
        rule = f"must be a whole number from 0 to {2**32 - 1}"
        raise InvalidInputError(f"seed = {short_repr(seed)}: {rule}")
    return source
