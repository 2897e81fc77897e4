"""Slant, stroke width and height: what a digit's ink says of the handwriting, whatever the
digit."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..data.digits import Digits
from ..runs.torch_modes import ordinary_torch

STROKE_FEATURES = "slant", "stroke width", "height"


@ordinary_torch()
def stroke_features(digits: Digits) -> np.ndarray:
    """Slant, stroke width and height of some `Digits`, (N, 3).

    slant: shear of the ink, its covariance across and up over its variance up; positive leans
    right. stroke width: ink over half the length of its boundary, in pixels. height: standard
    deviation of the ink's vertical position, in pixels.
    """
    grey = torch.from_numpy(digits.images).float() / 255
    return ink_features(grey.mean(3) if grey.ndim == 4 else grey).numpy()


def ink_features(images: Tensor) -> Tensor:
    """The `stroke_features` of images (..., 28, 28), ink 1 on paper 0: (..., 3), with gradients."""
    places = torch.arange(float(images.shape[-1]))
    ink = images.sum((-2, -1)).clamp_min(1e-6)
    rows, columns = images.sum(-1), images.sum(-2)  # (..., 28) each
    up = (rows @ places / ink)[..., None] - places  # (..., 28): height above the centre of the ink
    across = places - (columns @ places / ink)[..., None]
    variance = (rows * up.square()).sum(-1) / ink + 1e-6
    shear = ((images @ across[..., None]).squeeze(-1) * up).sum(-1) / ink
    edges = pad(images, (1, 1, 1, 1))  # the boundary of grey ink is its total variation
    right, down = (
        edges[..., :-1, 1:] - edges[..., :-1, :-1],
        edges[..., 1:, :-1] - edges[..., :-1, :-1],
    )
    boundary = (right.square() + down.square() + 1e-8).sqrt().sum((-2, -1))
    return torch.stack([shear / variance, 2 * ink / boundary, variance.sqrt()], -1)
