"""What one plays with in a notebook: the digit picker, the drawing pad, and the live view of a
training run.

Only layout and events; each shows itself as a plain picture where widgets do not run.
"""

import base64
import contextlib
import html
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as w
import PIL.Image
import torch
import traitlets
from IPython import get_ipython
from IPython.display import Image, display
from torch import nn

from ..data.digits import Digits
from ..data.randomness import random_source
from ..data.text import short_name
from ..evaluation.classifier import SUPPORTED_DATASETS, DigitClassifier, load_classifier
from ..files import shown, user_path
from ..handwriting.inversion import imitate, style_directions
from ..handwriting.pictures import prepare
from ..handwriting.sampling import generate, write
from ..models import Generator, load_generator
from ..runs.torch_modes import ordinary_torch
from ..runs.weights import as_generator
from ..trainer import Trainer
from .figures import png, training_view


class Picture(w.Image):
    """A PNG whose `tooltip` is also what a screen reader says."""

    description = traitlets.Unicode("").tag(
        sync=True
    )  # an image has none, but its tooltip fails without


class Panel(w.VBox):
    """Widgets around a picture, `image`, which is shown by itself where widgets do not run, and a
    `status` line."""

    def __init__(self) -> None:
        # its own size, and a border: white paper may lie on a white page
        layout = {"align_self": "flex-start", "max_width": "99%"}
        layout["border"] = "1px solid var(--jp-border-color1)"
        self.image, self.status = Picture(format="png", layout=layout), w.HTML()
        super().__init__()

    @contextlib.contextmanager
    def _showing_errors(self, prefix: str = "") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # else its traceback goes to a log where nobody looks
            self.status.value = html.escape(f"{prefix}{str(error) or type(error).__name__}")

    def _show_picture(self, digits: Digits, **options: Any) -> None:
        self.image.value, self.image.tooltip = digits.png(**options), str(digits)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and its picture for places where widgets do not run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if self.image.value:
            data["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


class DigitPicker(Panel):
    """Pick a digit or type a number, and choose its handwriting; see `digit_picker`. `digits` is
    what is shown."""

    def __init__(self, generator: Generator, folder: str | Path) -> None:
        super().__init__()
        self.generator, self.folder = generator, user_path(folder)
        self.directions: torch.Tensor | None = None
        self.digits, self.name = Digits([]), ""
        self.options_shown: dict[str, Any] = {}
        tooltips = [f"write {digit}" for digit in range(10)]
        self.digit = w.ToggleButtons(options=list(range(10)), value=7, tooltips=tooltips)
        self.digit.style.button_width = "2.6em"
        self.number = w.Text(placeholder="or type a number", tooltip="a number in one handwriting")
        self.again = w.Button(
            description="new handwriting", icon="random", tooltip="draw another handwriting"
        )
        self.handwriting = w.Dropdown(
            options=[("handwriting 0", 0)],
            tooltip="go back to an earlier handwriting",
            layout={"width": "10em"},
        )
        self.count = w.IntSlider(value=10, min=1, max=40, description="how many")
        self.neatness = w.FloatSlider(
            min=0, max=1, step=0.05, description="neatness", tooltip="truncation: shorter latents"
        )
        self.style = {name: style_slider(name) for name in ("slant", "weight", "height")}
        self.look = w.ToggleButtons(options=["ink on paper", "inverted"], layout={"width": "auto"})
        self.look.style.button_width = "8em"
        self.save = w.Button(
            description="save as PNG", icon="download", tooltip="save what is shown"
        )
        self.save_gif = w.Button(
            description="save as GIF", icon="film", tooltip="save it digit by digit"
        )
        self._arrange()
        self._connect()
        self.show()

    def _arrange(self) -> None:
        rows = (
            [self.number, self.again, self.handwriting],
            [self.count, self.neatness],
            list(self.style.values()),
            [self.look, self.save, self.save_gif],
        )
        layout = {"flex_flow": "row wrap", "align_items": "center"}
        boxes = [w.HBox(row, layout=layout) for row in rows]
        self.children = [self.digit, *boxes, self.image, self.status]

    def _connect(self) -> None:
        sliders = self.style.values()
        for control in (
            self.digit,
            self.number,
            self.handwriting,
            self.count,
            self.neatness,
            self.look,
        ):
            control.observe(self.show, "value")
        for slider in sliders:
            slider.observe(self.show, "value")
        self.again.on_click(lambda _: self._new_handwriting())
        for button, kind in ((self.save, "png"), (self.save_gif, "gif")):
            button.on_click(lambda _, kind=kind: self._save(kind))
        for control in (self.digit, self.number, *sliders):
            control.disabled = not self.generator.hyperparameters.conditional

    def show(self, _: Any = None) -> None:
        """Write the number in the chosen handwriting, or, without a number, the digit in
        several."""
        with self._showing_errors():
            z = self._latents()
            inverted = (
                self.look.value == "ink on paper"
            )  # `Digits` itself keeps ink bright, as MNIST does
            number, digit, count = self.number.value, self.digit.value, self.count.value
            if number:
                self.digits = write(self.generator, number, z=z[:1])
                self.options_shown = {"strip": True, "inverted": inverted, "width": 240}
            else:
                self.digits = generate(self.generator, [digit] * count, z=z[:count])
                self.options_shown = {"scale": 4, "inverted": inverted}
            name = short_name(number.replace(" ", "-"), 40) or f"{digit}-x{count}"
            sliders = (self.neatness, *self.style.values())
            settings = "".join(f"-{slider.value:g}" for slider in sliders)
            settings += "" if inverted else "-inverted"
            self.name = f"{name}-handwriting{self.handwriting.value}{settings}"
            self.status.value = ""
            self._show_picture(self.digits, **self.options_shown)

    @ordinary_torch()
    def _latents(self) -> torch.Tensor:
        """The latents of the chosen handwriting and of the following ones, as the sliders ask: (40,
        z_dim)."""
        z = self.generator.draw_latents(self.count.max, random_source(self.handwriting.value))
        z = z * (1 - 0.8 * self.neatness.value)
        style = torch.tensor([slider.value for slider in self.style.values()])
        if style.any():
            if self.directions is None:  # measured when first asked for
                self.directions = style_directions(self.generator)
            z = z + style @ self.directions
        return z

    def _new_handwriting(self) -> None:
        number = len(self.handwriting.options)
        self.handwriting.unobserve(
            self.show, "value"
        )  # new options choose the first: not to be shown
        self.handwriting.options = [*self.handwriting.options, (f"handwriting {number}", number)]
        self.handwriting.observe(self.show, "value")
        self.handwriting.value = number

    def _save(self, kind: str) -> None:
        path = self.folder / f"{self.name}.{kind}"
        inverted = {"inverted": self.options_shown["inverted"]}
        with self._showing_errors("not saved: "):
            self.digits.save(path, **(self.options_shown if kind == "png" else inverted))
            self.status.value = f"saved as {html.escape(str(shown(path)))}"


def style_slider(name: str) -> w.FloatSlider:
    """A slider for one feature of a handwriting."""
    tooltip = f"{name}, in standard deviations"
    return w.FloatSlider(min=-3, max=3, step=0.1, description=name, tooltip=tooltip)


def digit_picker(
    generator: nn.Module | None = None, folder: str | Path = "runs/picker"
) -> DigitPicker:
    """A widget that writes the digit that is picked, or the number that is typed.

    One draws new handwriting, goes back to an earlier one, makes it neater, more slanted, heavier
    or taller, and saves the picture to `folder`. generator: a trained one (the shipped one if
    None).
    """
    return DigitPicker(load_generator() if generator is None else as_generator(generator), folder)


class Canvas(anywidget.AnyWidget):
    """A square to draw on: `picture` is what was drawn, as the bytes of a PNG; counting `cleared`
    up empties it."""

    _esm = Path(__file__).with_name("pad.js")
    picture = traitlets.CBytes(b"").tag(sync=True)
    cleared = traitlets.Int(0).tag(sync=True)


class DrawingPad(Panel):
    """Draw a digit, and see a number in that handwriting; see `drawing_pad`.

    `z` is the latent of the handwriting, `digits` what it wrote.
    """

    def __init__(self, generator: Generator, classifier: DigitClassifier) -> None:
        super().__init__()
        self.generator, self.classifier = generator, classifier
        self.drawn: Digits | None = None
        self.digits = Digits([])
        self.z = torch.zeros(
            1, generator.hyperparameters.z_dim
        )  # before a drawing: the mean latent
        self.canvas = Canvas()
        self.clear = w.Button(description="clear", icon="eraser", tooltip="empty the pad")
        self.guess = w.ToggleButtons(
            options=[("?", None), *((str(digit), digit) for digit in range(10))],
            description="it is a",
            tooltips=["not recognised yet", *(f"it is a {digit}" for digit in range(10))],
        )
        self.guess.style.button_width = "2.4em"
        self.number = w.Text("0123456789", description="write", tooltip="digits and spaces")
        self.number.style.description_width = "3em"
        hidden = {"width": "280px", "visibility": "hidden"}
        self.progress = w.FloatProgress(min=0, max=1, layout=hidden)
        self.clear.on_click(lambda _: self._clear())
        self.canvas.observe(lambda change: self._recognise(), "picture")
        self.guess.observe(lambda change: self._imitate(), "value")
        self.number.observe(lambda change: self._write(), "value")
        right = w.VBox([self.guess, self.number, self.progress, self.image, self.status])
        right.layout.margin = "0 0 0 1em"
        left = w.VBox([self.canvas, self.clear])
        self.children = [w.HBox([left, right], layout={"flex_flow": "row wrap"})]
        self._write(
            "Draw a digit: it is recognised, and a number is written in the same handwriting."
        )

    def _clear(self) -> None:
        self.canvas.cleared += 1
        self.drawn = self.guess.value = None
        self.status.value = ""

    def _recognise(self) -> None:
        with self._showing_errors():
            self.drawn = prepare(PIL.Image.open(io.BytesIO(self.canvas.picture)))
            predicted = int(self.classifier.predict(self.drawn)[0])
            if self.guess.value == predicted:  # the same digit, drawn again
                self._imitate()
            self.guess.value = predicted

    def _imitate(self) -> None:
        if self.drawn is None or self.guess.value is None:
            return
        start, self.progress.layout.visibility = time.perf_counter(), "visible"
        with self._showing_errors():
            drawn = Digits(self.drawn.images, [self.guess.value])
            self.z = imitate(self.generator, drawn, progress=self._show_progress)
            seconds = time.perf_counter() - start
            self._write(f"recognised as {self.guess.value}; handwriting found in {seconds:.1f} s")
        self.progress.layout.visibility = "hidden"

    def _show_progress(self, fraction: float) -> None:
        self.progress.value = fraction

    def _write(self, status: str = "") -> None:
        with self._showing_errors():
            self.digits = write(self.generator, self.number.value, z=self.z)
            self._show_picture(self.digits, strip=True, inverted=True, width=240, scale=3)
            self.status.value = status


def drawing_pad(generator: nn.Module | None = None) -> DrawingPad:
    """A widget to draw a digit on with mouse, pen or finger.

    The classifier says what it sees (which one can correct), and a number appears in the same
    handwriting. generator: a trained, conditional one (the shipped one if None).
    """
    generator = load_generator() if generator is None else as_generator(generator)
    return DrawingPad(generator, load_classifier())


class StopButton(anywidget.AnyWidget):
    """A button that interrupts the kernel, as JupyterLab's own does: other clicks wait for the
    running cell."""

    _esm = """
    export default { render({ model, el }) {
      const kernel = model.widget_manager.kernel, button = document.createElement("button");
      if (!kernel) return;  // elsewhere than in JupyterLab, one interrupts by other means
      button.className = "jupyter-widgets jupyter-button widget-button";
      button.textContent = "stop training";
      button.title = "stop after this step; the same cell, run again, continues";
      const show = () => { button.disabled = !model.get("running"); };
      button.onclick = () => { button.disabled = true; kernel.interrupt(); };
      model.on("change:running", show), show(), el.append(button);
    } };
    """
    running = traitlets.Bool(True).tag(sync=True)


def live_view() -> Callable[[Trainer], None]:
    """A callback for `Trainer.train`: fixed latents, losses and label accuracy in one picture,
    updated after each epoch, and a button that stops training."""
    shown, stop, classifier, shell = None, StopButton(), load_classifier(), get_ipython()
    if shell:  # however the cell ends, the button must not interrupt later ones
        shell.events.register("post_run_cell", lambda _: setattr(stop, "running", False))

    def update(trainer: Trainer) -> None:
        nonlocal shown
        digits, quality = trainer.test(num=500), ""
        if (digits.labels >= 0).all() and trainer.hyperparameters.dataset in SUPPORTED_DATASETS:
            accuracy = (classifier.predict(digits) == digits.labels).mean()
            quality = f", label accuracy {accuracy:.0%} (500 digits)"
        title = f"epoch {len(trainer.history)} of {trainer.hyperparameters.epochs}{quality}"
        picture = Image(png(training_view(trainer.progress(), trainer.history, title)), width=820)
        stop.running = len(trainer.history) < trainer.hyperparameters.epochs
        if shown is None:
            display(stop)
            shown = display(picture, display_id=True)
        else:
            shown.update(picture)

    return update
