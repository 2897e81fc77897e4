"""Pictures of a run: loss curves, the progression GIF, the two networks."""

import base64
import io
import math
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw, ImageFont

from ..common import whole_file
from ..models import input_shapes

REAL, FAKE, INK = "#3b6ea5", "#d1603d", "#333333"


def loss_curves(history):
    """Losses and mean logits against images seen, as a matplotlib Figure."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    _curves(figure.subplots(1, 2), history)
    return figure


def _curves(axes, history):
    x = [row["images"] / 1000 for row in history]
    for plot, title, lines in zip(axes, ("loss", "discriminator's mean logit"), CURVES, strict=True):
        for name, label, colour in lines:
            plot.plot(x, [row[name] for row in history], "o-", ms=3, color=colour, label=label)
        plot.set_title(title, fontsize=10)
        plot.set_xlabel("thousand images seen", fontsize=9)
        plot.spines[["top", "right"]].set_visible(False)
        plot.legend(frameon=False, fontsize=9)


CURVES = (
    (("discriminator_loss", "discriminator", REAL), ("generator_loss", "generator", FAKE)),
    (("real_logit", "on real digits", REAL), ("fake_logit", "on generated digits", FAKE)),
)


def training_view(digits, history, title=""):
    """A run at a glance, as a matplotlib Figure: the fixed latents' digits beside losses and logits."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    grid = left.subplots()
    grid.imshow(digits.grid(columns=10, inverted=True), cmap="gray", vmin=0, vmax=255)
    grid.set_title(title, fontsize=10)
    grid.axis("off")
    _curves(right.subplots(2, 1, sharex=True), history)
    return figure


def confusion(card):
    """What a scorecard's digits were read as, as a matplotlib Figure: mistakes by pair, and shares digit by digit."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    wrong = np.where(np.eye(10, dtype=bool), 0, card.confusion)
    left.imshow(wrong, cmap="Oranges", vmax=max(10, wrong.max()))
    for asked, read in np.argwhere(wrong):
        left.text(read, asked, wrong[asked, read], ha="center", va="center", fontsize=8, color=INK)
    left.set_title("read otherwise than asked (digits)", fontsize=10)
    left.set(xlabel="read as", ylabel="asked for", xticks=range(10), yticks=range(10))
    for place, judged, label, colour in ((-0.2, card, "generated", FAKE), (0.2, card.floor, "real", REAL)):
        right.bar(np.arange(10) + place, judged.per_digit, 0.36, color=colour, label=label)
    right.set_ylim(min(0.98, *card.per_digit) - 0.01, 1)
    right.set_xticks(range(10))
    right.set_title("read as asked", fontsize=10)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars
    return figure


def png(figure, dpi=150):
    """A matplotlib Figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def progression_gif(frames, path, seconds=6.0):
    """Write progress pictures (paths `<epoch>.png`, in order) as a GIF of about `seconds` that rests on the last."""
    font, pages = ImageFont.load_default(size=16), []
    for frame in frames:
        picture = Image.open(frame).convert("L")
        page = Image.new("L", (picture.width, picture.height + 26), 255)
        page.paste(picture, (0, 26))
        ImageDraw.Draw(page).text((6, 3), f"epoch {int(Path(frame).stem)}", fill=60, font=font)
        pages.append(np.asarray(page))
    each = max(60, min(500, 1000 * seconds / len(pages)))  # milliseconds
    durations = [each] * (len(pages) - 1) + [2500] if len(pages) > 1 else 2500
    with whole_file(path) as file:
        iio.imwrite(file, pages, extension=".gif", duration=durations, loop=0)


def gif(path):
    """A GIF as HTML with the picture inside it, which notebooks, their exports and web pages all show."""
    from IPython.display import HTML

    data = base64.b64encode(Path(path).read_bytes()).decode()
    return HTML(f'<img alt="digits by epoch" src="data:image/gif;base64,{data}">')


