"""Pictures of a run: loss curves, the progression GIF, the two networks."""

import io
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from .common import write_whole

REAL, FAKE, INK = "#3b6ea5", "#d1603d", "#333333"


def loss_curves(history):
    """Losses and mean logits by epoch, as a matplotlib Figure."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    losses, logits = figure.subplots(1, 2)
    x = [row["images"] / 1000 for row in history]
    for axes, name, colour, label in (
        (losses, "discriminator_loss", REAL, "discriminator"),
        (losses, "generator_loss", FAKE, "generator"),
        (logits, "real_logit", REAL, "on real digits"),
        (logits, "fake_logit", FAKE, "on generated digits"),
    ):
        axes.plot(x, [row[name] for row in history], "o-", ms=3, color=colour, label=label)
    for axes, title in ((losses, "loss"), (logits, "discriminator's mean logit")):
        axes.set(title=title, xlabel="thousand images seen")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def progression_gif(frames, path, seconds=6.0):
    """Write progress pictures (paths `<epoch>.png`, in order) as one GIF that takes about `seconds`
    and rests on the last frame."""
    if not frames:
        return
    font, pages = ImageFont.load_default(size=16), []
    for frame in frames:
        picture = Image.open(frame).convert("L")
        page = Image.new("L", (picture.width, picture.height + 26), 255)
        page.paste(picture, (0, 26))
        ImageDraw.Draw(page).text((6, 3), f"epoch {int(Path(frame).stem)}", fill=60, font=font)
        pages.append(np.asarray(page))
    each = max(60, min(500, 1000 * seconds / len(pages)))  # milliseconds
    file = io.BytesIO()
    iio.imwrite(file, pages, extension=".gif", duration=[each] * (len(pages) - 1) + [2500], loop=0)
    write_whole(path, file.getvalue())
