"""The last steps of `imitate`: the ten digits of a latent come nearer to the given ones in the eyes
of a style encoder, which has learned from real writers what one hand keeps."""

import functools

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..data.digits import Digits
from ..evaluation.writers import ENCODERS, StyleEncoder, load_style_encoder
from ..models import Generator
from .sampling import writes_digits

KEPT = 2  # candidates that are refined
WEIGHT = 0.2  # of the style distance, beside the objective of the search


@functools.lru_cache(1)
def style_encoder() -> StyleEncoder:
    """The encoder that takes part in the inversion; its weights stay."""
    return load_style_encoder("residual").requires_grad_(False)


def knows_styles(generator: Generator) -> bool:
    """Whether a style encoder can judge what a generator writes: Western digits."""
    return writes_digits(generator) and ENCODERS["residual"].is_file()


class StyleDistance:
    """distance(images): how far the style of ten digits, images (k, 10, 28, 28) with ink 1 on paper
    0, is from that of given digits, (k,): one minus the cosine, 0..2.

    Styles are compared across digits: those whose label is given are left out.
    """

    def __init__(self, digits: Digits, bf16: bool) -> None:
        self.bf16 = bf16
        given = torch.from_numpy(digits.labels).unique()
        others = [y for y in range(10) if y not in given]
        self.labels = torch.tensor(others or list(range(10)))
        images = torch.from_numpy(digits.images).unsqueeze(1).float() / 255
        with torch.no_grad():
            styles = style_encoder()(images, torch.from_numpy(digits.labels))  # (n, d)
            self.target = normalize(styles.mean(0), dim=0)  # (d,)

    def __call__(self, images: Tensor) -> Tensor:
        chosen = images[:, self.labels]  # (k, m, 28, 28)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            styles = style_encoder()(
                chosen.flatten(0, 1).unsqueeze(1), self.labels.repeat(len(images))
            )
        mean = styles.unflatten(0, (len(images), -1)).mean(1)  # (k, d)
        return 1 - normalize(mean, dim=1) @ self.target
