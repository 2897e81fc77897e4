"""Writer verification: do two digits come from one hand? A style encoder of real writers' digits
answers, and people themselves are the yardstick.

The encoder maps a digit to a point on a sphere, where digits of one writer lie close to each other,
whatever digits they are. It is trained across digits: in each batch every writer writes each digit
once, and a digit must find the centre of its writer's *other* digits among those of all writers
(as speakers are verified: Wan et al., arXiv 1710.10467). A second loss, over all training writers,
has a margin (Wang et al., arXiv 1801.05599).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, normalize, one_hot

from ..bounds import whole_number
from ..data.datasets import load_digits
from ..data.digits import Digits
from ..errors import InvalidInputError
from ..files import ASSET
from ..runs.averaging import AveragedNetwork
from ..runs.processes import native_bf16
from ..runs.torch_modes import evaluating, ordinary_torch
from ..runs.weights import load_network, save_weights
from ..streams import tell
from .stroke_features import stroke_features

ENCODERS = {  # architecture -> the shipped weights
    "residual": ASSET / "pretrained" / "style-encoder.safetensors",
    "plain": ASSET / "pretrained" / "style-encoder-2.safetensors",
}
SHIPPED = {"residual": (2500, 0), "plain": (500, 1)}  # (steps, seed) of the shipped weights
HELD_OUT = 60  # training writers that selection looks at and training does not
WRITERS, DIGITS = 32, 8  # of a batch: so many writers, so many different digits of each
SPREAD = 8  # different digits that a writer must have written to be compared
SNAPSHOT = 250  # steps from one snapshot of the weights to the next


class Residual(nn.Module):
    """Two convolutions and a shortcut: (B, c, H, W) -> (B, c, H, W)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv(c, c), nn.Conv2d(c, c, 3, 1, 1, bias=False))
        self.norm = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.norm(self.body(x))).relu()


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()


def _residual() -> nn.Sequential:
    return nn.Sequential(
        *_conv(1, 16, 5, 2), *_conv(16, 40), Residual(40),  # (B, 40, 14, 14)
        *_conv(40, 80, stride=2), Residual(80), Residual(80),  # (B, 80, 7, 7)
        nn.Conv2d(80, 32, 1), nn.ReLU(), nn.Flatten(),  # (B, 32 * 7 * 7)
    )  # fmt: skip


def _plain() -> nn.Sequential:
    return nn.Sequential(
        *_conv(1, 24, 3, 2), *_conv(24, 24), *_conv(24, 48, 5, 2),  # (B, 48, 7, 7)
        *_conv(48, 64), *_conv(64, 64),
        nn.AvgPool2d(3, 2, 1), nn.Flatten(),  # (B, 64 * 4 * 4)
    )  # fmt: skip


ARCHITECTURES: dict[str, tuple[Callable[[], nn.Sequential], int, int]] = {
    "residual": (_residual, 32 * 7 * 7, 128),  # body, its features, dimensions of the style
    "plain": (_plain, 64 * 4 * 4, 96),
}


class StyleEncoder(nn.Module):
    """encoder(images, labels): images (B, 1, 28, 28), ink 1 on paper 0, labels (B,) int64 in 0..9
    -> styles (B, d), of length 1.

    What all digits of a label have in common is subtracted, so that a style says nothing of the
    label.
    """

    def __init__(self, architecture: str) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            rule = f"must be one of {', '.join(ARCHITECTURES)}"
            raise InvalidInputError(f"architecture = {architecture!r}: {rule}")
        self.architecture = architecture
        body, features, size = ARCHITECTURES[architecture]
        self.body = body().to(memory_format=torch.channels_last)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(features, size))
        self.centre = nn.Embedding(10, size)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        styles = self.head(self.body(images)).float() - self.centre(labels).float()
        return normalize(styles, dim=1)

    @ordinary_torch()
    @torch.inference_mode()
    def styles(self, digits: Digits) -> np.ndarray:
        """The styles of some `Digits` with labels, float32 (N, d).

        Raises `InvalidInputError` where a label is unknown.
        """
        if (digits.labels < 0).any():
            told = f"{(digits.labels < 0).sum()} of {len(digits)} digits have no label"
            raise InvalidInputError(f"{told}: a style needs them all")
        batches = zip(
            torch.from_numpy(digits.images).split(500),
            torch.from_numpy(digits.labels).split(500),
            strict=True,
        )
        with evaluating(self):
            styles = [self(x.unsqueeze(1).float() / 255, y) for x, y in batches]
        return torch.cat(styles).numpy() if styles else np.zeros((0, self.centre.embedding_dim))


