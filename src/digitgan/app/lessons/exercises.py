"""The checks of the exercises: each says in a sentence what is wrong with an answer."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ...data.datasets import load_digits
from ...data.digits import Digits
from ...errors import InvalidInputError, one_line, short_repr
from ...models import from_pixels


class NotYet(Exception):
    """What is wrong with an answer, in one sentence."""


def check(number: int, answer: Any) -> bool:
    """Check the answer to an exercise (1 to 10); print what is wrong in a sentence, or that it is
    right. Whether it is right."""
    if number not in CHECKS:
        raise InvalidInputError(f"exercise {short_repr(number)}: must be from 1 to {len(CHECKS)}")
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            CHECKS[number](answer)
    except NotYet as sentence:
        print(f"Exercise {number}, not yet: {sentence}")
        return False
    except Exception as error:  # of the answer's own code
        told = one_line(error) or "no message"
        print(f"Exercise {number}, not yet: your code stopped with {type(error).__name__}: {told}")
        return False
    print(f"Exercise {number} is right.")
    return True


def compare(got: Any, expected: Tensor, wrong: Mapping[str, Tensor] | None = None) -> None:
    """Raise `NotYet` unless `got` is the tensor expected. wrong: sentence -> what a usual mistake
    returns."""
    refuse_others_than_tensors(got)
    for sentence, value in (wrong or {}).items():
        if same(got, value):
            raise NotYet(sentence)
    if got.shape != expected.shape:
        rule = f"must be {tuple(expected.shape) or 'a single number, ()'}"
        raise NotYet(f"the result has the shape {tuple(got.shape)}; it {rule}")
    if not got.is_floating_point():
        raise NotYet(f"the result is of type {got.dtype}; it must be floating point")
    if not got.isfinite().all():
        raise NotYet("the result holds numbers that are infinite or no numbers")
    if not same(got, expected):
        i = int((got - expected).abs().argmax())
        values = f"{float(got.flatten()[i]):.4g} in place of {float(expected.flatten()[i]):.4g}"
        raise NotYet(f"the shape is right, but the numbers are not: for example {values}")


def refuse_others_than_tensors(got: Any) -> None:
    """Raise `NotYet` unless a function returned a tensor."""
    if got is None or got is Ellipsis:
        raise NotYet("the function returns nothing; does it end with `return ...`?")
    if not isinstance(got, Tensor):
        raise NotYet(f"it returns {type(got).__name__}; it must return a tensor")


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have one shape and, up to rounding, the same numbers."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6)


def check_range(to_range: Any) -> None:
    """Exercise 1: pixels to the range from -1 to 1."""
    pixels = torch.arange(2 * 28 * 28, dtype=torch.int64).reshape(2, 28, 28).to(torch.uint8)
    expected = from_pixels(pixels)
    wrong = {
        "the channel axis is missing: (B, 28, 28) must become (B, 1, 28, 28)": expected[:, 0],
        "the values go from 0 to 1; they must go from -1 to 1": (expected + 1) / 2,
        "paper (0) became 1 and ink (255) became -1; it must be the other way round": -expected,
        "the values go from -0.5 to 0.5; they must go from -1 to 1": expected / 2,
    }
    compare(to_range(pixels), expected, wrong)


def check_generator_loss(generator_loss: Any) -> None:
    """Exercise 2: -log sigma(D(G(z)))."""
    fake = torch.tensor([2.0, -1.0, 0.5, -4.0])
    wrong = {
        "this falls when D is right: look at the sign of the logit": softplus(fake).mean(),
        "this is the loss of each image; return the mean over the batch": softplus(-fake),
        "this is the sum over the batch; return the mean": softplus(-fake).sum(),
        "the sign is turned round: a loss is minimised": -softplus(-fake).mean(),
        "this is log(1 - sigma), the saturating loss; the exercise asks for -log sigma": (
            -softplus(fake).mean()
        ),
        "this is the logit itself: the logistic function is missing": -fake.mean(),
    }
    compare(generator_loss(fake), softplus(-fake).mean(), wrong)
    sure = torch.tensor([-200.0, -300.0])  # log(sigmoid(.)) is -inf here
    got = generator_loss(sure)
    if not same(got, torch.tensor(250.0)):
        told = f"for the logits -200 and -300 it returns {float(got):.4g}, not 250"
        raise NotYet(f"{told}: take softplus or logsigmoid, which do not round to 0")


def check_discriminator_loss(discriminator_loss: Any) -> None:
    """Exercise 3: -log sigma(D(x)) - log(1 - sigma(D(G(z))))."""
    real, fake = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([1.0, -2.0, 0.25, 0.0])
    of_real, of_fake = softplus(-real).mean(), softplus(fake).mean()
    wrong = {
        "this is small when D is wrong: real and fake are exchanged": (
            softplus(real).mean() + softplus(-fake).mean()
        ),
        "the part of the generated images is missing": of_real,
        "the part of the real images is missing": of_fake,
        "both parts want a high logit; the generated images must get a low one": (
            of_real + softplus(-fake).mean()
        ),
        "this is the mean of the two parts; the formula has their sum": (of_real + of_fake) / 2,
    }
    compare(discriminator_loss(real, fake), of_real + of_fake, wrong)


def check_label(logit_with_label: Any) -> None:
    """Exercise 4: the label by projection."""
    features, y = torch.randn(6, 16), torch.tensor([3, 1, 4, 1, 5, 9])
    to_logit, embedding = nn.Linear(16, 1), nn.Embedding(10, 16)
    plain, agree = to_logit(features).squeeze(1), (features * embedding(y)).sum(1)
    wrong = {
        "the label has no effect: add the scalar product with the embedding": plain,
        "the part without the label is missing: add to_logit(features)": agree,
        "the shape is (6, 6): (6, 1) + (6,) was broadcast; squeeze to_logit's last axis": (
            to_logit(features) + agree
        ),
        "the shape is (6, 1); squeeze the last axis": (plain + agree)[:, None],
        "the scalar product is a sum over the features, not a mean": (
            plain + (features * embedding(y)).mean(1)
        ),
    }
    compare(logit_with_label(features, y, to_logit, embedding), plain + agree, wrong)


def check_step(discriminator_step: Any) -> None:
    """Exercise 5: one step of D."""
    G = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    D = nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1), nn.Flatten(0))
    real, z = torch.randn(16, 2), torch.randn(16, 2)
    softplus(D(real)).mean().backward()  # what an earlier step might have left
    start, before, expected, not_cleared = (copy.deepcopy(net) for net in (D, G, D, D))
    for net, clear in ((expected, True), (not_cleared, False)):
        for left, now in zip(D.parameters(), net.parameters(), strict=True):
            now.grad = None if clear or left.grad is None else left.grad.clone()
        loss = softplus(-net(real)).mean() + softplus(net(G(z).detach())).mean()
        loss.backward()
        torch.optim.SGD(net.parameters(), lr=0.1).step()
    discriminator_step(G, D, torch.optim.SGD(D.parameters(), lr=0.1), real, z)
    if equal_weights(D, start):
        raise NotYet("D has not changed: did you call `backward()` and `optimizer.step()`?")
    if not equal_weights(G, before):
        raise NotYet("G's weights have changed: this is D's step")
    if any(weight.grad is not None for weight in G.parameters()):
        raise NotYet("gradients flowed into G: cut the connection with `detach()`")
    if equal_weights(D, not_cleared):
        raise NotYet("gradients of an earlier step were added: call `optimizer.zero_grad()` first")
    if not equal_weights(D, expected):
        raise NotYet("D has changed, but not by one step on L_D = L(real) + L(generated)")


def equal_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two networks have, up to rounding, the same weights."""
    vectors = (nn.utils.parameters_to_vector(net.parameters()) for net in (a, b))
    return same(*vectors)


