"""What one does with a trained generator: ask it for digits, or for a whole number in one hand."""

import contextlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn.functional import avg_pool2d, pad

from ..common import Mistake, check_number, short
from ..data.digits import Digits, check_labels
from ..models import computes_bf16, to_pixels

BATCH = 1000  # images made at once: bounds the memory
STRANGERS = 64  # hands that tell `imitate` what is common


def generate(generator, labels, seed=None, z=None):
    """One image per label, as `Digits`.

    labels: whole numbers 0..9, (N,), as a list, array or tensor. z: latents float32, (1, z_dim) for one hand in all, or
    (N, z_dim); where none are given they are drawn from a standard normal with `seed` (a fresh one if None). An unconditional
    generator ignores the labels: its digits come with label -1. The network is left in the mode it was found in.

    Raises `Mistake` for labels outside 0..9, latents that are not finite or of another shape.
    """
    labels = check_labels(labels)
    z_dim = generator.hyperparameters.z_dim
    if z is None:
        z = draw_latents(len(labels), z_dim, seed)
    z = torch.as_tensor(np.asarray(z) if isinstance(z, list) else z, dtype=torch.float32).detach()
    if z.ndim != 2 or z.shape[1] != z_dim or len(z) not in (1, len(labels)):
        raise Mistake(f"z of shape {tuple(z.shape)}: must be (1, {z_dim}) or ({len(labels)}, {z_dim})")
    if not z.isfinite().all():
        raise Mistake("z holds numbers that are not finite")
    z = z.expand(len(labels), z_dim)
    device = next(generator.parameters()).device
    with _evaluating(generator), torch.inference_mode():
        images = [
            to_pixels(generator(z[i : i + BATCH].to(device), torch.from_numpy(labels[i : i + BATCH]).to(device)))
            for i in range(0, len(labels), BATCH)
        ]
    if not generator.hyperparameters.conditional:
        labels = np.full(len(labels), -1)
    return Digits(torch.cat(images) if images else [], labels)


def stream(generator, count, seed=None):
    """`count` digits with labels 0, 1, ..., 9, 0, 1, ..., as an iterable of `Digits`, one batch in memory at a time."""
    source = random_source(seed)
    for start in range(0, count, BATCH):
        labels = np.arange(start, min(start + BATCH, count)) % 10
        yield generate(generator, labels, z=torch.randn(len(labels), generator.hyperparameters.z_dim, generator=source))


def hands(generator, count, seed=None):
    """`count` rows of the digits 0 to 9, each row in one hand, as `Digits` (10 * count); without labels as they come."""
    hp = generator.hyperparameters
    z = draw_latents(count, hp.z_dim, seed).repeat_interleave(10, 0) if hp.conditional else None  # (10 * count, z_dim)
    return generate(generator, np.arange(10 * count) % 10, seed, z)


def draw_latents(n, z_dim, seed=None):
    """Latents (n, z_dim) from a standard normal, leaving torch's own random state alone."""
    return torch.randn(n, z_dim, generator=random_source(seed))


def random_source(seed=None):
    """A source of random numbers of its own, from a seed or a fresh one."""
    source = torch.Generator()
    if seed is None:
        source.seed()
    elif (
        type(seed) is not bool and isinstance(seed, int | np.integer) and 0 <= seed < 2**32
    ):  # as many bits as torch's generator takes
        source.manual_seed(int(seed))
    else:
        raise Mistake(f"seed = {short(seed)}: must be a whole number from 0 to {2**32 - 1}")
    return source


def write(generator, number, seed=None, z=None):
    """A whole number in one hand: the same latent for every digit, as `Digits` in order.

    number: a string of digits and spaces, of any length, or a whole number; a space is an empty image with label -1.
    `.strip()` of the result is the line of handwriting. Raises `Mistake` for anything else.
    """
    text = check_number(number)
    _must_be_conditional(generator)
    if z is None:
        z = draw_latents(1, generator.hyperparameters.z_dim, seed)
    digits = generate(generator, [int(digit) for digit in text if digit != " "], z=z)
    images, labels = np.zeros((len(text), 28, 28), np.uint8), np.full(len(text), -1)
    written = np.array([digit != " " for digit in text])
    images[written], labels[written] = digits.images, digits.labels
    return Digits(images, labels)