@ordinary_torch()
def load_style_encoder(architecture: str = "residual") -> StyleEncoder:
    """A shipped style encoder, in eval mode: "residual", or "plain", which judges the first.

    Raises `InvalidInputError` for another name, or where its file is not sound.
    """
    StyleEncoder(architecture)  # refuses another name
    path = ENCODERS[architecture]
    return load_network(path, lambda metadata: StyleEncoder(architecture), "a style encoder")


def _augmented(images: Tensor, source: torch.Generator) -> Tensor:
    """Images (B, 1, 28, 28) moved, turned and scaled a little: what no writer means by it."""
    r = torch.rand(len(images), 6, generator=source) * 2 - 1  # (B, 6) in [-1, 1]
    maps = torch.zeros(len(images), 2, 3)
    maps[:, 0, 0], maps[:, 1, 1] = 1 + 0.06 * r[:, 0], 1 + 0.06 * r[:, 1]
    maps[:, 0, 1], maps[:, 1, 0] = 0.06 * r[:, 2], 0.06 * r[:, 3]
    maps[:, :, 2] = r[:, 4:] * 1.5 / 14  # a pixel and a half at most
    grid = affine_grid(maps, [len(images), 1, 28, 28], align_corners=False)
    return grid_sample(images, grid, align_corners=False)