class Bowl(nn.Module):
    """D(x) = scale * ||x||^2 / 2, whose gradient is scale * x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.scale * x.square().sum((1, 2, 3)) / 2


def check_r1(r1: Any) -> None:
    """Exercise 6: the penalty R1."""
    D, real, y = Bowl(), torch.randn(5, 1, 4, 4), torch.zeros(5, dtype=torch.int64)
    squares = 9 * real.square()  # (5, 1, 4, 4)
    wrong = {
        "this is the mean over all pixels; sum over the pixels of each image": squares.mean(),
        "this is the norm; the penalty has its square": squares.sum((1, 2, 3)).sqrt().mean(),
        "this is the sum over the images; return the mean": squares.sum(),
        "this is the penalty of each image; return the mean": squares.sum((1, 2, 3)),
        "the gradient is divided by the number of images: differentiate the sum of the logits": (
            squares.sum((1, 2, 3)).mean() / 25
        ),
    }
    got = r1(D, real, y)
    compare(got, squares.sum((1, 2, 3)).mean(), wrong)
    if not got.requires_grad:
        raise NotYet("the number is right, but D cannot learn from it: set `create_graph=True`")
    (slope,) = torch.autograd.grad(got, D.scale, allow_unused=True)
    if slope is None or not same(slope, 2 * got.detach() / 3):
        raise NotYet("the number is right, but its gradient for D's weights is not")


def check_average(average: Any) -> None:
    """Exercise 7: averaged weights."""
    averaged, current = nn.Linear(3, 2), nn.Linear(3, 2)
    old, new = (nn.utils.parameters_to_vector(n.parameters()).detach() for n in (averaged, current))
    average(averaged, current, 0.1)
    if not torch.equal(nn.utils.parameters_to_vector(current.parameters()), new):
        raise NotYet("the current network has changed; only the averaged one may move")
    wrong = {
        "the averaged network has not changed": old,
        "it moved nine tenths of the way: alpha is the weight of the current network": (
            old + 0.9 * (new - old)
        ),
        "it was moved all the way to the current network": new,
        "alpha times the current weights was added, but the old ones did not shrink": old
        + 0.1 * new,
    }
    compare(
        nn.utils.parameters_to_vector(averaged.parameters()).detach(),
        old + 0.1 * (new - old),
        wrong,
    )


def check_walk(latent_walk: Any) -> None:
    """Exercise 8: a walk on the sphere."""
    start, end = torch.zeros(8), torch.zeros(8)
    start[0] = end[1] = 2.0
    got = latent_walk(start, end, 5)
    angles = torch.arange(5) / 4 * math.pi / 2
    expected = angles.cos()[:, None] * start + angles.sin()[:, None] * end
    weights = torch.linspace(0, 1, 5)[:, None]
    wrong = {
        "this is the straight line: halfway, its latents are shorter than at both ends, where G "
        "was not trained; go along the circle": torch.lerp(start, end, weights),
        "the walk goes from the end to the start": expected.flip(0),
    }
    compare(got, expected, wrong)
    start, end = torch.randn(8), torch.randn(8)
    end = end * start.norm() / end.norm()
    got = latent_walk(start, end, 7)
    if not (same(got[0], start) and same(got[-1], end)):
        raise NotYet("for other latents, the walk does not begin at `start` and end at `end`")
    if not same(got.norm(dim=1), start.norm().expand(7)):
        raise NotYet("for latents that are not at a right angle, the lengths change on the way")
    steps = (got[1:] - got[:-1]).norm(dim=1)
    if not same(steps, steps.mean().expand(6)):
        raise NotYet("the steps are not equally long: divide the angle, not the straight line")


def check_recall(recall: Any) -> None:
    """Exercise 9: recall of features."""
    fake, real, k = torch.randn(40, 4), 1.5 * torch.randn(60, 4), 3

    def covered(inner: Tensor, outer: Tensor, k: int) -> Tensor:
        radius = torch.cdist(outer, outer).kthvalue(k + 1, dim=1).values  # itself is the first
        return (torch.cdist(inner, outer) < radius).any(1).float()

    wrong = {
        "this is precision: fake and real are exchanged": covered(fake, real, k).mean(),
        "each image was counted as its own neighbour: it is at distance 0, skip it": (
            covered(real, fake, k - 1).mean()
        ),
        "the radius reaches one neighbour too far": covered(real, fake, k + 1).mean(),
        "this is a count; return the fraction of the real images": covered(real, fake, k).sum(),
        "the radius must come from the generated images, not from the real ones": (
            (torch.cdist(real, fake) < radius_of(real, k)[:, None]).any(1).float().mean()
        ),
    }
    got = recall(fake, real, k)
    got = torch.tensor(got) if isinstance(got, float) else got
    compare(got, covered(real, fake, k).mean(), wrong)


def radius_of(features: Tensor, k: int) -> Tensor:
    """The distance of each row (N, F) to its k-th nearest other row, (N,)."""
    return torch.cdist(features, features).kthvalue(k + 1, dim=1).values


def check_collapse(find_collapse: Any) -> None:
    """Exercise 10: which of some generators has collapsed?"""
    real = load_digits()
    rng = np.random.default_rng(0)
    for case in range(2):
        rows = np.concatenate([rng.choice(np.flatnonzero(real.labels == y), 40) for y in range(10)])
        few = np.concatenate([np.repeat(rows[40 * y : 40 * y + 4], 10) for y in range(10)])
        shifted = [np.roll(image, rng.integers(-1, 2, 2), (0, 1)) for image in real.images[few]]
        noise = rng.integers(0, 120, (400, 28, 28))
        sets = {
            "healthy": real[rows],
            "collapsed": Digits(np.stack(shifted), real.labels[few]),
            "noisy": Digits(np.clip(real.images[rows] + noise, 0, 255), real.labels[rows]),
            "ignores the label": Digits(real.images[rows], rng.permutation(real.labels[rows])),
        }
        order = list(rng.permutation(list(sets)))
        names = dict(zip("ABCD", order, strict=True))
        got = find_collapse({name: sets[kind] for name, kind in names.items()})
        if got is None or got is Ellipsis:
            raise NotYet("the function returns nothing; return the name of one generator")
        if not isinstance(got, str) or got not in names:
            raise NotYet(f"it returns {short_repr(got)}; it must be one of A, B, C, D")
        if names[got] != "collapsed":
            raise NotYet(f"in test {case + 1}, {got} is no collapse: {NO_COLLAPSE[names[got]]}")


NO_COLLAPSE = {
    "noisy": "its precision is low, but its recall is not",
    "ignores the label": "its label accuracy is low, but its recall is not",
    "healthy": "nothing is wrong with it; a collapsed one has a high precision and a low recall",
}

CHECKS: dict[int, Callable[[Any], None]] = {
    1: check_range,
    2: check_generator_loss,
    3: check_discriminator_loss,
    4: check_label,
    5: check_step,
    6: check_r1,
    7: check_average,
    8: check_walk,
    9: check_recall,
    10: check_collapse,
}
