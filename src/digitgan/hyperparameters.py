"""What a run is made of: one frozen dataclass, and the named presets.

Edit a default here, override one in a notebook's parameters cell (`Hyperparameters(epochs=3)`), or load a JSON file
(`Hyperparameters.from_json`). Impossible values are refused when the object is made, in one line.
"""

import dataclasses
import json
import re
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from .common import Mistake, short


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """Everything that decides what a training run computes.

    Raises `Mistake` (a ValueError) naming the field, the value and the rule.
    """

    # ---- data ----
    dataset: str = "MNIST"
    """MNIST, FashionMNIST, KMNIST, EMNIST (its digits), QMNIST, or the name of one's own folder of IDX files."""
    limit: int = 60_000
    """Digits per epoch, drawn anew from the whole set for every epoch; never more than the set has."""
    real_range: tuple[float, float] = (-1.0, 1.0)
    """What paper and ink become before the discriminator sees a real digit. The generator's tanh reaches
    [-1, 1]; a recipe that scales real digits otherwise lets the discriminator tell them by their range alone."""

    # ---- networks ----
    networks: Literal[
        "dcgan", "dcgan-deep", "dcgan-strided", "multiply", "clipped", "fcnn", "cnn", "linear", "resize"
    ] = "dcgan"
    """`dcgan-strided`: 7x7 -> 14x14 -> 28x28 by (transposed) convolutions of stride 2, as in Radford et al.,
    arXiv 1511.06434. `dcgan`: 7x7 -> 28x28 by one of stride 4, computed as convolution and pixel shuffle
    (Shi et al., arXiv 1609.05158): all the work is done where the map is small and the channels are many.
    `dcgan-deep`: the same with one more convolution in the discriminator, for long runs with a stronger penalty.
    The others are those of older digit GANs, in `ancestors.py`."""
    conditional: bool = True
    """Whether both networks see the label (Mirza & Osindero, arXiv 1411.1784)."""
    z_dim: int = 32
    """Dimensions of the latent z, drawn from a standard normal."""
    embedding_dim: int = 32
    """Dimensions of the label's embedding beside z in the generator."""
    generator_label: Literal["concatenate", "multiply"] = "concatenate"
    """Whether the label's embedding is put beside z, or z is multiplied by it (its dimension is then z_dim)."""
    discriminator_label: Literal["projection", "channel"] = "projection"
    """`projection`: Miyato & Koyama, arXiv 1802.05637. `channel`: the label's embedding as a second image."""

    # ---- objective ----
    objective: Literal["non-saturating", "smoothed", "wasserstein", "relativistic"] = "relativistic"
    """`non-saturating`: Goodfellow et al., arXiv 1406.2661 (binary cross-entropy); `smoothed`: the same with real
    digits called 0.9 real. `wasserstein`: arXiv 1701.07875. `relativistic`: each real digit paired with a
    generated one of the same label (R3GAN, arXiv 2501.05441); it covers the data where the others collapse."""
    classify: float = 0.3
    """Weight of a cross-entropy that has D's projections tell real digits apart (an auxiliary classifier, arXiv
    1610.09585, on real digits alone): G's slopes then point to the asked digit from the start. Needs projection."""
    classify_end: float = 0.1
    """What `classify` falls to at the end of a cosine schedule: late it would keep G to the clearest digits."""
    penalty: Literal["zero-centred", "one-centred"] = "zero-centred"
    """What keeps the discriminator's slopes in bounds. `zero-centred`: (R1 + R2) / 2, at real and generated digits
    (arXiv 2501.05441, eq. 4). `one-centred`: WGAN-GP's, between them (arXiv 1704.00028)."""
    gamma: float = 0.2
    """Weight of the penalty; 0 leaves it out."""
    gamma_end: float = 0.02
    """What gamma falls to at the end of a cosine schedule: early it steadies, late it would blur."""
    penalty_every: int = 8
    """Steps from one penalty to the next, each weighted by this number (StyleGAN2's lazy regularisation,
    arXiv 1912.04958): double backward costs three plain steps."""
    clip: float = 0.0
    """Bound of the discriminator's weights after each of its steps, the first way to bound its slopes
    (arXiv 1701.07875); 0 for none."""
    shift: int = 0
    """Pixels by which what D sees is shifted at most, up or down and left or right, real and generated digits of a step
    alike: D cannot learn the training digits by heart, and G is not taught to shift (arXiv 2006.10738)."""

    # ---- optimiser ----
    epochs: int = 16
    """Passes of `limit` digits; 0 gives the untrained networks."""
    batch_size: int = 64
    """Real digits, and as many generated ones, per step."""
    generator_lr: float = 1.5e-3
    """Adam's learning rate for the generator at the start."""
    discriminator_lr: float = 1.5e-3
    """Adam's learning rate for the discriminator at the start."""
    beta1: float = 0.0
    """Adam's momentum: none, since the two networks chase each other (arXiv 2501.05441; DCGAN took 0.5)."""
    beta2: float = 0.99
    """Adam's memory of squared gradients: short, since they change as the other network learns (arXiv 1912.04958)."""
    updates: Literal["alternating", "simultaneous"] = "simultaneous"
    """`alternating`: G's step passes new digits through the updated D. `simultaneous`: one pass of D serves both
    (arXiv 2103.00430), so that a second takes a fifth more steps. Needs a D without BatchNorm."""
    generator_steps: int = 1
    """Generator steps per discriminator step."""
    separate_steps: bool = False
    """Whether the discriminator takes one step for the real digits and another for the generated ones."""
    eval_left_on: bool = False
    """Leave the generator in eval mode after the first epoch's pictures, its BatchNorm frozen: a fault that one
    old recipe has, kept there to be seen."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine`: learning rates fall to 0, gamma and classify to their ends, along half a cosine over the whole run."""

    # ---- averaging ----
    ema_half_life: float = 50_000.0
    """Images after which a weight's share in the averaged generator has halved (arXiv 1812.04948)."""
    ema_ramp: float = 0.1
    """The half-life is at most this share of the images seen, so that the average forgets the untrained weights."""

    # ---- the run ----
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Matrix products in bfloat16, their sums and the weights in float32; `auto` where the processor has it natively."""
    seed: int = 0
    """Of weights, order of digits and latents. Same seed, same CPU, same threads: the same bits."""
    keep_every: int = 0
    """Keep the weights of both networks after every k-th epoch in `weights/`; 0 keeps none."""

    def __post_init__(self):
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            kind = str if get_origin(hint) is Literal else get_origin(hint) or hint
            if kind is tuple and isinstance(value, list):  # JSON has no tuples
                value = tuple(value)
            if type(value) is not kind and (kind, type(value)) != (float, int):
                raise Mistake(f"{name} = {short(value)} ({type(value).__name__}): must be of type {kind.__name__}")
            if get_origin(hint) is Literal:
                rule, holds = "one of " + ", ".join(get_args(hint)), value in get_args(hint)
            else:
                rule, test = next((rule for names, *rule in RULES if name in names), (None, None))
                holds = rule is None or test(value)
            if not holds:
                raise Mistake(f"{name} = {short(value)}: must be {rule}")
            object.__setattr__(self, name, float(value) if kind is float else value)
        if self.classify and not (self.conditional and self.discriminator_label == "projection"):
            raise Mistake(f"classify = {self.classify}: must be 0 unless labels enter D by projection")
        if self.updates == "simultaneous" and (self.separate_steps or self.generator_steps > 1):
            raise Mistake("updates = 'simultaneous': must be 'alternating' with separate_steps or more generator_steps")
        if self.updates == "simultaneous" and self.networks == "multiply":
            raise Mistake("updates = 'simultaneous': must be 'alternating' with 'multiply', whose D has BatchNorm")
        if self.separate_steps and self.objective != "non-saturating":
            raise Mistake(f"separate_steps = True with objective = {self.objective!r}: must be 'non-saturating'")

    @classmethod
    def from_dict(cls, values):
        """Hyperparameters from a dict of some or all fields; the others keep their defaults."""
        if not isinstance(values, dict):
            raise Mistake(f"hyperparameters = {short(values)}: must be one object of names and values")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise Mistake(f"{short(name)[1:-1]}: no such hyperparameter; there are {', '.join(known)}")
        return cls(**values)

    @classmethod
    def from_text(cls, text):
        """Hyperparameters from JSON, text or bytes, holding one object of some or all fields."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Mistake(f"not JSON ({error})") from None
        return cls.from_dict(values)

    @classmethod
    def from_json(cls, path):
        """Hyperparameters from a JSON file holding one object of some or all fields.

        Raises FileNotFoundError where there is no such file, `Mistake` where it holds something else.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            if path.stat().st_size > 1_000_000:
                raise Mistake("more than 1,000,000 bytes")
            return cls.from_text(path.read_bytes())
        except (Mistake, OSError) as error:
            raise Mistake(f"{path}: {error}") from None

    def to_json(self):
        """All fields as JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def replace(self, **changes):
        """The same with some fields changed."""
        return self.from_dict(dataclasses.asdict(self) | changes)