def walk(generator, label, steps=48, seed=None, stops=4):
    """A smooth round trip through `stops` hands, all writing `label`, as `steps` `Digits`; `.save("walk.gif")` shows it.

    Between two latents it goes along the sphere (White, arXiv 1609.04468): a straight line would pass through
    shorter latents than any that training has seen.
    """
    _must_be_conditional(generator)
    if not {type(steps), type(stops)} <= {int} or min(steps, stops) < 1:
        raise Mistake(f"steps = {steps!r}, stops = {stops!r}: must be whole numbers, 1 or more")
    anchors = draw_latents(stops, generator.hyperparameters.z_dim, seed)
    at = torch.arange(steps) * stops / steps  # 0 <= at < stops
    here, there, share = anchors[at.long()], anchors[(at.long() + 1) % stops], (at % 1)[:, None]  # (steps, z_dim)
    angle = torch.cosine_similarity(here, there, 1).clamp(-1 + 1e-6, 1 - 1e-6).acos()[:, None]
    z = (((1 - share) * angle).sin() * here + (share * angle).sin() * there) / angle.sin()
    return generate(generator, [label] * steps, z=torch.where(angle > 2e-3, z, here))


def imitate(generator, digits, seed=0, starts=8, steps=60, progress=None):
    """The latent (1, z_dim) of the hand that wrote some digits: `write(generator, "0123456789", z=z)` goes on in it.

    digits: one or several `Digits` of one hand, with labels; `prepare` makes them of pictures. From the best of many
    latents drawn with `seed`, several are improved at once by Adam, until the digit that is asked for looks as given
    and, so that it is the hand and not the digit that is found, all ten digits lean, press and stand as much out
    of the common as the given ones do. `progress(share)` is called after each step, with 0..1.

    Raises `Mistake` where there are no digits or one has no label.
    """
    _must_be_conditional(generator)
    unlabelled = (digits.labels < 0).sum()
    if unlabelled or not len(digits):
        raise Mistake(f"{unlabelled} of {len(digits)} digits without label: must be 1 or more, all with labels")
    z_dim, device = generator.hyperparameters.z_dim, next(generator.parameters()).device
    target = torch.from_numpy(digits.images).float() / 255  # (n, 28, 28)
    labels = torch.from_numpy(digits.labels)

    def hands(z):
        """What the hands z (k, z_dim) make of the ten digits, (k, 10, 28, 28), ink 1."""
        y = torch.arange(10, device=device).repeat(len(z))
        with torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device)):
            images = generator(z.to(device).repeat_interleave(10, 0), y)
        return (images.float().cpu().unflatten(0, (-1, 10)).squeeze(2) + 1) / 2

    def distance(z, images):
        """How far hands z (k, z_dim), which make images (k, 10, 28, 28), are from the one that is sought: (k,)."""
        near, style = images[:, labels] - target, (ink_moments(images) - mean) / deviation  # (k, n, 28, 28), (k, 10, 3)
        coarse = avg_pool2d(near, 2).square().mean((1, 2, 3))
        likeness = near.square().mean((1, 2, 3)) + 2 * coarse
        return likeness + 0.05 * (style - wanted).square().mean((1, 2)) + 0.002 * z.square().mean(1)

    with _evaluating(generator):
        drawn = draw_latents(STRANGERS, z_dim, seed)
        with torch.no_grad():
            images = hands(drawn)  # (STRANGERS, 10, 28, 28)
            usual = ink_moments(images)  # (STRANGERS, 10, 3)
            mean, deviation = usual.mean(0), usual.std(0) + 1e-6  # (10, 3)
            wanted = ((ink_moments(target) - mean[labels]) / deviation[labels]).mean(0).clamp(-2.5, 2.5)  # (3,)
            z = drawn[distance(drawn, images).topk(starts, largest=False).indices]
        with torch.enable_grad():
            z = z.requires_grad_()
            optimizer = torch.optim.Adam([z], betas=(0.8, 0.9))
            for step in range(steps):
                optimizer.param_groups[0]["lr"] = 0.15 * (1 - step / steps) + 0.01
                (z.grad,) = torch.autograd.grad(distance(z, hands(z)).sum(), z)  # the weights get none
                optimizer.step()
                if progress:
                    progress((step + 1) / steps)
        with torch.no_grad():
            return z[distance(z, hands(z)).argmin()][None].detach()


def style_directions(generator, seed=0, count=300):
    """Directions of the latent space, (3, z_dim): a step of 1 along one changes the slant, the stroke width or the size
    of a hand by one standard deviation among hands, and the other two as little as can be (least squares)."""
    z = draw_latents(count, generator.hyperparameters.z_dim, seed)
    ten = generate(generator, np.tile(np.arange(10), count), z=z.repeat_interleave(10, 0))
    found = torch.from_numpy(moments(ten)).unflatten(0, (count, 10))  # (count, 10, 3)
    style = ((found - found.mean(0)) / (found.std(0) + 1e-6)).mean(1)  # (count, 3)
    slopes = torch.linalg.lstsq(z, (style - style.mean(0)) / style.std(0)).solution  # (z_dim, 3)
    return torch.linalg.pinv(slopes)


