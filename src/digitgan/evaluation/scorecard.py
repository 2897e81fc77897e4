"""`score`: generated digits held against real ones, as a classifier of real digits sees them.

Accuracy alone praises a generator that draws one perfect digit of each kind. So each figure stands
beside others that see diversity, and beside the same figure for real digits: the real reference.
"""

import dataclasses
import functools
import json
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import nn

from ..bounds import whole_number
from ..data.datasets import load_digits
from ..data.digits import Digits
from ..data.spec import DIGITS, MNIST
from ..data.tables import format_table, markdown_table
from ..errors import InvalidInputError
from ..models import Generator, sample, sample_rows
from ..runs.torch_modes import ordinary_torch
from ..runs.weights import as_generator
from .classifier import DigitClassifier, fit_classifier, load_classifier
from .distances import NEIGHBOURS, frechet_distance, kernel_distance, nearest, precision_recall
from .stroke_features import STROKE_FEATURES, stroke_features

STYLE_ROWS = 500  # rows of ten digits, each with one latent
CAS_SAMPLES = (
    60_000  # digits from which a classifier is trained for the classification accuracy score
)
CAS_EPOCHS = 2


@dataclasses.dataclass(frozen=True)
class Scorecard:
    """What `score` measured; `reference` holds the same for real digits. None: not measured.

    `samples`: generated digits judged; `reals`: real digits they were held against.
    Fractions (0..1): `label_accuracy` and `per_digit` (10,), `precision`, `recall`, `density`,
    `coverage`, `copy_fraction` (nearer to a training digit than 99 % of real digits are), `cas`
    (the classification accuracy score, from `cas_samples` digits). `nn_distance`: median distance
    to the nearest training digit (Euclidean, ink 1). `classes`: how many of the `class_names` make
    up a tenth of an equal fraction or more (of ten digits: 1 %); `evenness`: entropy of the
    predicted classes, 1 for equal fractions, 0 for one class. `style_consistency`: rank
    correlations of `STROKE_FEATURES` between digits of one latent (in the reference: of one real
    writer); `strangers`: between digits of different writers.
    `confusion[label, prediction]` counts digits. `pairs`: the ten digits nearest to a training
    digit, then those ten training digits.
    """

    samples: int
    reals: int
    label_accuracy: float | None
    frechet_distance: float
    kernel_distance: float
    precision: float
    recall: float
    density: float
    coverage: float
    classes: int
    evenness: float
    nn_distance: float
    copy_fraction: float
    per_digit: tuple[float, ...]
    confusion: np.ndarray = dataclasses.field(repr=False)
    pairs: Digits | None = dataclasses.field(default=None, repr=False)
    style_consistency: tuple[float, ...] | None = None
    strangers: tuple[float, ...] | None = None
    cas: float | None = None
    cas_samples: int = 0
    reference: "Scorecard | None" = dataclasses.field(default=None, repr=False)
    class_names: tuple[str, ...] = dataclasses.field(default=DIGITS, repr=False)

    ROWS: ClassVar[
        tuple[tuple[str, str, str, str], ...]
    ] = (  # field, title, format, which way is better
        ("label_accuracy", "label accuracy", "{:.2%}", "higher"),
        ("frechet_distance", "Fréchet distance (classifier's features)", "{:.2f}", "lower"),
        ("kernel_distance", "kernel distance (0 for equal sets)", "{:.2f}", "lower"),
        ("precision", f"precision (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("recall", f"recall (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("density", f"density (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("coverage", f"coverage (k = {NEIGHBOURS})", "{:.3f}", "higher"),
        ("classes", "classes that appear", "{} of {of}", "higher"),
        ("evenness", "evenness of the classes", "{:.3f}", "higher"),
        ("cas", "classification accuracy score ({self.cas_samples:,} digits)", "{:.2%}", "higher"),
        ("nn_distance", "distance to the nearest training digit", "{:.2f}", "as real"),
        ("copy_fraction", "nearer to one than 99 % of real digits", "{:.2%}", "1 % or less"),
    )

    def rows(self) -> Iterator[tuple[str, ...]]:
        """(figure, generated, real, which way is better, how near to real) as text, row by row."""
        cards = (self, self.reference)
        for name, title, form, better in self.ROWS:
            value, real = (getattr(card, name) if card else None for card in cards)
            if value is not None or name == "label_accuracy":
                of = len(self.class_names)
                texts = ("–" if v is None else form.format(v, of=of) for v in (value, real))
                yield title.format(self=self), *texts, better, _nearness(name, better, value, real)
        for i, name in enumerate(STROKE_FEATURES if self.style_consistency else ()):
            values = [c.style_consistency[i] if c and c.style_consistency else None for c in cards]
            texts = ("–" if v is None else f"{v:.2f}" for v in values)
            chance = f" (strangers {self.strangers[i]:.2f})" if self.strangers else ""
            title, part = f"style consistency: {name}{chance}", _as_near(*values)
            yield title, *texts, "as people", part
        if self.label_accuracy is not None:
            floor = 0.95 if min(cards[-1].per_digit if cards[-1] else [1]) > 0.9 else 0.5
            texts = (_sparkline(card.per_digit, floor) if card else "–" for card in cards)
            ends = f"{self.class_names[0]} to {self.class_names[-1]}"
            yield f"label accuracy, {ends} ({floor:.0%} to 100 %)", *texts, "higher", ""

    def to_json(self) -> str:
        """All figures, and those of the reference, as JSON text."""

        def without_pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
            return {name: value for name, value in items if name != "pairs"}

        values = dataclasses.asdict(self, dict_factory=without_pairs)
        return json.dumps(values, default=np.ndarray.tolist, indent=1) + "\n"

    def _head(self) -> tuple[str, ...]:
        return (
            "",
            f"{self.samples:,} generated",
            "real train digits",
            "better",
            "as near as real ones",
        )

    def _note(self) -> str:
        both = f"Both are held against {self.reals:,} real test digits"
        people = " Style consistency: digits of one latent beside those of one real writer."
        people *= self.style_consistency is not None
        return f"{both}. Real train digits are the reference.{people}"

    def __str__(self) -> str:
        return f"{format_table([self._head(), *self.rows()])}\n{self._note()}"

    def _repr_markdown_(self) -> str:
        return f"{markdown_table(self._head(), self.rows())}\n\n{self._note()}"


def _nearness(name: str, better: str, value: float | None, real: float | None) -> str:
    """A bar of how near a figure is to that of real digits, where that can be said as a
    fraction."""
    if value is None or real is None or name == "kernel_distance":
        return ""
    return {"higher": _bar(value, real), "lower": _bar(real, value)}.get(better, "")


def _as_near(value: float | None, people: float | None) -> str:
    """A bar of how near a correlation is to that of people, from below or from above."""
    if value is None or people is None:
        return ""
    return _bar(min(value, people), max(value, people))


def _bar(part: float, whole: float) -> str:
    """A bar of up to ten blocks: `part` as a fraction of `whole`, as text."""
    eighths = round(80 * min(max(part / whole, 0), 1)) if whole else 80
    return "█" * (eighths // 8) + "▏▎▍▌▋▊▉"[eighths % 8 - 1 : eighths % 8] * bool(eighths % 8)


def _sparkline(fractions: tuple[float, ...], floor: float) -> str:
    """Fractions as blocks, from `floor` (or less) to 100 %; at most 64 of them."""
    scaled = (min(max((v - floor) / (1 - floor), 0), 1) for v in fractions[:64])
    return "".join("▁▂▃▄▅▆▇█"[round(7 * v)] for v in scaled)


@ordinary_torch()
def score(
    fake: Digits,
    real: Digits | None = None,
    classifier: DigitClassifier | None = None,
    seed: int = 0,
    style_rows: Digits | None = None,
    cas_samples: Digits | None = None,
    train: Digits | None = None,
) -> Scorecard:
    """Judge some `Digits` against real ones (as many of MNIST's test digits unless given).

    For images of another kind, give `real` and `train`, test and training images of their set, and
    a classifier of it (`classifier_for` makes one); the training digits are else MNIST's.

    Label accuracy: fraction of digits that the classifier takes for their labels (GAN-test
    accuracy, arXiv 1807.09499). Fréchet and kernel distance in the classifier's 128 features;
    precision, recall, density and coverage among k nearest neighbours (`distances.py` has the
    papers). Copies: distances in pixels to the nearest of the training digits. style_rows: rows of
    the digits 0 to 9 with one latent in each row, for style consistency: beside real writers
    (`writers_consistency`), and strangers as the chance level. cas_samples: generated
    digits on which a new classifier is trained for two epochs and tested on `real` (classification
    accuracy score, Ravuri & Vinyals, arXiv 1905.10887; GAN-train accuracy). The reference holds as
    many real training digits, drawn with `seed`, against the same real ones. Figures depend on the
    number of samples: compare like with like, 10,000 by custom.

    Raises `InvalidInputError` for fewer than 100 digits, or style rows that are not rows of 0 to 9.
    """
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    if len(fake) < 100 or (real is not None and len(real) < 100):
        told = f"{len(fake)} generated digits" + (f", {len(real)} real ones" if real else "")
        raise InvalidInputError(f"{told}: must be 100 or more of each")
    consistency = None if style_rows is None else style_consistency(style_rows)
    side = _real_side(real, train, classifier, len(fake))
    if not fake.spec == side.real.spec == side.train.spec == side.classifier.spec:
        told = f"real {side.real.spec}, training {side.train.spec}, a classifier of "
        told = f"{fake.spec} against {told}{side.classifier.spec}"
        raise InvalidInputError(f"{told}: must be of one kind")
    distance, index = nearest(fake, side.train)
    order = np.argsort(distance)[:10]
    copy_threshold = np.quantile(side.nn_distance, 0.01)

    def card(
        figures: dict[str, Any], distance: np.ndarray, samples: Digits | None, **more: Any
    ) -> Scorecard:
        cas = None
        if samples is not None:
            cas = fit_classifier(samples, side.real, CAS_EPOCHS, seed, quiet=True)[1]
        return Scorecard(
            class_names=fake.classes,
            **figures,
            nn_distance=float(np.median(distance)),
            copy_fraction=float((distance < copy_threshold).mean()),
            cas=cas,
            cas_samples=0 if samples is None else len(samples),
            **more,
        )

    strangers, people = None, None
    if style_rows is not None:
        rows = len(style_rows) // style_rows.spec.columns
        strangers = style_consistency(rows_of_strangers(side.train, rows, seed))
        people = writers_consistency(side.train, seed)
    real_subset = None if cas_samples is None else side.train[: len(cas_samples)]
    real_figures = _reference(real, train, classifier, len(fake), seed)
    reference = card(real_figures, side.nn_distance, real_subset, style_consistency=people)
    figures = _compare(fake, side, seed)
    pairs = fake[order] + side.train[index[order]]
    more: dict[str, Any] = {"style_consistency": consistency, "strangers": strangers}
    more |= {"pairs": pairs, "reference": reference}
    return card(figures, distance, cas_samples, **more)


class RealSide(NamedTuple):
    """The real side of a comparison."""

    real: Digits
    train: Digits
    classifier: DigitClassifier
    features: torch.Tensor  # of `real`
    nn_distance: np.ndarray  # of `count` of the real digits to the nearest training digits


@functools.lru_cache(1)  # one judge, many scorecards
def _real_side(
    real: Digits | None, train: Digits | None, classifier: DigitClassifier | None, count: int
) -> RealSide:
    if real is None:  # from all of the set: its halves were written by different groups of people
        real = load_digits(train=False).spread(count)
    classifier = load_classifier() if classifier is None else classifier
    train = load_digits(train=True) if train is None else train
    distance, _ = nearest(real.spread(count), train)
    return RealSide(real, train, classifier, classifier.features(real), distance)


@functools.lru_cache(1)
def _reference(
    real: Digits | None,
    train: Digits | None,
    classifier: DigitClassifier | None,
    count: int,
    seed: int,
) -> dict[str, Any]:
    side = _real_side(real, train, classifier, count)
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(side.train), min(count, len(side.train)), replace=False)
    return _compare(side.train[rows], side, seed)


def _compare(fake: Digits, side: RealSide, seed: int) -> dict[str, Any]:
    """The figures that the classifier's features give."""
    features, k = side.classifier.features(fake), len(side.classifier.spec.classes)
    with torch.inference_mode():
        predicted = side.classifier.head(features).argmax(1).numpy()
    labelled = fake.labels >= 0
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (fake.labels[labelled], predicted[labelled]), 1)
    correct = (predicted == fake.labels)[labelled]
    fractions = np.bincount(predicted, minlength=k) / len(predicted)
    present = fractions[fractions > 0]
    return {
        "samples": len(fake),
        "reals": len(side.features),
        "label_accuracy": float(correct.mean()) if len(correct) else None,
        "frechet_distance": frechet_distance(features, side.features),
        "kernel_distance": kernel_distance(features, side.features, seed),
        **precision_recall(features, side.features),
        "classes": int((fractions >= 0.1 / k).sum()),
        "evenness": abs(float((present * np.log10(present)).sum())) / np.log10(k) if k > 1 else 1.0,
        "per_digit": tuple((np.diag(confusion) / confusion.sum(1).clip(1)).tolist()),
        "confusion": confusion,
    }


@ordinary_torch()
def score_generator(
    generator: nn.Module,
    num: int = 10_000,
    seed: int = 0,
    classifier: DigitClassifier | None = None,
    cas: bool = False,
    real: Digits | None = None,
    train: Digits | None = None,
) -> Scorecard:
    """`score` of `num` digits with balanced labels and of 500 style rows, all drawn with `seed`.

    Style rows are of grey images in several classes. cas: measure the classification accuracy score
    too, on 60,000 further digits (some minutes). real, train: test and training images of the set,
    where it is not MNIST.
    """
    num, seed = whole_number("num", num), whole_number("seed", seed, 0, 2**32 - 1)
    network: Generator = as_generator(generator)
    spec, conditional = network.spec, network.hyperparameters.conditional
    if (spec.shape != MNIST.shape or len(spec.classes) != 10) and (real is None or train is None):
        raise InvalidInputError(f"a generator of {spec}: give real and training images of its set")
    rows = conditional and spec.channels == 1 and len(spec.classes) > 1
    k = len(spec.classes)
    labels, more = np.arange(num) % k, np.arange(CAS_SAMPLES) % k
    return score(
        sample(network, labels, seed=seed),
        real,
        classifier=classifier,
        train=train,
        seed=seed,
        style_rows=sample_rows(network, STYLE_ROWS, seed) if rows else None,
        cas_samples=sample(network, more, seed=seed ^ 1) if cas and conditional else None,
    )


def style_consistency(rows: Digits) -> tuple[float, ...]:
    """How far a row's digits agree in slant, stroke width and height: three rank correlations.

    Ranks are taken among the rows, digit by digit, so that a 1 is narrow among 1s; the correlation
    is the mean over pairs of digits. 0 for rows by many writers, 1 where every digit orders the
    rows alike.
    """
    k, names = rows.spec.columns, rows.classes
    if (
        k < 2
        or len(rows) < 2 * k
        or len(rows) % k
        or (rows.labels != np.arange(len(rows)) % k).any()
    ):
        what = f"{'digits' if names == DIGITS else 'classes'} {names[0]} to {names[k - 1]}"
        rule = f"must be two or more rows of the {what}"
        raise InvalidInputError(f"{len(rows)} digits in style rows: {rule}")
    features = stroke_features(rows).reshape(-1, k, len(STROKE_FEATURES))
    ranks = _ranks(features, 0)
    pairs = np.triu_indices(k, 1)
    correlations = (
        np.corrcoef(ranks[:, :, i].T)[pairs].mean() for i in range(len(STROKE_FEATURES))
    )
    return tuple(map(float, correlations))


def rows_of_strangers(digits: Digits, rows: int, seed: int) -> Digits:
    """Rows of the digits 0 to 9, each digit by whoever wrote it: the chance level of style
    consistency. A class of fewer digits than rows lends some several times."""
    rng, columns = np.random.default_rng(seed), []
    for y, name in enumerate(digits.classes[: digits.spec.columns]):
        found = np.flatnonzero(digits.labels == y)
        if not len(found):
            raise InvalidInputError(f"class {name!r}: has no real images to compare with")
        columns.append(rng.choice(found, rows, replace=len(found) < rows))
    return digits[np.stack(columns, 1).reshape(-1)]


def _ranks(features: np.ndarray, axis: int) -> np.ndarray:
    from scipy.stats import rankdata  # slow to import, and no training run needs it

    return rankdata(features, axis=axis)


@functools.lru_cache(1)
def writers_consistency(digits: Digits, seed: int = 0, draws: int = 20) -> tuple[float, ...] | None:
    """The `style_consistency` of real writers, or None where `digits` have not twenty of them who
    wrote each digit twice.

    A writer has one latent handwriting, if any, but no two tries of a digit are equal, which makes
    correlations smaller. So they are divided by those between two tries of the same digit
    (Spearman's correction for attenuation). The mean of `draws` draws of two tries each.
    """
    rows = _tries(digits, draws, np.random.default_rng(seed))
    if rows is None:
        return None
    features = stroke_features(digits)[rows]  # (draws, 2, writers, 10, 3)
    ranks = _ranks(features, 2)
    ranks = (ranks - ranks.mean(2, keepdims=True)) / ranks.std(2, keepdims=True)
    first, second = ranks[:, 0], ranks[:, 1]  # (draws, writers, 10, 3)
    between = np.einsum("nwaf,nwbf->fab", first, second) / first.shape[1] / draws  # (3, 10, 10)
    again = np.diagonal(between, axis1=1, axis2=2).clip(1e-6)  # (3, 10)
    corrected = between / np.sqrt(again[:, :, None] * again[:, None])
    across = ~np.eye(10, dtype=bool)
    return tuple(float(c[across].mean()) for c in corrected)


def _tries(digits: Digits, draws: int, rng: np.random.Generator) -> np.ndarray | None:
    """Rows of two different digits of each label by each writer, (draws, 2, writers, 10)."""
    if digits.writers is None or digits.classes != DIGITS:
        return None
    known = np.flatnonzero((digits.writers >= 0) & (digits.labels >= 0))
    group = digits.writers[known] * 10 + digits.labels[known]
    order = known[np.argsort(group, kind="stable")]
    group = np.sort(group)
    found, start, count = np.unique(group, return_index=True, return_counts=True)
    found, start, count = (v[(count >= 2) & (found >= 0)] for v in (found, start, count))
    writers, kinds = np.unique(found // 10, return_counts=True)
    whole = np.isin(found // 10, writers[kinds == 10])
    if whole.sum() < 200:
        return None
    start, count = start[whole].reshape(-1, 10), count[whole].reshape(-1, 10)  # (writers, 10)
    one = rng.integers(count, size=(draws, *count.shape))
    two = (one + rng.integers(1, count, size=one.shape)) % count  # another one
    return order[start + np.stack([one, two], 1)]
