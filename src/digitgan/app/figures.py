"""Pictures of a run: loss curves, the live view, the networks, a scorecard's errors."""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from ..data.digits import Digits
from ..evaluation.scorecard import Scorecard
from ..files import user_path
from ..models import Discriminator, Generator
from ..runs.torch_modes import evaluating, ordinary_torch
from ..runs.weights import as_generator

REAL, FAKE, INK = "#3b6ea5", "#d1603d", "#333333"
Stage = tuple[str, tuple[int, ...]]  # what a layer is called, and the shape of what it returns
History = Sequence[Mapping[str, float]]
CURVES = (
    (("discriminator_loss", "discriminator", REAL), ("generator_loss", "generator", FAKE)),
    (("real_logit", "on real images", REAL), ("fake_logit", "on generated images", FAKE)),
)


def loss_curves(history: History) -> Figure:
    """Losses and mean logits against images seen, as a matplotlib Figure."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    _curves(figure.subplots(1, 2), history)
    return figure


def _curves(axes: Iterable[Axes], history: History) -> None:
    x = [row["images"] / 1000 for row in history]
    for plot, title, lines in zip(
        axes, ("loss", "discriminator's mean logit"), CURVES, strict=True
    ):
        for name, label, colour in lines:
            plot.plot(x, [row[name] for row in history], "o-", ms=3, color=colour, label=label)
        plot.set_title(title, fontsize=10)
        plot.set_xlabel("thousand images seen", fontsize=9)
        plot.spines[["top", "right"]].set_visible(False)
        plot.legend(frameon=False, fontsize=9)


def training_view(digits: Digits, history: History, title: str = "") -> Figure:
    """A run at a glance, as a matplotlib Figure: the fixed latents' digits beside losses, logits,
    and what the history knows of label accuracy and Fréchet distance."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2, width_ratios=(1.15, 1)))
    grid = left.subplots()
    columns = digits.spec.columns if (digits.labels >= 0).all() else 10
    grid.imshow(digits.grid(columns=columns, inverted=True), cmap="gray", vmin=0, vmax=255)
    grid.set_title(title, fontsize=10)
    grid.axis("off")
    judged = any("frechet_distance" in row for row in history)
    plots = right.subplots(2 + judged, 1, sharex=True)
    _curves(plots[:2], history)
    if judged:
        _quality(plots[2], history)
    return figure


def _quality(plot: Axes, history: History) -> None:
    """Fréchet distance, on a logarithmic axis, and label accuracy, of an epoch's small sample."""
    x = [row["images"] / 1000 for row in history]
    distance = [row.get("frechet_distance", np.nan) for row in history]
    plot.semilogy(x, distance, "o-", ms=3, color=FAKE, label="Fréchet distance")
    plot.set_title("quality (1,000 samples)", fontsize=10)
    accuracy = plot.twinx()
    values = [row.get("label_accuracy", np.nan) for row in history]
    accuracy.plot(x, values, "s-", ms=3, color=REAL, label="label accuracy")
    accuracy.set_ylim(0, 1.02)
    plot.set_xlabel("thousand images seen", fontsize=9)
    plot.spines[["top"]].set_visible(False)
    accuracy.spines[["top"]].set_visible(False)
    handles = [*plot.lines, *accuracy.lines]
    plot.legend(handles=handles, frameon=False, fontsize=8, loc="center right")


def confusion(card: Scorecard) -> Figure:
    """A scorecard's errors, as a matplotlib Figure: wrong classes by pair, and accuracy digit by
    digit."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names, places = card.class_names, range(len(card.class_names))
    wrong = np.where(np.eye(len(names), dtype=bool), 0, card.confusion)
    left.imshow(wrong, cmap="Oranges", vmax=max(10, wrong.max()))
    for label, predicted in np.argwhere(wrong):
        count = wrong[label, predicted]
        left.text(predicted, label, count, ha="center", va="center", fontsize=8, color=INK)
    left.set_title("classified otherwise than labelled (digits)", fontsize=10)
    left.set(xlabel="predicted class", ylabel="label")
    name_ticks((left.xaxis, left.yaxis), names)
    for shift, judged, name, colour in (
        (-0.2, card, "generated", FAKE),
        (0.2, card.reference or card, "real", REAL),
    ):
        right.bar(np.array(places) + shift, judged.per_digit, 0.36, color=colour, label=name)
    right.set_ylim(min(0.98, *card.per_digit) - 0.01, 1)
    name_ticks([right.xaxis], names)
    right.set_title("label accuracy", fontsize=10)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(
        frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1)
    )  # beside the bars
    return figure


def name_ticks(axes: Iterable[Axis], names: Sequence[str]) -> None:
    """The class names along some axes; long ones stand upright."""
    upright = max(map(len, names)) > 2
    for axis in axes:
        axis.set_ticks(range(len(names)), names, fontsize=8 if len(names) <= 26 else 5)
        if upright and isinstance(axis, XAxis):
            axis.set_tick_params(rotation=90)


def png(figure: Figure, dpi: int = 150) -> bytes:
    """A matplotlib Figure as the bytes of a PNG file."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def gif(path: str | Path) -> Any:
    """A GIF as HTML with the picture inside it, which notebooks, their exports and web pages all
    show."""
    from IPython.display import HTML

    data = base64.b64encode(user_path(path).read_bytes()).decode()
    return HTML(f'<img alt="digits by epoch" src="data:image/gif;base64,{data}">')