def prepare(picture, label=-1):
    """A picture of one digit made like those of MNIST, as `Digits`: cropped to its ink, 20 pixels at its
    longer side, the centre of its ink in the middle of 28x28 (LeCun et al., 1998), ink 255 on paper 0.

    picture: a file, a PIL image or an array of any size, dark on light or light on dark (whichever the rim is not
    is taken for ink). Raises `Mistake` where there is no picture, or no ink on it.
    """
    try:
        image = picture if isinstance(picture, Image.Image) else None
        if image is None:
            grey = None if isinstance(picture, str | Path) else np.asarray(picture)
            if grey is not None and grey.dtype.kind == "f":  # 0..1, say
                grey = np.uint8(255 * (grey - grey.min()) / max(np.ptp(grey), 1e-9))
            image = Image.open(picture) if grey is None else Image.fromarray(grey)
        image = ImageOps.exif_transpose(image)  # telephones lay pictures on their side
        if image.has_transparency_data:  # what is transparent is paper
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        image = image.convert("L")
        image.thumbnail((1000, 1000))
    except (OSError, TypeError, ValueError, Image.DecompressionBombError) as error:
        reason = picture if isinstance(picture, str | Path) else type(picture).__name__
        raise Mistake(f"{reason}: not a picture ({error})") from None
    grey = np.asarray(image, np.float32)
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    away = np.abs(grey - np.median(rim)) if min(grey.shape) > 2 else np.zeros((1, 1))
    darkest, grain = np.quantile(away, 0.999), 3 * np.median(np.abs(rim - np.median(rim))) + 1
    if away.max() < 40 or darkest < 2 * grain:
        raise Mistake(f"picture of {image.width}x{image.height}: must have ink on it, all of it is alike")
    ink = np.clip((away - grain) / (0.8 * max(darkest, away.max() / 2) - grain), 0, 1)
    rows, columns = np.flatnonzero(ink.max(1) > 0.3), np.flatnonzero(ink.max(0) > 0.3)
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * side / max(ink.shape))) for side in ink.shape)
    small = Image.fromarray((255 * ink).astype(np.uint8)).resize((width, height), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32)
    pixels = pixels * (255 / pixels.max())
    centre = [(pixels.sum(1 - axis) @ np.arange(side)) / pixels.sum() for axis, side in enumerate(pixels.shape)]
    top, left = (int(np.clip(round(13.5 - c), 0, 28 - side)) for c, side in zip(centre, pixels.shape, strict=True))
    page = np.zeros((28, 28), np.uint8)
    page[top : top + height, left : left + width] = pixels.round()
    return Digits(page, [label])


@contextlib.contextmanager
def _evaluating(generator):
    """The generator in eval mode, left in the mode it was found in."""
    training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(training)


def _must_be_conditional(generator):
    if not generator.hyperparameters.conditional:
        raise Mistake("an unconditional generator cannot be asked for a digit")


MOMENTS = "slant", "stroke width", "size"


def moments(digits):
    """Slant, stroke width and size of the ink of some `Digits`, as an array (N, 3).

    slant: shear of the ink, the covariance of its place across and up over its variance up; positive leans right.
    stroke width: ink over half the length of its boundary, in pixels. size: standard deviation of its height, in pixels.
    """
    return ink_moments(torch.from_numpy(digits.images).float() / 255).numpy()


def ink_moments(images):
    """The `moments` of images (..., 28, 28), ink 1 on paper 0, as a tensor (..., 3) with gradients."""
    places = torch.arange(28.0)
    ink = images.sum((-2, -1)).clamp_min(1e-6)
    rows, columns = images.sum(-1), images.sum(-2)  # (..., 28) each
    up = (rows @ places / ink)[..., None] - places  # (..., 28): height above the centre of the ink
    across = places - (columns @ places / ink)[..., None]
    height = (rows * up.square()).sum(-1) / ink + 1e-6
    shear = ((images @ across[..., None]).squeeze(-1) * up).sum(-1) / ink
    edges = pad(images, (1, 1, 1, 1))  # the boundary of grey ink is its total variation
    right, down = edges[..., :-1, 1:] - edges[..., :-1, :-1], edges[..., 1:, :-1] - edges[..., :-1, :-1]
    boundary = (right.square() + down.square() + 1e-8).sqrt().sum((-2, -1))
    return torch.stack([shear / height, 2 * ink / boundary, height.sqrt()], -1)