def network_stages(net, x, text):
    """What a network makes of x (called `text`), stage by stage: [(text, shape)], where activations,
    normalisations and changes of shape are written under the layer they follow."""
    stages = [(text, tuple(x.shape[1:]))]
    with torch.inference_mode():
        for layer in net:
            x = layer(x)
            name = type(layer).__name__.removesuffix("2d").removesuffix("1d")
            if hasattr(layer, "kernel_size"):
                kernel, stride = np.max(layer.kernel_size), np.max(layer.stride)  # plain numbers, or (down, across)
                name += f" {kernel}×{kernel}" + (f" /{stride}" if stride > 1 else "")
            flat = x.ndim == 2 and "Flatten" in name
            if "Flatten" in name or "flatten" in name:
                name = ""
            if "Norm" in name or not (list(layer.parameters()) or "Pixel" in name):
                stages[-1] = (f"{stages[-1][0]}\n{name}".strip(), stages[-1][1] if flat else tuple(x.shape[1:]))
            else:
                stages.append((name, tuple(x.shape[1:])))
    return stages


def draw_networks(generator, discriminator, digit=None):
    """Both networks as built, drawn from their own layers, as a matplotlib Figure.

    A map's size is its side, each doubling of its channels a sheet. `digit`, a `Digits`, is shown where the digit is.
    """
    hp, was = generator.hyperparameters, (generator.training, discriminator.training)
    generator.eval(), discriminator.eval()
    label = " and label y" if hp.conditional else ""
    figure = Figure(figsize=(9, 6), layout="constrained")
    tops = figure.subplots(2, 1)
    inputs, channels = input_shapes(hp)
    z, x, head = f"z ({hp.z_dim})", "x", "Linear"
    if hp.conditional:
        z += f" × y embedded ({hp.z_dim})" if hp.generator_label == "multiply" else f"\ny embedded ({hp.embedding_dim})"
        x, head = ("x and\ny embedded", head) if channels == 2 else (x, head + "\n+ projection of y")
    pictures = (
        (tops[0], generator, torch.zeros(1, inputs), z, f"Generator: latent z{label} to a digit", FAKE),
        (tops[1], discriminator, torch.zeros(1, channels, 28, 28), x, f"Discriminator: x{label} to one logit", REAL),
    )
    for axes, network, x, text, title, colour in pictures:
        stages = network_stages(network.net, x.to(next(network.parameters()).device), text)
        if network is discriminator:
            stages.append((head, (1,)))
        count = sum(p.numel() for p in network.parameters())
        axes.set_title(f"{title}  ({count:,} parameters)", loc="left", fontsize=11)
        _draw_stages(axes, stages, colour, digit)
    generator.train(was[0]), discriminator.train(was[1])
    return figure


def _draw_stages(axes, stages, colour, digit):
    left = 0.0
    for i, (text, shape) in enumerate(stages):
        channels, side = (shape[0], shape[1]) if len(shape) == 3 else (shape[0], 0)
        height = side / 10 if side else 0.4 + 0.2 * math.log2(channels)
        width = height if side else 0.14
        sheets = range(1 + int(math.log2(channels)) if side else 1)  # one more for each doubling of channels
        for k in sheets:
            corner = left + 0.08 * k, -height / 2 + 0.06 * k
            axes.add_patch(Rectangle(corner, width, height, fc="white", ec=colour, lw=0.9, zorder=-k))
        if digit is not None and shape == (1, 28, 28):
            axes.imshow(255 - digit.images[0], cmap="gray", extent=(left, left + width, -height / 2, height / 2))
        axes.text(left, -1.7, "×".join(map(str, shape)), fontsize=9, va="top", color=INK)
        axes.text(left, -2.1, text.strip(), fontsize=7.5, va="top", color="#777777", linespacing=1.3)
        right = left + width + 0.08 * len(sheets) + 0.12
        left += max(width + 0.08 * len(sheets), 1.2) + 0.7
        if i + 1 < len(stages):
            arrow = {"arrowstyle": "->", "color": "#999999", "lw": 0.8}
            axes.annotate("", (left - 0.15, 0), (right, 0), arrowprops=arrow)
    axes.set(xlim=(-0.2, max(12.2, left)), ylim=(-3.3, 1.8), aspect="equal")
    axes.axis("off")
