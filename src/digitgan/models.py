"""Generators and discriminators, how they are built, saved and loaded.

Conditional DCGAN: Radford et al., arXiv 1511.06434, with labels as in Mirza & Osindero, arXiv 1411.1784 (generator)
and Miyato & Koyama, arXiv 1802.05637 (discriminator). Images inside are float, (B, 1, 28, 28), paper -1 and ink 1; outside
they are uint8. Deviations: no normalisation in the discriminator, so that R1 and R2 mean what they say (arXiv 2501.05441),
and a 7x7 map, which is what 28 gives when halved twice.
"""

import functools
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from . import ancestors
from .common import ASSET, Mistake, short, write_whole
from .hyperparameters import Hyperparameters

CLASSES = 10


class Generator(nn.Module):
    """generator(z, y): z (B, z_dim) float32, y (B,) int64 in 0..9 -> images (B, 1, 28, 28) in [-1, 1].

    The label's embedding is put beside z, or z is multiplied by it. An unconditional one takes y and ignores it.
    """

    def __init__(self, net, hyperparameters):
        super().__init__()
        hp = self.hyperparameters = hyperparameters
        self.multiplied = hp.generator_label == "multiply"
        dim = hp.z_dim if self.multiplied else hp.embedding_dim
        self.embedding = nn.Embedding(CLASSES, dim) if hp.conditional else None
        self.net = net

    def forward(self, z, y):
        if self.embedding is not None:
            embedded = self.embedding(y)  # (B, embedding_dim)
            z = z * embedded if self.multiplied else torch.cat([z, embedded], 1)
        return self.net(z)  # (B, 1, 28, 28)


class Discriminator(nn.Module):
    """discriminator(x, y): x (B, 1, 28, 28), y (B,) int64 in 0..9 -> logits float32 (B,), positive for "real".

    The label enters by projection (arXiv 1802.05637), how well the features agree with its
    embedding being added to how real they look, or as a second channel of the image. An unconditional one ignores y.
    """

    def __init__(self, net, features, hyperparameters):
        super().__init__()
        self.net = net
        self.realness = nn.Linear(features, 1)
        self.channel = hyperparameters.discriminator_label == "channel"
        dim = 28 * 28 if self.channel else features
        self.embedding = nn.Embedding(CLASSES, dim) if hyperparameters.conditional else None

    def forward(self, x, y):
        return self.judge(x, y)[0]

    def judge(self, x, y):
        """(logits (B,), class logits (B, 10)): by projection, how well x agrees with every label; else None."""
        if self.embedding is not None and self.channel:
            x = torch.cat([x, self.embedding(y).unflatten(1, (1, 28, 28))], 1)  # (B, 2, 28, 28)
        features = self.net(x).float()  # (B, features)
        with torch.autocast(x.device.type, enabled=False):  # a logit may be a small difference of large numbers
            logits = self.realness(features).squeeze(1)  # (B,)
            if self.embedding is None or self.channel:
                return logits, None
            classes = features @ self.embedding.weight.T  # (B, 10)
            return logits + classes.gather(1, y[:, None]).squeeze(1), classes


def dcgan(inputs, channels, c=64, depth=0):
    """The default: one stride of 4 between 7x7 and 28x28. A convolution to 16 channels and a pixel
    shuffle are one transposed convolution of stride 4 and kernel 12, twice as fast. `depth`: convolutions more in D."""
    generator = nn.Sequential(
        nn.Linear(inputs, c * 7 * 7), nn.Unflatten(1, (c, 7, 7)),  # (B, 64, 7, 7)
        nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1, bias=False),  # (B, 64, 7, 7)
        nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1, bias=False),  # (B, 64, 7, 7)
        nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, 16, 3, padding=1), nn.PixelShuffle(4),  # (B, 1, 28, 28)
        nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.PixelUnshuffle(4), nn.Conv2d(16 * channels, c, 3, padding=1), nn.LeakyReLU(0.2),  # (B, 64, 7, 7)
        *(layer for _ in range(depth) for layer in (nn.Conv2d(c, c, 3, padding=1), nn.LeakyReLU(0.2))),  # (B, 64, 7, 7)
        nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 128, 4, 4)
        nn.Flatten(), nn.Linear(2 * c * 4 * 4, 128), nn.LeakyReLU(0.2),  # (B, 128)
    )  # fmt: skip
    return generator, discriminator, 128


