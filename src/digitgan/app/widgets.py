"""What one plays with in a notebook: the digit picker, the drawing pad, and the live view of a training run.

Only layout and events; each shows itself as a plain picture where widgets do not run.
"""

import base64
import contextlib
import html
import io
import time
from pathlib import Path

import anywidget
import ipywidgets as w
import PIL.Image
import torch
import traitlets
from IPython import get_ipython
from IPython.display import Image, display

from ..data.digits import Digits
from .figures import png, training_view
from ..handwriting.sampling import draw_latents, generate, imitate, prepare, style_directions, write
from ..models import load_generator
from ..evaluation.classifier import READS, load_reader


class Picture(w.Image):
    """A PNG whose `tooltip` is also what a screen reader says."""

    description = traitlets.Unicode("").tag(sync=True)  # an image has none, but its tooltip fails without


class Panel(w.VBox):
    """Widgets around a picture, `image`, which is shown by itself where widgets do not run, and a line, `status`."""

    def __init__(self):
        # its own size, and a rim: white paper may lie on a white page
        layout = w.Layout(align_self="flex-start", max_width="99%", border="1px solid var(--jp-border-color1)")
        self.image, self.status = Picture(format="png", layout=layout), w.HTML()
        super().__init__()

    @contextlib.contextmanager
    def _telling(self, what=""):
        try:
            yield
        except Exception as error:  # else its traceback goes to a log where nobody looks
            self.status.value = html.escape(f"{what}{str(error) or type(error).__name__}")

    def _picture(self, digits, **layout):
        self.image.value, self.image.tooltip = digits.png(**layout), str(digits)

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and its picture for places where widgets do not run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if self.image.value:
            data["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


class DigitPicker(Panel):
    """Pick a digit or type a number, and in whose hand; see `digit_picker`. `digits` holds what is shown."""

    def __init__(self, generator, folder):
        super().__init__()
        self.generator, self.folder, self.directions = generator, Path(folder), None
        self.digit = w.ToggleButtons(options=list(range(10)), value=7, tooltips=[f"write {d}" for d in range(10)])
        self.digit.style.button_width = "2.6em"
        self.number = w.Text(placeholder="or type a number", continuous_update=True, tooltip="a number, in one hand")
        self.again = w.Button(description="new handwriting", icon="random", tooltip="draw other latents")
        self.hand = w.Dropdown(options=[("hand 0", 0)], tooltip="go back to an earlier hand", layout={"width": "8em"})
        self.count = w.IntSlider(value=10, min=1, max=40, description="how many")
        self.neatness = w.FloatSlider(min=0, max=1, step=0.05, description="neatness", tooltip="shorter latents")
        self.style = {
            name: w.FloatSlider(min=-3, max=3, step=0.1, description=name, tooltip=f"{name}, in standard deviations")
            for name in ("slant", "weight", "size")
        }
        self.look = w.ToggleButtons(options=["ink on paper", "inverted"], layout={"width": "auto"})
        self.look.style.button_width = "8em"
        self.save = w.Button(description="save as PNG", icon="download", tooltip="save what is shown")
        self.save_gif = w.Button(description="save as GIF", icon="film", tooltip="save it digit by digit")
        for control in (self.digit, self.number, self.hand, self.count, self.neatness, self.look, *self.style.values()):
            control.observe(self.show, "value")
        self.again.on_click(lambda _: self._draw())
        for button, kind in ((self.save, "png"), (self.save_gif, "gif")):
            button.on_click(lambda _, kind=kind: self._save(kind))
        for control in (self.digit, self.number, *self.style.values()):
            control.disabled = not generator.hyperparameters.conditional
        rows = (
            [self.number, self.again, self.hand],
            [self.count, self.neatness],
            list(self.style.values()),
            [self.look, self.save, self.save_gif],
        )
        rows = [w.HBox(row, layout={"flex_flow": "row wrap", "align_items": "center"}) for row in rows]
        self.children = [self.digit, *rows, self.image, self.status]
        self.show()

    def show(self, _=None):
        """Write the number in the present hand, or, where there is none, the digit in as many hands as asked for."""
        with self._telling():
            z = draw_latents(self.count.max, self.generator.hyperparameters.z_dim, self.hand.value)
            z = z * (1 - 0.8 * self.neatness.value)
            wanted = torch.tensor([slider.value for slider in self.style.values()])
            if wanted.any():
                if self.directions is None:  # found when first asked for
                    self.directions = style_directions(self.generator)
                z = z + wanted @ self.directions
            paper = self.look.value == "ink on paper"  # `Digits` itself keeps ink bright, as MNIST does
            number, digit, count = self.number.value, self.digit.value, self.count.value
            if number:
                self.digits = write(self.generator, number, z=z[:1])
                self.layout_shown = {"strip": True, "inverted": paper, "width": 240}
            else:
                self.digits = generate(self.generator, [digit] * count, z=z[:count])
                self.layout_shown = {"scale": 4, "inverted": paper}
            name = number.replace(" ", "-")[:40] or f"{digit}-{count}"
            settings = "".join(f"-{slider.value:g}" for slider in (self.neatness, *self.style.values()))
            settings += "" if paper else "-inverted"
            self.name, self.status.value = f"{name}-hand{self.hand.value}{settings}", ""
            self._picture(self.digits, **self.layout_shown)

    def _draw(self):
        number = len(self.hand.options)
        self.hand.unobserve(self.show, "value")  # new options choose the first: not to be shown
        self.hand.options = [*self.hand.options, (f"hand {number}", number)]
        self.hand.observe(self.show, "value")
        self.hand.value = number

    def _save(self, kind):
        path = self.folder / f"{self.name}.{kind}"
        layout = self.layout_shown if kind == "png" else {"inverted": self.layout_shown["inverted"]}
        with self._telling("not saved: "):
            self.digits.save(path, **layout)
            self.status.value = f"saved as {html.escape(str(path))}"


def digit_picker(generator=None, folder="runs/picker"):
    """A widget that writes the digit one picks, or the number one types, in hands that one draws, goes back to, makes
    neater, lets lean, press harder or grow, and saves.

    generator: a trained one (the repository's own if None). Saved pictures go to `folder`.
    """
    return DigitPicker(load_generator() if generator is None else generator, folder)


class Canvas(anywidget.AnyWidget):
    """A square to draw on: `picture` is what was drawn, as the bytes of a PNG; counting `cleared` up empties it."""

    _esm = Path(__file__).with_name("pad.js")
    picture = traitlets.CBytes(b"").tag(sync=True)
    cleared = traitlets.Int(0).tag(sync=True)


class DrawingPad(Panel):
    """Draw a digit, and see a number in that hand; see `drawing_pad`. `z` is the hand, `digits` what it wrote."""

    def __init__(self, generator, reader):
        super().__init__()
        self.generator, self.reader, self.drawn = generator, reader, None
        self.digits = Digits([])
        self.z = torch.zeros(1, generator.hyperparameters.z_dim)  # before anything is drawn, the average hand
        self.canvas = Canvas()
        self.clear = w.Button(description="clear", icon="eraser", tooltip="empty the pad")
        self.guess = w.ToggleButtons(
            options=[("?", None), *((str(d), d) for d in range(10))],
            description="it is a",
            tooltips=["not read yet", *(f"it is a {d}" for d in range(10))],
        )
        self.guess.style.button_width = "2.4em"
        self.number = w.Text("0123456789", description="write", tooltip="digits and spaces")
        self.number.style.description_width = "3em"
        self.progress = w.FloatProgress(min=0, max=1, layout={"width": "280px", "visibility": "hidden"})
        self.clear.on_click(lambda _: self._clear())
        self.canvas.observe(lambda change: self._read(), "picture")
        self.guess.observe(lambda change: self._imitate(), "value")
        self.number.observe(lambda change: self._write(), "value")
        right = w.VBox([self.guess, self.number, self.progress, self.image, self.status])
        right.layout.margin = "0 0 0 1em"
        self.children = [w.HBox([w.VBox([self.canvas, self.clear]), right], layout={"flex_flow": "row wrap"})]
        self._write("Draw a digit: it is read, and its hand goes on writing.")

    def _clear(self):
        self.canvas.cleared += 1
        self.drawn = self.guess.value = None
        self.status.value = ""

    def _read(self):
        with self._telling():
            self.drawn = prepare(PIL.Image.open(io.BytesIO(self.canvas.picture)))
            read = int(self.reader.read(self.drawn)[0])
            if self.guess.value == read:  # the same digit, drawn again
                self._imitate()
            self.guess.value = read

    def _imitate(self):
        if self.drawn is None or self.guess.value is None:
            return
        start, self.progress.layout.visibility = time.perf_counter(), "visible"
        with self._telling():
            drawn = Digits(self.drawn.images, [self.guess.value])
            self.z = imitate(self.generator, drawn, progress=lambda share: setattr(self.progress, "value", share))
            self._write(f"read as {self.guess.value}; its hand found in {time.perf_counter() - start:.1f} s")
        self.progress.layout.visibility = "hidden"

    def _write(self, told=""):
        with self._telling():
            self.digits = write(self.generator, self.number.value, z=self.z)
            self._picture(self.digits, strip=True, inverted=True, width=240, scale=3)
            self.status.value = told


def drawing_pad(generator=None):
    """A widget to draw a digit on with mouse, pen or finger: the reader says what it sees (which one can correct), and a
    number appears in the same hand.

    generator: a trained, conditional one (the repository's own if None).
    """
    return DrawingPad(load_generator() if generator is None else generator, load_reader())


class StopButton(anywidget.AnyWidget):
    """A button that interrupts the kernel, as JupyterLab's own does: other clicks wait for the running cell."""

    _esm = """
    export default { render({ model, el }) {
      const kernel = model.widget_manager.kernel, button = document.createElement("button");
      if (!kernel) return;  // elsewhere than in JupyterLab, one interrupts by other means
      button.className = "jupyter-widgets jupyter-button widget-button";
      button.textContent = "stop training";
      button.title = "stop after this step, with a whole checkpoint: the same cell, run again, continues";
      const show = () => { button.disabled = !model.get("running"); };
      button.onclick = () => { button.disabled = true; kernel.interrupt(); };
      model.on("change:running", show), show(), el.append(button);
    } };
    """
    running = traitlets.Bool(True).tag(sync=True)


def live_view():
    """A callback for `Trainer.train`: fixed latents, losses and quality so far in one picture, updated in place after
    each epoch, and a button that stops there and then."""
    shown, stop, reader, shell = None, StopButton(), load_reader(), get_ipython()
    if shell:  # however the cell ends, the button is not to interrupt later ones
        shell.events.register("post_run_cell", lambda _: setattr(stop, "running", False))

    def update(trainer):
        nonlocal shown
        some, quality = trainer.test(num=500), ""
        if (some.labels >= 0).all() and trainer.hyperparameters.dataset in READS:
            quality = f", {(reader.read(some) == some.labels).mean():.0%} of 500 digits read as asked"
        title = f"epoch {len(trainer.history)} of {trainer.hyperparameters.epochs}{quality}"
        picture = Image(png(training_view(trainer.progress(), trainer.history, title)), width=820)
        stop.running = len(trainer.history) < trainer.hyperparameters.epochs
        if shown is None:
            display(stop)
            shown = display(picture, display_id=True)
        else:
            shown.update(picture)

    return update
