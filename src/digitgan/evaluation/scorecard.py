"""`score`: generated digits held against real ones, as a classifier of real digits (the reader) sees them.

Accuracy alone praises a generator that draws one perfect digit of each kind, so each figure stands
beside others that see diversity, and beside the same figure for real digits: the floor.
"""

import contextlib
import dataclasses
import functools
import html
import io
import json
import warnings
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from ..handwriting import sampling as handwriting
from ..common import Mistake, aligned
from ..data.digits import Digits, load_digits
from ..handwriting.sampling import MOMENTS, generate, moments
from .classifier import Reader, fit_reader, load_reader

NEIGHBOURS = 5
HANDS = 500  # rows of ten digits, each in one hand
TAUGHT = 60_000  # digits from which a reader is trained for the classification accuracy score


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """What `score` found; `floor` holds the same for real digits.

    `samples`: generated digits judged, `reals`: real digits they were held against. None: not measured.
    Shares (0..1): `read_as_asked` and `per_digit` (10,), `precision`, `recall`, `density`, `coverage`,
    `copies` (nearer to a training digit than 99 % of the real ones are), `classification_accuracy` (by `taught` digits).
    `nearest`: median distance to the nearest training digit (Euclidean, ink 1). `classes`: how many of the ten
    digits make up 1 % or more; `evenness`: entropy of what is read, 1 for ten equal shares, 0 for one.
    `one_hand`: rank correlations of `MOMENTS` between digits written with one latent.
    `confusion[asked, read]` counts digits. `pairs`: the ten digits nearest to a training digit, each with that one.
    """

    samples: int
    reals: int
    read_as_asked: float | None
    fid: float
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    classes: int
    evenness: float
    nearest: float
    copies: float
    per_digit: tuple
    confusion: np.ndarray = dataclasses.field(repr=False)
    pairs: Digits | None = dataclasses.field(default=None, repr=False)
    one_hand: tuple | None = None
    classification_accuracy: float | None = None
    taught: int = 0
    floor: "Scorecard | None" = dataclasses.field(default=None, repr=False)

    ROWS = (
        ("read_as_asked", "read as asked", "{:.2%}", "higher"),
        ("fid", "Fréchet distance (reader's features)", "{:.2f}", "lower"),
        ("kid", "kernel distance (its floor is 0 but for chance)", "{:.2f}", "lower"),
        ("precision", f"precision (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("recall", f"recall (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("density", f"density (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("coverage", f"coverage (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("classes", "digits that appear", "{} of 10", "higher"),
        ("evenness", "evenness of their shares", "{:.3f}", "higher"),
        ("classification_accuracy", "classification accuracy score ({self.taught:,} digits)", "{:.2%}", "higher"),
        ("nearest", "distance to the nearest training digit", "{:.2f}", "as real"),
        ("copies", "nearer to one than 99 % of real digits", "{:.2%}", "1 % or less"),
    )

    def rows(self):
        """(figure, generated digits, real digits, which way is better, how near the real ones) as text, line by line."""
        for name, title, form, better in self.ROWS:
            value, real = (getattr(card, name) if card else None for card in (self, self.floor))
            if value is not None or name == "read_as_asked":
                told = ("–" if v is None else form.format(v) for v in (value, real))
                near = {"higher": (value, real), "lower": (real, value)}.get(better) if name != "kid" else None
                yield title.format(self=self), *told, better, "" if not near or None in near else _bar(*near)
        for i, name in enumerate(MOMENTS if self.one_hand else ()):
            told = [f"{card.one_hand[i]:.2f}" if card and card.one_hand else "–" for card in (self, self.floor)]
            yield f"one hand: rank correlation of {name}", *told, "higher", _bar(self.one_hand[i], 1)
        if self.read_as_asked is not None:
            told = (_sparkline(card.per_digit) if card else "–" for card in (self, self.floor))
            yield "read as asked, 0 to 9 (95 % to 100 %)", *told, "higher", ""

    def to_json(self):
        """All figures, and those of the floor, as JSON text."""
        values = dataclasses.asdict(self, dict_factory=lambda items: {k: v for k, v in items if k != "pairs"})
        return json.dumps(values, default=np.ndarray.tolist, indent=1) + "\n"

    def _head(self):
        return "", f"{self.samples:,} generated", "real train digits", "better", "as near as real ones"

    def _note(self):
        return f"Both against {self.reals:,} real test digits; as for distances, it is these that are real."

    def __str__(self):
        return f"{aligned([self._head(), *self.rows()])}\n{self._note()}"

    def _repr_html_(self):
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self._head())
        cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self.rows())
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><tr>{head}</tr>{body}</table><p>{self._note()}</p>"


def _bar(part, whole):
    """A bar of up to ten blocks: `part` as a share of `whole`. Blocks of text show where styles are stripped."""
    eighths = round(80 * min(max(part / whole, 0), 1)) if whole else 80
    return "█" * (eighths // 8) + "▏▎▍▌▋▊▉"[eighths % 8 - 1 : eighths % 8] * bool(eighths % 8)


def _sparkline(shares):
    """Ten shares as ten blocks, from 95 % (or less) to 100 %."""
    return "".join("▁▂▃▄▅▆▇█"[round(7 * min(max((v - 0.95) / 0.05, 0), 1))] for v in shares)


def score(fake, real=None, reader=None, seed=0, hands=None, taught=None):
    """Judge some `Digits` against real ones (as many of MNIST's test digits unless given), as a `Scorecard`.

    read as asked: share that the reader takes for their labels. Fréchet distance (FID, Heusel et al.,
    arXiv 1706.08500) and kernel distance (KID, Bińkowski et al., arXiv 1801.01401) in the reader's 128 features.
    Precision and recall (Kynkäänniemi et al., arXiv 1904.06991), density and coverage (Naeem et al.,
    arXiv 2002.09797) among k nearest neighbours. Copies: distances in pixels to the nearest of the training digits.
    hands: rows of the digits 0 to 9 with one latent each, asked whether a hand keeps its slant, width and size.
    taught: generated digits from which a reader is trained afresh for 2 epochs and tested on `real`
    (classification accuracy score, Ravuri & Vinyals, arXiv 1905.10887).
    The floor holds as many real training digits, drawn with `seed`, against the same real ones.
    Figures depend on the number of samples: compare like with like, 10,000 by custom.

    Raises `Mistake` for fewer than 100 digits, or hands that are not rows of 0 to 9.
    """
    if (fewest := min(len(fake), len(fake if real is None else real))) < 100:
        raise Mistake(f"{fewest} generated or real digits: must be 100 or more of each")
    agreement = None if hands is None else one_hand(hands)
    known = _known(real, reader, len(fake))
    distance, index = _nearest(fake, known.train)
    closest, close = np.argsort(distance)[:10], np.quantile(known.away, 0.01)

    def card(figures, distance, agreement, lesson, **more):
        return Scorecard(
            **figures,
            nearest=float(np.median(distance)),
            copies=float((distance < close).mean()),
            one_hand=agreement,
            taught=0 if lesson is None else len(lesson),
            classification_accuracy=None if lesson is None else fit_reader(lesson, known.real, 2, seed, quiet=True)[1],
            **more,
        )

    strangers = None if hands is None else one_hand(_rows_of_strangers(known.train, len(hands) // 10, seed))
    lesson = None if taught is None else known.train[: len(taught)]
    floor = card(_floor(real, reader, len(fake), seed), known.away, strangers, lesson)
    pairs = fake[closest] + known.train[index[closest]]
    return card(_compare(fake, known, seed), distance, agreement, taught, pairs=pairs, floor=floor)


class _Known(NamedTuple):
    """The real side of a comparison."""

    real: Digits
    train: Digits
    reader: Reader
    features: torch.Tensor
    away: np.ndarray  # distances of `count` of the real digits to the nearest training digits


@functools.lru_cache(1)  # one judge, many scorecards
def _known(real, reader, count):
    if real is None:  # from all of the set: its halves were written by different groups of people
        real = load_digits(train=False)
        real = real[np.linspace(0, len(real) - 1, min(count, len(real))).astype(int)]
    reader = load_reader() if reader is None else reader
    train = load_digits(train=True)
    return _Known(real, train, reader, reader.features(real), _nearest(real[:count], train)[0])


@functools.lru_cache(1)
def _floor(real, reader, count, seed):
    known = _known(real, reader, count)
    some = np.random.default_rng(seed).choice(len(known.train), min(count, len(known.train)), replace=False)
    return _compare(known.train[some], known, seed)


def score_generator(generator, num=10_000, seed=0, reader=None, teach=False):
    """`score` of `num` digits with balanced labels and of 500 hands, all drawn with `seed`.

    teach: measure the classification accuracy score too, on 60,000 further digits.
    """
    conditional = generator.hyperparameters.conditional
    return score(
        generate(generator, np.arange(num) % 10, seed),
        reader=reader,
        seed=seed,
        hands=handwriting.hands(generator, HANDS, seed) if conditional else None,
        taught=generate(generator, np.arange(TAUGHT) % 10, seed ^ 1) if teach and conditional else None,
    )


def one_hand(hands):
    """How far a row's ten digits agree in slant, stroke width and size: three rank correlations.

    Ranks are taken among the rows, digit by digit, so that a 1 is narrow among 1s; the correlation is the
    mean over pairs of digits: 0 for rows of strangers, 1 where every digit shows the same order of hands.
    """
    if len(hands) < 20 or len(hands) % 10 or (hands.labels != np.arange(len(hands)) % 10).any():
        raise Mistake(f"{len(hands)} digits of hands: must be two or more rows of the digits 0 to 9")
    ranks = rankdata(moments(hands).reshape(-1, 10, len(MOMENTS)), axis=0)
    pairs = np.triu_indices(10, 1)
    return tuple(float(np.corrcoef(ranks[:, :, i].T)[pairs].mean()) for i in range(len(MOMENTS)))


def _rows_of_strangers(digits, rows, seed):
    """Rows of the digits 0 to 9, each by whoever wrote it."""
    rng = np.random.default_rng(seed)
    columns = [rng.choice(np.flatnonzero(digits.labels == y), rows, replace=False) for y in range(10)]
    return digits[np.stack(columns, 1).reshape(-1)]


def _nearest(digits, train):
    """Distance of each digit to the nearest training digit, and which one: (N,), (N,)."""
    everything = torch.from_numpy(train.images).flatten(1).float() / 255  # (60,000, 784)
    squares, found = everything.square().sum(1), []
    for pixels in torch.from_numpy(digits.images).flatten(1).split(1000):
        batch = pixels.float() / 255
        squared, index = (squares - 2 * batch @ everything.T).min(1)
        found.append(((squared + batch.square().sum(1)).clamp_min(0).sqrt(), index))
    return tuple(torch.cat(part).numpy() for part in zip(*found, strict=True))


def _compare(fake, known, seed):
    """The figures that the reader's features give."""
    from joblib import parallel_config
    from prdc import compute_prdc
    from torchmetrics.image.kid import KernelInceptionDistance

    reader, real_features = known.reader, known.features
    features = reader.features(fake)
    with warnings.catch_warnings():  # that it keeps all features
        warnings.simplefilter("ignore")
        kid = KernelInceptionDistance(feature=nn.Identity(), subset_size=min(1000, len(fake), len(real_features)))
    kid.update(real_features, real=True), kid.update(features, real=False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # of its subsets
        kernel = float(kid.compute()[0])
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, parallel_config("sequential"):  # it prints, and its threads race to warn
        neighbours = compute_prdc(real_features.numpy(), features.numpy(), NEIGHBOURS)
    labelled = fake.labels >= 0
    with torch.inference_mode():
        read = reader.head(features).argmax(1).numpy()
    shares = np.bincount(read, minlength=10) / len(read)
    confusion = np.zeros((10, 10), np.int64)
    np.add.at(confusion, (fake.labels[labelled], read[labelled]), 1)
    return {
        "samples": len(fake),
        "reals": len(real_features),
        "read_as_asked": float((read == fake.labels)[labelled].mean()) if labelled.any() else None,
        "fid": frechet_distance(features, real_features),
        "kid": kernel,
        **{name: float(value) for name, value in neighbours.items()},
        "classes": int((shares >= 0.01).sum()),
        "evenness": abs(float((shares[shares > 0] * np.log10(shares[shares > 0])).sum())),
        "per_digit": tuple((np.diag(confusion) / confusion.sum(1).clip(1)).tolist()),
        "confusion": confusion,
    }


def frechet_distance(features, real_features):
    """FID between two sets of a reader's features (N, 128), (M, 128)."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    identity = nn.Identity()  # features are handed over: computed once, they serve every figure
    identity.num_features = features.shape[1]
    fid = FrechetInceptionDistance(feature=identity)
    fid.update(real_features, real=True), fid.update(features, real=False)
    return float(fid.compute())
