"""The reader, a classifier of real digits, and `score`, what it says of generated ones.

Accuracy alone praises a generator that draws one perfect digit of each kind, so each figure stands
beside others that see diversity, and beside the same figure for real digits: the floor.
The reader is never used in training a generator.
"""

import contextlib
import dataclasses
import html
import io
import json

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import nn
from torch.nn.functional import cross_entropy, pad

from .common import ASSET, Mistake, write_whole
from .digits import load_digits
from .models import computes_bf16

READER = ASSET / "reader.safetensors"
SAMPLES = 10_000  # digits on each side of a comparison
NEIGHBOURS = 5


class Reader(nn.Module):
    """A small classifier of digits: uint8 (B, 28, 28) or (B, 1, 28, 28) -> 128 features a digit (B, 128).

    `num_features` is what torchmetrics asks of a network whose features it compares.
    """

    num_features = 128

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *self._block(1, 32, stride=2),  # (B, 32, 14, 14)
            *self._block(32, 64), nn.MaxPool2d(2),  # (B, 64, 7, 7)
            *self._block(64, 128), *self._block(128, 128), nn.MaxPool2d(2),  # (B, 128, 3, 3)
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 3 * 3, self.num_features), nn.ReLU(),  # (B, 128)
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(self.num_features, 10))

    @staticmethod
    def _block(inputs, outputs, stride=1):
        return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()

    def forward(self, images):
        return self.body(images.reshape(-1, 1, 28, 28).float() / 255)

    @torch.inference_mode()
    def features(self, digits):
        """The features of some `Digits`, float32 (N, 128)."""
        self.eval()
        return torch.cat([self(batch) for batch in torch.from_numpy(digits.images).split(500)])

    @torch.inference_mode()
    def read(self, digits):
        """What the reader takes each of some `Digits` for, int64 (N,)."""
        return self.head(self.features(digits)).argmax(1).numpy()


def load_reader(path=READER):
    """The trained reader. Raises FileNotFoundError or `Mistake` where `path` holds none."""
    reader = Reader()
    try:
        reader.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise Mistake(f"{path}: not a reader's weights ({str(error).splitlines()[0]})") from None
    return reader.eval()


