"""How far two sets of images lie apart: Fréchet and kernel distance, precision and recall,
neighbours."""

import contextlib
import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from ..data.digits import Digits
from ..errors import InvalidInputError

NEIGHBOURS = 5  # the k of precision, recall, density and coverage


def frechet_distance(features: Tensor, real_features: Tensor) -> float:
    """The Fréchet distance (Heusel et al., arXiv 1706.08500) between two sets of features (N, F),
    (M, F).

    The features are the classifier's. With those of Inception it would be the FID. Raises
    `InvalidInputError` for a set of less than two.
    """
    if min(len(features), len(real_features)) < 2:
        told = f"Fréchet distance of {len(features)} images to {len(real_features)}"
        raise InvalidInputError(f"{told}: there must be 2 or more on either side")
    a, b = features.double(), real_features.double()
    spread, real_spread = a.T.cov(), b.T.cov()  # (F, F)
    # the trace of the root of a matrix is the sum of the roots of its eigenvalues
    common = torch.linalg.eigvals(spread @ real_spread).sqrt().real.sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return float(means + spread.trace() + real_spread.trace() - 2 * common)


def kernel_distance(features: Tensor, real_features: Tensor, seed: int = 0) -> float:
    """The kernel distance (Bińkowski et al., arXiv 1801.01401) of features; `seed` draws its
    subsets."""
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(1000, len(features), len(real_features))
    with warnings.catch_warnings():  # that it keeps all features
        warnings.simplefilter("ignore")
        distance = KernelInceptionDistance(
            feature=nn.Identity(),
            subset_size=size,
            sync_on_compute=False,  # one process's
        )
    distance.update(real_features, real=True)
    distance.update(features, real=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return float(distance.compute()[0])


def precision_recall(features: Tensor, real_features: Tensor) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al., arXiv 1904.06991), density and coverage (Naeem et
    al., arXiv 2002.09797), by name, among the `NEIGHBOURS` nearest neighbours."""
    from joblib import parallel_config
    from prdc import compute_prdc

    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, parallel_config("sequential"):  # it prints, and its threads race to warn
        found = compute_prdc(real_features.numpy(), features.numpy(), NEIGHBOURS)
    return {name: float(value) for name, value in found.items()}


def nearest(digits: Digits, train: Digits) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each digit to the nearest training digit (Euclidean, ink 1), and its index: (N,),
    (N,)."""
    everything = torch.from_numpy(train.images).flatten(1).float() / 255  # (60,000, 784)
    squares = everything.square().sum(1)
    distances, indices = [], []
    for pixels in torch.from_numpy(digits.images).flatten(1).split(1000):
        batch = pixels.float() / 255
        squared, index = (squares - 2 * batch @ everything.T).min(1)
        distances.append((squared + batch.square().sum(1)).clamp_min(0).sqrt())
        indices.append(index)
    return torch.cat(distances).numpy(), torch.cat(indices).numpy()