def network_stages(net: nn.Module, x: Tensor, text: str) -> list[Stage]:
    """The shapes in a sequence of layers, from x (called `text`) on: [(text, shape)].

    Activations, normalisations and changes of shape are written under the layer that they follow.
    """
    stages: list[Stage] = [(text, tuple(x.shape[1:]))]
    with torch.inference_mode():
        for layer in net.children():
            x = layer(x)
            name = type(layer).__name__.removesuffix("2d").removesuffix("1d")
            if hasattr(layer, "kernel_size"):  # a plain number, or (down, across)
                kernel, stride = np.max(layer.kernel_size), np.max(layer.stride)  # type: ignore[arg-type]
                name += f" {kernel}×{kernel}" + (f" /{stride}" if stride > 1 else "")
            flat = x.ndim == 2 and "Flatten" in name
            if "Flatten" in name or "flatten" in name:
                name = ""
            if "Norm" in name or not (list(layer.parameters()) or "Pixel" in name):
                stages[-1] = (
                    f"{stages[-1][0]}\n{name}".strip(),
                    stages[-1][1] if flat else tuple(x.shape[1:]),
                )
            else:
                stages.append((name, tuple(x.shape[1:])))
    return stages


@ordinary_torch()
def draw_networks(
    generator: nn.Module, discriminator: Discriminator, digit: Digits | None = None
) -> Figure:
    """Both networks as built, drawn from their own layers, as a matplotlib Figure.

    A map's size is its side, each doubling of its channels a sheet. `digit` is shown where the
    image is.
    """
    network: Generator = as_generator(generator)
    hp = network.hyperparameters
    device = next(network.parameters()).device
    y, z = torch.zeros(1, dtype=torch.int64, device=device), torch.zeros(1, hp.z_dim, device=device)
    spec = network.spec
    image = torch.zeros(1, spec.channels, spec.size, spec.size, device=device)
    label = " and label y" if hp.conditional else ""
    figure = Figure(figsize=(9, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1)
    with evaluating(network), evaluating(discriminator), torch.inference_mode():
        inputs, seen = entering(network, z, y), entering(discriminator, image, y)
        text = f"z ({hp.z_dim})"
        if hp.conditional and inputs.shape[1] > hp.z_dim:
            text += f"\ny embedded ({hp.embedding_dim})"
        elif hp.conditional:
            text += f" × y embedded ({hp.z_dim})"
        stages = network_stages(network.net, inputs, text)
        _draw_network(
            upper, network, f"Generator: latent z{label} to an image", stages, FAKE, digit
        )
        plane = hp.conditional and seen.shape[1] > spec.channels
        stages = network_stages(discriminator.net, seen, "x and\ny embedded" if plane else "x")
        projected = hp.conditional and not plane
        stages.append(("Linear\n+ projection of y" if projected else "Linear", (1,)))
        title = f"Discriminator: image x{label} to one logit"
        _draw_network(lower, discriminator, title, stages, REAL, digit)
    return figure


def entering(network: Generator | Discriminator, x: Tensor, y: Tensor) -> Tensor:
    """What enters the inner net of a network that sees x and the label y."""
    inputs: list[Tensor] = []
    hook = network.net.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    network(x, y)
    hook.remove()
    return inputs[0]


def _draw_network(
    axes: Axes,
    network: nn.Module,
    title: str,
    stages: list[Stage],
    colour: str,
    digit: Digits | None,
) -> None:
    count = sum(p.numel() for p in network.parameters())
    axes.set_title(f"{title}  ({count:,} parameters)", loc="left", fontsize=11)
    _draw_stages(axes, stages, colour, digit)


def _draw_stages(axes: Axes, stages: list[Stage], colour: str, digit: Digits | None) -> None:
    left = 0.0
    for i, (text, shape) in enumerate(stages):
        channels, side = (shape[0], shape[1]) if len(shape) == 3 else (shape[0], 0)
        height = side / 10 if side else 0.4 + 0.2 * math.log2(channels)
        width = height if side else 0.14
        sheets = range(
            1 + int(math.log2(channels)) if side else 1
        )  # one more for each doubling of channels
        for k in sheets:
            corner = left + 0.08 * k, -height / 2 + 0.06 * k
            axes.add_patch(
                Rectangle(corner, width, height, fc="white", ec=colour, lw=0.9, zorder=-k)
            )
        if digit is not None and shape == (1, *digit.images.shape[1:]):
            axes.imshow(
                255 - digit.images[0],
                cmap="gray",
                extent=(left, left + width, -height / 2, height / 2),
            )
        axes.text(left, -1.7, "×".join(map(str, shape)), fontsize=9, va="top", color=INK)
        axes.text(
            left, -2.1, text.strip(), fontsize=7.5, va="top", color="#777777", linespacing=1.3
        )
        right = left + width + 0.08 * len(sheets) + 0.12
        left += max(width + 0.08 * len(sheets), 1.2) + 0.7
        if i + 1 < len(stages):
            arrow = {"arrowstyle": "->", "color": "#999999", "lw": 0.8}
            axes.annotate("", (left - 0.15, 0), (right, 0), arrowprops=arrow)
    axes.set(xlim=(-0.2, max(12.2, left)), ylim=(-3.3, 1.8), aspect="equal")
    axes.axis("off")
