"""Is it really one's hand? What `imitate` writes is held against real writers: is the one who
wrote the given digits recognised in the others?"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..bounds import whole_number
from ..data.datasets import load_digits
from ..data.digits import Digits
from ..data.randomness import random_source
from ..evaluation.writers import WriterPanel, panels
from ..models import sample
from .inversion import imitate
from .sampling import check_conditional

METHODS: dict[str, Callable[[nn.Module, Digits], Tensor]] = {
    "imitate": imitate,
    "imitate, without style encoder": functools.partial(imitate, style_steps=0),
}


def recognise_imitations(
    generator: nn.Module,
    given: int = 1,
    count: int = 100,
    seed: int = 0,
    methods: dict[str, Callable[[nn.Module, Digits], Tensor]] = METHODS,
    judges: dict[str, WriterPanel] | None = None,
) -> list[dict[str, Any]]:
    """Rows of a table: how well `count` writers of the test set are recognised, by each judge.

    Compared are `given` real digits of each, the digits of all other labels that `generator` writes
    from the latent that a method(generator, digits) finds for them, and those of a random latent.
    methods: by their names in the table. judges: by name, `panels` of the test digits if None.
    Writers and digits are drawn with `seed`. A row has seed, given, count, what, judge,
    `Recognition`'s three figures, and the median CPU-seconds of an inversion.

    Raises `InvalidInputError` for an unconditional generator.
    """
    generator = check_conditional(generator)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    judges = panels(load_digits(train=False)) if judges is None else judges
    panel = next(iter(judges.values()))
    places, rows = panel.draw(given, count, seed)
    real = panel.digits[rows.reshape(-1)]
    labels = real.labels.reshape(rows.shape)
    random = generator.draw_latents(count, random_source(seed))
    shown: dict[str, tuple[Digits, float | str]] = {"the real digits": (real, "")}
    for method, invert in methods.items():
        latents, seconds = [], []
        for own in rows:
            start = time.process_time()
            latents.append(invert(generator, panel.digits[own]))
            seconds.append(time.process_time() - start)
        written = other_digits(generator, torch.cat(latents), labels)
        shown[method] = written, float(np.median(seconds))
    shown["a random latent"] = other_digits(generator, random, labels), ""
    return [
        {"seed": seed, "given": given, "count": count, "what": what, "judge": name}
        | judge.recognise(digits, places, labels)._asdict()
        | {"cpu_seconds": took}
        for what, (digits, took) in shown.items()
        for name, judge in judges.items()
    ]


def other_digits(generator: nn.Module, latents: Tensor, labels: np.ndarray) -> Digits:
    """The digits of all labels but `labels` (n, given) from latents (n, z_dim), latent after
    latent."""
    generator = check_conditional(generator)
    others = [np.setdiff1d(np.arange(10), own) for own in labels]
    asked = np.concatenate(others)
    return sample(generator, asked, latents.repeat_interleave(len(others[0]), 0))


def recognise_writers(
    given: Sequence[int] = (1, 3, 5),
    seeds: Sequence[int] = (0, 1, 2),
    count: int = 100,
    judges: dict[str, WriterPanel] | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of a table: how well unseen writers are recognised by real digits of theirs.

    judges: by name, `panels` of the test digits if None.
    """
    judges = panels(load_digits(train=False)) if judges is None else judges
    panel = next(iter(judges.values()))
    for seed in seeds:
        for number in given:
            places, rows = panel.draw(number, count, seed)
            real = panel.digits[rows.reshape(-1)]
            for name, judge in judges.items():
                found = judge.recognise(real, places, real.labels.reshape(rows.shape))
                row = {"seed": seed, "given": number, "count": count, "judge": name}
                yield row | found._asdict()