def dcgan_strided(inputs, channels, c=64):
    """The classic: two strides of 2 each way."""
    generator = nn.Sequential(
        nn.Linear(inputs, c * 7 * 7), nn.Unflatten(1, (c, 7, 7)),  # (B, 64, 7, 7)
        nn.BatchNorm2d(c), nn.ReLU(),
        nn.Conv2d(c, c, 3, padding=1, bias=False),  # (B, 64, 7, 7)
        nn.BatchNorm2d(c), nn.ReLU(),
        nn.ConvTranspose2d(c, c // 2, 4, stride=2, padding=1, bias=False),  # (B, 32, 14, 14)
        nn.BatchNorm2d(c // 2), nn.ReLU(),
        nn.ConvTranspose2d(c // 2, 1, 4, stride=2, padding=1),  # (B, 1, 28, 28)
        nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(channels, c // 2, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 32, 14, 14)
        nn.Conv2d(c // 2, c, 4, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 64, 7, 7)
        nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.LeakyReLU(0.2),  # (B, 128, 4, 4)
        nn.Flatten(), nn.Linear(2 * c * 4 * 4, 128), nn.LeakyReLU(0.2),  # (B, 128)
    )  # fmt: skip
    return generator, discriminator, 128


NETWORKS = {
    "dcgan": dcgan, "dcgan-deep": functools.partial(dcgan, depth=1), "dcgan-strided": dcgan_strided,
    "multiply": ancestors.multiply, "clipped": ancestors.clipped, "fcnn": ancestors.fcnn,
    "cnn": ancestors.cnn, "linear": ancestors.linear, "resize": ancestors.resize,
}  # fmt: skip


def build(hyperparameters):
    """(generator, discriminator), untrained, with weights drawn from torch's global random state."""
    hp = hyperparameters
    inputs, channels = input_shapes(hp)
    generator, discriminator, features = NETWORKS[hp.networks](inputs, channels)
    return Generator(generator, hp), Discriminator(discriminator, features, hp)


def input_shapes(hp):
    """(length of what enters the generator's net, channels of what enters the discriminator's), labels included."""
    beside = hp.embedding_dim if hp.conditional and hp.generator_label == "concatenate" else 0
    return hp.z_dim + beside, 2 if hp.conditional and hp.discriminator_label == "channel" else 1


def to_pixels(images):
    """Images (B, 1, 28, 28) in [-1, 1] -> uint8 (B, 28, 28), ink 255 on paper 0."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).squeeze(1)


def from_pixels(pixels, real_range=(-1.0, 1.0)):
    """uint8 (B, 28, 28), ink 255 on paper 0 -> float32 (B, 1, 28, 28), paper and ink at `real_range`."""
    paper, ink = real_range
    return pixels.unsqueeze(1).float() * ((ink - paper) / 255) + paper


def computes_bf16(device):
    """Whether the device multiplies matrices in bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def save_generator(generator, path):
    """Write the generator's weights as safetensors, its hyperparameters in the file's metadata."""
    metadata = {"hyperparameters": generator.hyperparameters.to_json()}  # one key: the file's bytes repeat
    write_whole(path, save({k: v.contiguous() for k, v in generator.state_dict().items()}, metadata))


def load_generator(path=None):
    """A trained generator in eval mode, on the CPU: the one in `asset/pretrained/`, or the one in `path`.

    Raises FileNotFoundError where there is no such file, `Mistake` where it holds no generator.
    """
    path = ASSET / "pretrained" / "cdcgan.safetensors" if path is None else path
    return load_network(
        path, lambda about: build(Hyperparameters.from_text(about.get("hyperparameters", "null")))[0], "a generator"
    )


def load_network(path, make, what):
    """The network that `make(metadata)` gives, with the weights of a safetensors file, in eval mode, on the CPU.

    Raises FileNotFoundError where there is no such file, `Mistake` where its weights are not finite numbers under the
    names and in the shapes and types of that network's own.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train one first, or pass the path of one")
    try:
        with path.open("rb") as file:
            size, header = path.stat().st_size, int.from_bytes(file.read(8), "little")
        if size > 2**28 or header > 2**20:  # more than any hyperparameters ask for
            raise ValueError(f"{size:,} bytes, a header of {header:,}: must be at most {2**28:,} and {2**20:,}")
        with safe_open(path, "pt") as file:
            with torch.random.fork_rng():
                network = make(file.metadata() or {})
            wanted, found = network.state_dict(), file.keys()
            if set(found) != set(wanted):
                raise ValueError(f"its tensors are {short(sorted(found))}, must be {short(sorted(wanted))}")
            for name, like in wanted.items():
                tensor = file.get_tensor(name)
                given, asked = (f"{t.dtype} {list(t.shape)}" for t in (tensor, like))
                if given != asked or not tensor.isfinite().all():
                    raise ValueError(f"{name} is {given}, must be finite {asked}")
                like.copy_(tensor)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise Mistake(f"{path}: not {what} ({' '.join(str(error).split())[:300]})") from None
    return network.eval()