def train_reader(path, epochs=12, seed=0):
    """Train a reader on the 60,000 real training digits, write it to `path`; gives its accuracy on the test digits.

    Adam with a one-cycle schedule; digits shifted by up to two pixels each way.
    """
    if epochs < 1 or not 0 <= seed < 2**32:
        raise Mistake(f"epochs = {epochs}, seed = {seed}: must be 1 or more, and from 0 to {2**32 - 1}")
    digits = load_digits(train=True)
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    batch_size, steps = 100, len(digits) // 100
    bf16 = computes_bf16(torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reader = Reader()
        optimizer = torch.optim.Adam(reader.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs * steps)
        for epoch in range(epochs):
            reader.train()
            for batch in torch.randperm(len(digits)).split(batch_size):
                down, right = torch.randint(5, (2,)).tolist()
                shifted = pad(images[batch], (2, 2, 2, 2))[:, down : down + 28, right : right + 28]
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    loss = cross_entropy(reader.head(reader(shifted)).float(), labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            test = load_digits(train=False)
            accuracy = float((reader.read(test) == test.labels).mean())
            print(f"epoch {epoch + 1} of {epochs}: reads {accuracy:.2%} of the test digits", flush=True)
    write_whole(path, safetensors_bytes(reader.state_dict()))
    return accuracy


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """What `score` found. Each figure is a share (0..1) except `fid`; `floor` holds the same for real digits.

    `samples`: generated digits judged, `reals`: real digits they were held against.
    `read_as_asked` is None for digits without labels. `classes`: how many of the ten digits make up 1 % or more;
    `evenness`: entropy of what is read, 1 for ten equal shares, 0 for one. `confusion[asked, read]` counts digits.
    """

    samples: int
    reals: int
    read_as_asked: float | None
    fid: float
    precision: float
    recall: float
    density: float
    coverage: float
    classes: int
    evenness: float
    confusion: np.ndarray = dataclasses.field(repr=False)
    floor: "Scorecard | None" = dataclasses.field(default=None, repr=False)

    ROWS = (
        ("read_as_asked", "read as asked", "{:.2%}", "higher"),
        ("fid", "Fréchet distance (reader's features)", "{:.2f}", "lower"),
        ("precision", f"precision (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("recall", f"recall (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("density", f"density (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("coverage", f"coverage (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("classes", "digits that appear", "{} of 10", "10"),
        ("evenness", "evenness of their shares", "{:.3f}", "higher"),
    )

    def rows(self):
        """(figure, generated digits, real digits, which way is better) as text, line by line."""
        for name, title, form, better in self.ROWS:
            values = [getattr(card, name) if card else None for card in (self, self.floor)]
            yield title, *("–" if value is None else form.format(value) for value in values), better

    def to_json(self):
        """All figures, and those of the floor, as JSON text."""
        return json.dumps(dataclasses.asdict(self), default=np.ndarray.tolist, indent=1) + "\n"

    def __str__(self):
        head = ("", f"{self.samples:,} generated", "real train digits", "better")
        table = [head, *self.rows()]
        widths = [max(len(row[i]) for row in table) for i in range(4)]
        note = f"against {self.reals:,} real test digits"
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in table) + (
            f"\n{note}"
        )

    def _repr_html_(self):
        head = f"<tr><th></th><th>{self.samples:,} generated</th><th>real train digits</th><th>better</th></tr>"
        cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self.rows())
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table>{head}{body}</table><p>Both against {self.reals:,} real test digits.</p>"


def score(fake, real=None, reader=None, seed=0):
    """Judge some `Digits` against real ones (MNIST's test digits unless given), as a `Scorecard`.

    read as asked: share that the reader takes for their labels. Fréchet distance (FID, Heusel et al.,
    arXiv 1706.08500) in the reader's 128 features. Precision and recall (Kynkäänniemi et al.,
    arXiv 1904.06991), density and coverage (Naeem et al., arXiv 2002.09797) among k nearest neighbours.
    The floor holds as many real training digits, drawn with `seed`, against the same real ones.
    Figures depend on the number of samples: compare like with like, 10,000 by custom.

    Raises `Mistake` for fewer than 100 digits.
    """
    real = load_digits(train=False) if real is None else real
    reader = load_reader() if reader is None else reader
    if min(len(fake), len(real)) < 100:
        raise Mistake(f"{len(fake)} generated and {len(real)} real digits: must be 100 or more of each")
    train = load_digits(train=True)
    floor = train[np.random.default_rng(seed).choice(len(train), min(len(fake), len(train)), replace=False)]
    real_features = reader.features(real)
    return dataclasses.replace(_compare(fake, real_features, reader), floor=_compare(floor, real_features, reader))


def _compare(fake, real_features, reader):
    from prdc import compute_prdc
    from torchmetrics.image.fid import FrechetInceptionDistance

    features = reader.features(fake)
    fid = FrechetInceptionDistance(feature=_Features(reader.num_features))
    fid.update(real_features, real=True), fid.update(features, real=False)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the two counts
        neighbours = compute_prdc(real_features.numpy(), features.numpy(), NEIGHBOURS)
    known = fake.labels >= 0
    with torch.inference_mode():
        read = reader.head(features).argmax(1).numpy()
    shares = np.bincount(read, minlength=10) / len(read)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (fake.labels[known], read[known]), 1)
    return Scorecard(
        samples=len(fake),
        reals=len(real_features),
        read_as_asked=float((read == fake.labels)[known].mean()) if known.any() else None,
        fid=float(fid.compute()),
        **{name: float(value) for name, value in neighbours.items()},
        classes=int((shares >= 0.01).sum()),
        evenness=abs(float((shares[shares > 0] * np.log10(shares[shares > 0])).sum())),
        confusion=confusion,
    )


class _Features(nn.Identity):
    """Tells torchmetrics that it is handed features: computed once, they serve every figure."""

    def __init__(self, num_features):
        super().__init__()
        self.num_features = num_features
