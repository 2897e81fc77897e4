"""All systems by name."""

from typing import Any

from ..errors import InvalidInputError
from ..hyperparameters import Hyperparameters
from ..models import load_generator
from ..trainer import Trainer
from . import (
    cdcgan_clipped,
    cdcgan_gp,
    cdcgan_multiply,
    cnn,
    dcgan,
    fcnn,
    fcnn_mended,
    linear,
    resize,
)

__all__ = ["SYSTEMS", "Trainer", "load_generator", "system"]
SYSTEMS: dict[str, Hyperparameters] = {
    "cdcgan": Hyperparameters(),
    "dcgan": dcgan.PRESET,
    "cdcgan-multiply": cdcgan_multiply.PRESET,
    "cdcgan-clipped": cdcgan_clipped.PRESET,
    "cdcgan-gp": cdcgan_gp.PRESET,
    "fcnn": fcnn.PRESET,
    "fcnn-mended": fcnn_mended.PRESET,
    "cnn": cnn.PRESET,
    "linear": linear.PRESET,
    "resize": resize.PRESET,
}


def system(name: str, **changes: Any) -> Hyperparameters:
    """The preset of that name with some fields changed.

    Raises `InvalidInputError` where there is no such preset.
    """
    if name not in SYSTEMS:
        raise InvalidInputError(f"system = {name!r}: must be one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name].replace(**changes)
