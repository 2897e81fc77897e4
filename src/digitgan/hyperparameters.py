"""What decides a training run: one frozen dataclass, each field with its meaning, unit, bound and
source.

Change a default here, override it in a notebook's parameters cell (`Hyperparameters(epochs=3)`), or
read a JSON file (`Hyperparameters.from_json`). Impossible values are refused when the object is
made.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from .aliases import accept_old_fields, old_names, rename_fields, translate_fields
from .bounds import Between, Count, Momentum, Positive, Rate, Weight, checked
from .errors import InvalidInputError, short_repr
from .files import read_small_file


@accept_old_fields
@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Everything that decides what a training run computes.

    Raises `InvalidInputError` with the field, the value and the rule.
    """

    system: str = "cdcgan"
    """The training method: `cdcgan` is the one of `trainer.py`; an older one has a file in
    `systems/`."""

    # ---- data ----
    dataset: str = "MNIST"
    """MNIST, FashionMNIST, KMNIST, EMNIST (its digits), QMNIST, or the name of a folder of IDX
    files."""
    images_per_epoch: Positive = 60_000
    """Images in an epoch, drawn without replacement from the whole set; at most the set's size."""

    # ---- networks ----
    architecture: Literal["dcgan", "dcgan-deep", "dcgan-wide", "dcgan-strided", "own"] = "dcgan"
    """`dcgan-strided`: 7x7 -> 14x14 -> 28x28 by (transposed) convolutions of stride 2 (Radford et
    al., arXiv 1511.06434). `dcgan`: 7x7 -> 28x28 in one stride of 4, by a pixel shuffle (Shi et
    al., arXiv 1609.05158). `dcgan-deep`: the same with one more convolution in the discriminator,
    for long runs. `dcgan-wide`: that with twice the channels. `own`: those of an older system."""
    conditional: bool = True
    """Whether both networks see the label (Mirza & Osindero, arXiv 1411.1784)."""
    z_dim: Annotated[int, Between(1, 4096)] = 32
    """Dimensions of the latent z."""
    embedding_dim: Annotated[int, Between(1, 4096)] = 32
    """Dimensions of the generator's embedding of the label."""

    # ---- losses ----
    loss: Literal["relativistic", "non-saturating", "smoothed", "wasserstein"] = "relativistic"
    """The adversarial loss; the equations are in `losses.py`. `relativistic` pairs each real
    image with a generated one of the same label, against collapse (R3GAN, arXiv 2501.05441)."""
    aux_weight: Weight = 0.3
    """Weight of an auxiliary classifier (arXiv 1610.09585) in the discriminator's loss: the
    cross-entropy, on real images alone, of how well the projection agrees with each label. It has
    no weights of its own. 0 leaves it out; it must be 0 where `conditional` is False."""
    aux_weight_end: Weight = 0.1
    """What `aux_weight` ends at: late in a run it would keep the generator to clear digits."""
    gamma: Weight = 0.2
    """Weight of the gradient penalty, (R1 + R2) / 2 (arXiv 2501.05441). 0 leaves it out."""
    gamma_end: Weight = 0.02
    """What `gamma` ends at: early a penalty steadies the run, late it would blur the images."""
    penalty_interval: Positive = 8
    """Steps from one penalty to the next, each weighted by this number (lazy regularisation, arXiv
    1912.04958, without its change of Adam): a second derivative costs as much as three steps."""
    augment_shift: Annotated[int, Between(0, 14)] = 0
    """Largest shift, in pixels, of what the discriminator sees, around the rim; all images of a
    step move alike. Against overfitting in long runs (after DiffAugment, arXiv 2006.10738)."""

    # ---- optimisers ----
    epochs: Count = 16
    """Epochs of `images_per_epoch` images; 0 leaves the networks untrained."""
    batch_size: Annotated[int, Between(2, 65_536)] = 64
    """Real images in a step, and as many generated ones."""
    generator_lr: Rate = 1.5e-3
    """Adam's learning rate for the generator at the start."""
    discriminator_lr: Rate = 1.5e-3
    """Adam's learning rate for the discriminator at the start."""
    beta1: Momentum = 0.0
    """Adam's momentum: none, since each network's target moves (arXiv 2501.05441)."""
    beta2: Momentum = 0.99
    """Adam's decay of squared gradients: short, for the same reason (as arXiv 1912.04958)."""
    updates: Literal["one-stage", "alternating"] = "one-stage"
    """`alternating`: the generator's step passes new images through the updated discriminator.
    `one-stage`: one pass serves both updates (arXiv 2103.00430), which is a fifth faster. It needs
    a discriminator without BatchNorm."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine`: learning rates go to 0, `gamma` and `aux_weight` to their ends, by half a
    cosine."""

    # ---- averaging ----
    ema_half_life: Annotated[float, Between(0, 10**12)] = 50_000.0
    """Half-life, in images, of the averaged generator's weights (averaging: arXiv 1710.10196)."""
    ema_ramp: Rate = 0.1
    """The half-life is at most this fraction of the images seen (as in arXiv 2006.06676's code)."""

    # ---- the run ----
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16: matrix products in bfloat16, the rest in float32; `auto`: where that is native."""
    seed: Count = 0
    """Of weights, order of images and latents. Same seed, processor and threads: the same bits."""
    snapshot_interval: Count = 0
    """Epochs from one snapshot of both networks in `weights/` to the next; 0 keeps none."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            object.__setattr__(self, name, checked(name, getattr(self, name), hint))
        if not re.fullmatch(r"\w[\w .+-]{0,99}", self.dataset):
            rule = "a plain name of at most 100 characters"
            raise InvalidInputError(f"dataset = {short_repr(self.dataset)}: must be {rule}")
        if self.aux_weight and not (self.conditional and self.architecture != "own"):
            rule = "0 without labels, or where they do not enter the discriminator by projection"
            raise InvalidInputError(f"aux_weight = {self.aux_weight}: must be {rule}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Hyperparameters":
        """Hyperparameters from some or all fields, old names included; the others stay default."""
        if not isinstance(values, Mapping):
            rule = "must be one object of names and values"
            raise InvalidInputError(f"hyperparameters = {short_repr(values)}: {rule}")
        values = translate_fields(values)
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := [name for name in values if name not in known]:
            told = f"{short_repr(unknown[0])[1:-1]}: no such hyperparameter"
            raise InvalidInputError(f"{told}; there are {', '.join(known)}")
        return cls(**values)

    @classmethod
    def from_text(cls, text: str | bytes) -> "Hyperparameters":
        """Hyperparameters from JSON text: one object of some or all fields."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidInputError(f"not JSON ({error})") from None
        return cls.from_dict(values)

    @classmethod
    def from_json(cls, path: str | Path) -> "Hyperparameters":
        """Hyperparameters from a JSON file of some or all fields, at most 1 MB.

        Raises FileNotFoundError where there is no such file.
        """
        content = read_small_file(path)
        try:
            return cls.from_text(content)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: {error}") from None

    def to_json(self) -> str:
        """All fields as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def replace(self, **changes: Any) -> "Hyperparameters":
        """The same with some fields changed."""
        return self.from_dict(dataclasses.asdict(self) | rename_fields(changes, self.system))

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the system, and the fields that differ from the defaults."""
        default = vars(Hyperparameters())
        rows = [f"| `{k}` | {v} | {default[k]} |" for k, v in vars(self).items() if v != default[k]]
        if not rows:
            return "Hyperparameters: all at their defaults (the system `cdcgan`)."
        return "\n".join(["| hyperparameter | here | default |", "| --- | --- | --- |", *rows])


__getattr__ = old_names(__name__)