class Batches:
    """Batches of `WRITERS` writers, `DIGITS` digits of each, all of them different digits."""

    def __init__(self, digits: Digits, writers: np.ndarray, seed: int) -> None:
        self.digits, self.rng = digits, np.random.default_rng(seed)
        self.source = torch.Generator().manual_seed(seed)
        labels, theirs = digits.labels, known_writers(digits)
        of_writer = [np.flatnonzero(theirs == w) for w in writers]
        rows = [[r[labels[r] == y] for y in range(10)] for r in of_writer]
        self.rows = [kinds for kinds in ([k for k in r if len(k)] for r in rows)
                     if len(kinds) >= DIGITS]  # fmt: skip

        if len(self.rows) < WRITERS:
            told = f"{len(self.rows)} writers to train on with {DIGITS} or more different digits"
            raise InvalidInputError(f"{told}: must be {WRITERS} or more")

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 1, 28, 28), labels (B,) and numbers of writers (B,), writer after writer."""
        writers = self.rng.choice(len(self.rows), WRITERS, replace=False)
        rows = np.array([
            self.rng.choice(self.rows[w][kind])
            for w in writers
            for kind in self.rng.permutation(len(self.rows[w]))[:DIGITS]
        ])  # fmt: skip
        images = torch.from_numpy(self.digits.images[rows]).unsqueeze(1).float() / 255
        labels = torch.from_numpy(self.digits.labels[rows])
        return (
            _augmented(images, self.source),
            labels,
            torch.from_numpy(writers).repeat_interleave(DIGITS),
        )


def other_digits_loss(styles: Tensor, scale: Tensor) -> Tensor:
    """How badly each digit finds its writer: styles (writers, digits, d) of length 1.

    The cross entropy of `scale` times the cosines between a digit and the centres of all writers;
    the centre of its own writer is that of the other digits.
    """
    count, each, _ = styles.shape
    total = styles.sum(1)  # (writers, d)
    cosines = styles @ normalize(total, dim=1).T  # (writers, digits, writers)
    own = (styles * normalize(total[:, None] - styles, dim=2)).sum(2)  # (writers, digits)
    same = torch.eye(count, dtype=torch.bool)[:, None]
    cosines = torch.where(same, own[..., None], cosines)
    return cross_entropy(scale * cosines.flatten(0, 1), torch.arange(count).repeat_interleave(each))


@ordinary_torch()
def train_style_encoder(
    path: str | Path,
    architecture: str = "residual",
    steps: int | None = None,
    seed: int | None = None,
    digits: Digits | None = None,
    quiet: bool = True,
    progress: Callable[[int, StyleEncoder], object] | None = None,
) -> StyleEncoder:
    """Train a style encoder and write its weights to `path` in half precision.

    digits: of known writers (MNIST's training digits if None), from which `HELD_OUT` writers are
    left out, for selection: how well those are recognised is told every `SNAPSHOT` steps unless
    `quiet`. `steps` and `seed` are those of the shipped weights if None. The learning rate stays;
    what is kept are averaged weights, so that a shorter training is the beginning of a longer one.
    `progress(step, encoder)` is called with them every `SNAPSHOT` steps and at the end, when they
    have been written.

    Raises `InvalidInputError` for digits of too few writers: `HELD_OUT`, and `WRITERS` more who
    wrote `DIGITS` different digits each.
    """
    StyleEncoder(architecture)  # refuses another name
    shipped_steps, shipped_seed = SHIPPED[architecture]
    steps = whole_number("steps", shipped_steps if steps is None else steps, 1)
    seed = whole_number("seed", shipped_seed if seed is None else seed, 0, 2**32 - 1)
    digits = load_digits() if digits is None else digits
    training, held_out = split_writers(digits)
    batches = Batches(digits, training, seed)
    selection = digits[np.isin(known_writers(digits), held_out)]
    bf16 = native_bf16(torch.device("cpu"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = StyleEncoder(architecture).train()
        averaged = AveragedNetwork(encoder)
        writers = nn.Parameter(0.05 * torch.randn(len(batches.rows), encoder.centre.embedding_dim))
        scale = nn.Parameter(torch.tensor(10.0))
        weights: list[dict[str, Any]] = [
            {"params": [*encoder.parameters(), writers]},
            {"params": [scale], "weight_decay": 0},
        ]
        optimizer = torch.optim.AdamW(weights, lr=1.5e-3, weight_decay=0.05)
        for step in range(1, steps + 1):
            images, labels, numbers = batches.draw()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                styles = encoder(images, labels)
            with_margin = styles @ normalize(writers, dim=1).T - 0.1 * one_hot(
                numbers, len(writers)
            )
            loss = other_digits_loss(styles.unflatten(0, (WRITERS, DIGITS)), scale)
            loss = loss + 0.5 * cross_entropy(16 * with_margin, numbers)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            averaged.update(encoder, max(1 / step, 1 / 300))
            if step % SNAPSHOT == 0 or step == steps:
                save_style_encoder(averaged.module, path)
                if not quiet:
                    tell_selection(averaged.module, selection, step)
                if progress:
                    progress(step, averaged.module)
    return averaged.module.eval()


def tell_selection(encoder: StyleEncoder, selection: Digits, step: int) -> None:
    """A line on how well the writers of some `Digits` are recognised from one digit and from
    five."""
    panel = WriterPanel(selection, encoder.styles)
    parts = []
    for given in (1, 5):
        draws = [panel.draw(given, len(panel.writers), seed) for seed in range(5)]
        rows = np.concatenate([rows for _, rows in draws])
        shown = selection[rows.reshape(-1)]
        places = np.concatenate([places for places, _ in draws])
        found = panel.recognise(shown, places, shown.labels.reshape(rows.shape))
        parts.append(f"AUC from {given} digit{'s' * (given > 1)} {found.auc:.3f}")
    tell(f"step {step}: {', '.join(parts)}, of {len(panel.writers)} writers not trained on")


def save_style_encoder(encoder: StyleEncoder, path: str | Path) -> None:
    """Write an encoder's weights in half precision."""
    state = {n: w.half() if w.is_floating_point() else w for n, w in encoder.state_dict().items()}
    save_weights(path, state, {"architecture": encoder.architecture})


def split_writers(digits: Digits) -> tuple[np.ndarray, np.ndarray]:
    """The writers of some `Digits` for training, and `HELD_OUT` others for selection."""
    everyone = known_writers(digits)
    writers = np.unique(everyone[everyone >= 0])
    if len(writers) < HELD_OUT + WRITERS:
        told = f"digits of {len(writers)} known writers"
        raise InvalidInputError(f"{told}: must be {HELD_OUT + WRITERS} or more")
    writers = np.random.default_rng(0).permutation(writers)
    return np.sort(writers[HELD_OUT:]), np.sort(writers[:HELD_OUT])


def known_writers(digits: Digits) -> np.ndarray:
    """The writers of some `Digits`, int64 (N,), -1 where unknown."""
    return np.full(len(digits), -1) if digits.writers is None else digits.writers


# ---- verification ----


class Recognition(NamedTuple):
    """How well writers are recognised among others.

    auc: the probability that a true writer is nearer than another one, 0.5 for chance.
    median_rank: of the true writer among all, 1 for the nearest. top_ten: the fraction of true
    writers among the ten nearest, 0..1.
    """

    auc: float
    median_rank: float
    top_ten: float


class WriterPanel:
    """The writers of some `Digits`, against whom digits are held: those who wrote `SPREAD`
    different digits or more.

    vectors(digits) -> (N, d): by what digits are compared, `StyleEncoder.styles` or
    `stroke_vectors(digits)`. unit: whether the direction of a mean is compared, or the mean itself.
    """

    def __init__(
        self, digits: Digits, vectors: Callable[[Digits], np.ndarray], unit: bool = True
    ) -> None:
        self.digits, self.vectors, self.unit = digits, vectors, unit
        theirs = known_writers(digits)
        found, place = np.unique(theirs, return_inverse=True)
        counts = np.zeros((len(found), 10))
        np.add.at(counts, (place, digits.labels), 1)
        members = ((counts > 0).sum(1) >= SPREAD) & (found >= 0)
        self.writers, self.counts = found[members], counts[members]  # (w,), (w, 10)
        if len(self.writers) < 2:
            told = f"{len(self.writers)} writers of {SPREAD} or more different digits"
            raise InvalidInputError(f"{told}: must be 2 or more")
        vector = vectors(digits)
        sums = np.zeros((len(found), 10, vector.shape[1]))
        np.add.at(sums, (place, digits.labels), vector)
        self.sums = sums[members]  # (w, 10, d)

    def draw(self, given: int, count: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Writers drawn with `seed`, as places in `writers` (count,), and the rows of `given`
        different digits of each (count, given).

        Raises `InvalidInputError` unless `given` leaves others to compare with.
        """
        given = whole_number("given", given, 1, SPREAD - 1)
        count = whole_number("count", count, 1, len(self.writers))
        rng, theirs, rows = np.random.default_rng(seed), known_writers(self.digits), []
        places = rng.choice(len(self.writers), count, replace=False)
        for place in places:
            labels = rng.permutation(np.flatnonzero(self.counts[place]))[:given]
            own = np.flatnonzero(theirs == self.writers[place])
            rows.append([rng.choice(own[self.digits.labels[own] == y]) for y in labels])
        return places, np.array(rows)

    def recognise(self, shown: Digits, places: np.ndarray, labels: np.ndarray) -> Recognition:
        """How well the writers at `places` (q,) are recognised by `shown`: as many digits for each,
        one writer after the other.

        They are held against all writers' digits of other labels than `labels` (q, given).
        """
        queries = self.vectors(shown).reshape(len(places), -1, self.sums.shape[2]).mean(1)
        ranks = []
        for query, place, own in zip(queries, places, labels, strict=True):
            others = ~np.isin(np.arange(10), own)
            means = self.sums[:, others].sum(1) / self.counts[:, others].sum(1)[:, None]
            if self.unit:
                means = means / np.linalg.norm(means, axis=1, keepdims=True)
                query = query / np.linalg.norm(query)  # noqa: PLW2901
            distance = np.square(means - query).sum(1)
            nearer, level = (distance < distance[place]).sum(), (distance == distance[place]).sum()
            ranks.append(1 + nearer + (level - 1) / 2)
        rank = np.array(ranks)
        auc = 1 - (rank.mean() - 1) / (len(self.writers) - 1)
        return Recognition(float(auc), float(np.median(rank)), float((rank <= 10).mean()))


def stroke_vectors(digits: Digits) -> Callable[[Digits], np.ndarray]:
    """vectors(others) -> (N, 3): the stroke features of other digits, in standard deviations of
    the digits of the same label among these."""
    features = stroke_features(digits)
    groups = [features[digits.labels == y] for y in range(10)]
    mean = np.stack([group.mean(0) for group in groups])  # (10, 3)
    deviation = np.stack([group.std(0) for group in groups]) + 1e-6

    def vectors(others: Digits) -> np.ndarray:
        centred = stroke_features(others) - mean[others.labels]
        return (centred / deviation[others.labels]).clip(-3, 3)

    return vectors


def panels(digits: Digits) -> dict[str, WriterPanel]:
    """The judges of handwriting by name: the stroke features and the two style encoders, each with
    the writers of `digits`."""
    judges = {"stroke features": WriterPanel(digits, stroke_vectors(digits), unit=False)}
    for name in ENCODERS:
        judges[f"style encoder: {name}"] = WriterPanel(digits, load_style_encoder(name).styles)
    return judges