def _between(least, most):
    return f"from {least:,} to {most:,}", lambda v: least <= v <= most


RULES = [  # field names, the rule in words, the rule
    (("epochs", "seed", "keep_every"), *_between(0, 2**31 - 1)),
    (("shift",), *_between(0, 14)),
    (("limit", "penalty_every"), *_between(1, 2**31 - 1)),
    (("z_dim", "embedding_dim"), *_between(1, 4096)),
    (("generator_steps",), *_between(1, 100)),
    (("batch_size",), *_between(2, 65_536)),  # BatchNorm compares digits
    (("generator_lr", "discriminator_lr", "ema_ramp"), "above 0 and at most 1", lambda v: 0 < v <= 1),
    (("beta1", "beta2"), "at least 0 and below 1", lambda v: 0 <= v < 1),
    (("classify", "classify_end", "gamma", "gamma_end", "clip"), *_between(0, 1_000_000)),
    (("ema_half_life",), *_between(0, 10**12)),
    (("dataset",), "a plain name of at most 100 characters", lambda v: re.fullmatch(r"\w[\w .+-]{0,99}", v)),
    (
        ("real_range",),
        "two numbers (paper, ink), paper below ink, from -1,000 to 1,000",
        lambda v: len(v) == 2 and {*map(type, v)} <= {int, float} and -1000 <= v[0] < v[1] <= 1000,
    ),
]


