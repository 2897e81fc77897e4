"""Images as networks see them, and as `Digits` holds them."""

import torch
from torch import Tensor


def from_pixels(pixels: Tensor) -> Tensor:
    """uint8 (B, 28, 28), ink 255 on paper 0 -> float32 (B, 1, 28, 28) in [-1, 1].

    In colour (B, 28, 28, 3) becomes (B, 3, 28, 28).
    """
    return channels_first(pixels).float() * (2 / 255) - 1


def channels_first(pixels: Tensor) -> Tensor:
    """Images (B, 28, 28) as (B, 1, 28, 28), in colour (B, 28, 28, 3) as (B, 3, 28, 28)."""
    return pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)


def to_pixels(images: Tensor) -> Tensor:
    """Images (B, 1, 28, 28) in [-1, 1] -> uint8 (B, 28, 28), ink 255 on paper 0.

    In colour (B, 3, 28, 28) becomes (B, 28, 28, 3).
    """
    pixels = ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.squeeze(1) if pixels.shape[1] == 1 else pixels.permute(0, 2, 3, 1)
