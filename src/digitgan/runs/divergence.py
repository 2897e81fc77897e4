"""When training has diverged, and what to tell the user."""

from collections.abc import Mapping

from torch import nn
from torch.nn.utils import parameters_to_vector

from ..errors import TrainingDivergedError

BOUND = 1e5  # for the mean of a loss or a logit, and for a weight
RELATIVISTIC_BOUND = (
    30.0  # for relativistic losses, which stay near log 2 while neither network wins
)


def refuse_divergence(
    means: Mapping[str, float], networks: Mapping[str, nn.Module], relativistic: bool, where: str
) -> None:
    """Raise `TrainingDivergedError` where a mean or a weight is out of bounds or no number.

    means: losses and logits of the epoch so far, by name. where: step, epoch and folder, for the
    message.
    """
    values = dict(means)
    for name, network in networks.items():
        weights = parameters_to_vector(network.parameters()).detach()
        values[f"the {name}'s largest weight"] = float(weights.abs().max())
    for name, value in values.items():
        paired = relativistic and name.endswith("_loss")
        if not abs(value) <= (RELATIVISTIC_BOUND if paired else BOUND):
            raise TrainingDivergedError(
                f"{name} is {value:g} {where}; lower learning rates, a larger gamma or "
                "precision='fp32' may help, in another run_dir"
            )