def _classic(networks, lr, **changes):
    """What the older systems have in common: cross-entropy, no penalty, no schedule, torch's Adam."""
    common = {"objective": "non-saturating", "classify": 0.0, "gamma": 0.0, "updates": "alternating"}
    common |= {"beta1": 0.9, "beta2": 0.999, "schedule": "constant", "z_dim": 64, "batch_size": 128}
    return Hyperparameters(networks=networks, **{"generator_lr": lr, "discriminator_lr": lr} | common | changes)


_CLIPPED = {"z_dim": 100, "embedding_dim": 10, "discriminator_label": "channel", "batch_size": 64}

# fmt: off
SYSTEMS = {
    "cdcgan": Hyperparameters(),
    # Radford et al., arXiv 1511.06434: their optimiser, no labels.
    "dcgan": _classic("dcgan-strided", 2e-4, conditional=False, beta1=0.5),
    # Faults kept: real digits normalised by their mean 0.1307 and deviation 0.3081, outside tanh's range;
    # the generator left in eval mode after its first test; a learning rate that needs days.
    "cdcgan-multiply": _classic(
        "multiply", 1e-5, generator_label="multiply", discriminator_label="channel", z_dim=100, beta1=0.5,
        batch_size=16, epochs=25, generator_steps=2, real_range=(-0.4242, 2.8215), eval_left_on=True),
    # Fault kept: clipping bounds slopes for a Wasserstein loss; under cross-entropy it only weakens D.
    "cdcgan-clipped": _classic("clipped", 2e-4, clip=0.01, **_CLIPPED),
    # The loss that bounded slopes are for, and WGAN-GP's penalty (lambda 10) in place of clipping; one D step a G step.
    "cdcgan-gp": _classic(
        "clipped", 2e-4, objective="wasserstein", penalty="one-centred", gamma=10.0, gamma_end=10.0, penalty_every=1,
        **_CLIPPED),
    "fcnn": _classic("fcnn", 5e-4, conditional=False, batch_size=32, epochs=50),
    "cnn": _classic("cnn", 5e-4, conditional=False, batch_size=32, epochs=50),
    "linear": _classic("linear", 2e-3, conditional=False, z_dim=100, batch_size=64, objective="smoothed"),
    "resize": _classic(
        "resize", 1e-4, discriminator_lr=3e-4, conditional=False, z_dim=100, separate_steps=True),
}
# fmt: on


def system(name, **changes):
    """The preset of that name with some fields changed.

    Raises `Mistake` where there is no such preset.
    """
    if name not in SYSTEMS:
        raise Mistake(f"system = {name!r}: must be one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name].replace(**changes)
