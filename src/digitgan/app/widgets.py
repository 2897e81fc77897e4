"""What one plays with in a notebook: the digit picker, the drawing pad, and the live view of a
training run.

Picker and pad are the page's own JavaScript, which computes the digits in the browser: they answer
while a cell runs, and go on where no Python is. With a kernel, their traits are in step with it.
"""

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from IPython import get_ipython
from IPython.display import Image, display
from torch import nn

from ..data.digits import Digits, check_labels, folder_names
from ..data.sources import split
from ..data.spec import MNIST
from ..data.text import short_name, spell
from ..errors import InvalidInputError
from ..evaluation.classifier import DigitClassifier, load_classifier
from ..evaluation.quality import SAMPLES, classifier_for
from ..files import shown, user_path
from ..handwriting.encoder import Encoder
from ..handwriting.inversion import imitate
from ..handwriting.pictures import prepare
from ..handwriting.sampling import check_conditional, generate, write, writes_digits
from ..models import Generator, load_generator
from ..runs.weights import as_generator
from ..trainer import Trainer
from .figures import png, training_view
from .page import (
    PAGE,
    describe,
    encoder_of,
    neighbours,
    page_latent,
    widget_script,
)


class PageWidget(anywidget.AnyWidget):
    """A widget that is a part of the page: `page` is what it works with, `status` what Python
    tells beside the controls. It is shown as a picture where widgets do not run."""

    page = traitlets.Unicode().tag(sync=True)  # what `describe` returns, as JSON text
    status = traitlets.Unicode().tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    mount = ""  # the function that builds it

    def __init__(self, content: dict[str, Any], **traits: Any) -> None:
        style = (PAGE / "style.css").read_text(encoding="utf-8")
        script = widget_script(self.mount)
        super().__init__(page=json.dumps(content), _esm=script, _css=style, **traits)

    @property
    def digits(self) -> Digits:
        """What is shown."""
        raise NotImplementedError

    def png(self) -> bytes:
        """What is shown, as a picture."""
        raise NotImplementedError

    @contextlib.contextmanager
    def _showing_errors(self, prefix: str = "") -> Iterator[None]:
        self.status = ""
        try:
            yield
        except Exception as error:  # else its traceback goes to a log where nobody looks
            self.status = f"{prefix}{str(error) or type(error).__name__}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.digits!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and its picture for places where widgets do not run."""
        bundle: Any = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        data["image/png"] = base64.b64encode(self.png()).decode()
        return bundle


class DigitPicker(PageWidget):
    """Pick a digit or type a number, and choose its handwriting; see `digit_picker`.

    Its traits can be set, too, and what is set is shown: `value`, the number that is written or the
    digit that is picked, as text; `digit`, its label (0..9, or to the last of other classes), in
    several handwritings while `number` is empty; `number`, in one handwriting; `handwriting` (0 or
    more) and `history`, those that were chosen; `first` and `count` (1..40) of the handwritings
    shown together; `slant`, `weight` and `height` (-3..3, in standard deviations); `neatness`
    (0..1, truncation); `inverted`. `digits` is what is shown.
    """

    mount = "mountPicker"
    value = traitlets.Unicode("7")
    digit = traitlets.Int(7).tag(sync=True)
    number = traitlets.Unicode().tag(sync=True)
    handwriting = traitlets.Int(0, min=0, max=2**32 - 1).tag(sync=True)
    first = traitlets.Int(0, min=0, max=2**32 - 1).tag(sync=True)
    history = traitlets.List(traitlets.Int(), [0]).tag(sync=True)
    count = traitlets.Int(10, min=1, max=40).tag(sync=True)
    neatness = traitlets.Float(0, min=0, max=1).tag(sync=True)
    slant = traitlets.Float(0, min=-3, max=3).tag(sync=True)
    weight = traitlets.Float(0, min=-3, max=3).tag(sync=True)
    height = traitlets.Float(0, min=-3, max=3).tag(sync=True)
    inverted = traitlets.Bool(False).tag(sync=True)

    def __init__(self, generator: Generator, folder: str | Path) -> None:
        self.generator, self.folder = generator, user_path(folder)
        self.classes, content = generator.spec.classes, describe(generator)
        self.quantiles, self.directions = content["quantiles"], content["directions"]
        digit = min(7, len(self.classes) - 1)
        super().__init__(content, digit=digit, value=self.classes[digit])
        self.on_msg(lambda _, content, buffers: self._answer(content))

    @traitlets.validate("number")
    def _check(self, proposal: Any) -> str:
        if not proposal.value.strip():
            return ""
        check_conditional(self.generator)
        spell(proposal.value, self.classes)
        return proposal.value

    @traitlets.validate("value")
    def _check_value(self, proposal: Any) -> str:
        if proposal.value not in self.classes:
            spell(proposal.value, self.classes)
        return proposal.value

    @traitlets.validate("digit")
    def _check_digit(self, proposal: Any) -> int:
        return int(check_labels(proposal.value, classes=self.classes)[0])

    @traitlets.observe("digit", "number")
    def _tell_value(self, _: Any) -> None:
        self.value = self.number or self.classes[self.digit]

    @traitlets.observe("value")
    def _take_value(self, change: Any) -> None:
        if change.new != (self.number or self.classes[self.digit]):
            single = change.new in self.classes
            with self.hold_sync(), self.hold_trait_notifications():
                self.number = "" if single else change.new
                self.digit = self.classes.index(change.new) if single else self.digit

    @traitlets.observe("handwriting")
    def _choose(self, change: Any) -> None:
        with self.hold_sync():
            if change.new not in neighbours(self.first, self.count):
                self.first = change.new
            if change.new not in self.history:
                self.history = [*self.history, change.new]

    @property
    def digits(self) -> Digits:
        """What is shown: the number, or the digit in several handwritings."""
        if self.number:
            return write(self.generator, self.number, z=self._latents([self.handwriting]))
        z = self._latents(neighbours(self.first, self.count))
        return generate(self.generator, [self.digit] * self.count, z=z)

    def _latents(self, handwritings: list[int]) -> torch.Tensor:
        """Latents (n, z_dim) of handwritings, as the sliders ask."""
        z_dim = self.generator.hyperparameters.z_dim
        drawn = [page_latent(number, z_dim, self.quantiles) for number in handwritings]
        z = torch.from_numpy(np.stack(drawn)) * (1 - 0.8 * self.neatness)
        style = torch.tensor([self.slant, self.weight, self.height])
        return z + style @ torch.tensor(self.directions) if style.any() else z

    def _look(self) -> dict[str, Any]:
        """How its digits are made a picture."""
        look: dict[str, Any] = {"strip": True, "width": 240} if self.number else {"scale": 4}
        return look | {"inverted": not self.inverted}  # `Digits` has bright ink, as MNIST does

    def png(self) -> bytes:
        """What is shown, as a picture."""
        return self.digits.png(**self._look())

    def save(self, kind: str = "png") -> Path:
        """Save what is shown to the folder, as "png", or digit by digit as "gif"; returns the
        path."""
        number = short_name(self.number.replace(" ", "-"), 40)
        sliders = self.neatness, self.slant, self.weight, self.height
        settings = "".join(f"-{value:g}" for value in sliders) + "-inverted" * self.inverted
        shown_here = self.handwriting if self.number else self.first
        what = number or f"{folder_names(self.classes)[self.digit]}-x{self.count}"
        name = f"{what}-handwriting{shown_here}{settings}"
        look = self._look() if kind == "png" else {"inverted": not self.inverted}
        return self.digits.save(self.folder / f"{name}.{kind}", **look)

    def _answer(self, content: dict[str, Any]) -> None:
        """Answer the page: that Python is here, or that what is shown was saved."""
        if kind := content.get("save"):
            self.set_state(content["state"])  # as it was when the button was pressed
            with self._showing_errors("not saved: "):
                self.status = f"saved as {shown(self.save(kind))}"
        else:
            self.send({"folder": str(shown(self.folder))})


def digit_picker(
    generator: nn.Module | None = None, folder: str | Path = "runs/picker"
) -> DigitPicker:
    """A widget that writes the digit that is picked, or the number that is typed.

    One draws new handwriting, goes back to an earlier one, makes it neater, more slanted, heavier
    or taller, and saves the picture to `folder` (without a kernel: downloads it). generator: a
    trained one (the shipped one if None).
    """
    return DigitPicker(load_generator() if generator is None else as_generator(generator), folder)


class DrawingPad(PageWidget):
    """Draw a digit, and see a number in that handwriting; see `drawing_pad`.

    `z` is the latent of the handwriting, `digits` what it wrote. `number` can be set, and `draw`
    draws a picture.
    """

    mount = "mountPad"
    number = traitlets.Unicode("0123456789").tag(sync=True)
    # {time, image, label, latent}: a drawing of 784 numbers from 0 to 1, made like MNIST's, what it
    # is, and what the encoder found; None is an empty pad
    drawn = traitlets.Dict(None, allow_none=True).tag(sync=True)
    # {time, latent}: what `imitate` found for the drawing of that time
    refined = traitlets.Dict(None, allow_none=True).tag(sync=True)

    def __init__(self, generator: Generator, encoder: Encoder, classifier: DigitClassifier) -> None:
        self.generator, self.encoder, self.classifier = generator, encoder, classifier
        number = "".join(generator.spec.classes[:10])
        super().__init__(describe(generator, encoder, classifier), number=number)

    @traitlets.validate("number")
    def _check(self, proposal: Any) -> str:
        if not proposal.value.strip():
            return ""
        spell(proposal.value, self.generator.spec.classes)
        return proposal.value

    def draw(self, picture: Any, label: int | None = None) -> None:
        """Put a picture on the pad, as if it had been drawn there.

        picture: all that `prepare` takes. label: what it is; the classifier says it if left out.
        """
        digit = prepare(picture)
        label = int(self.classifier.predict(digit)[0]) if label is None else label
        classes = self.generator.spec.classes
        z = self.encoder.encode(Digits(digit.images, [label], 255, classes))
        image = (digit.images.flatten() / 255).round(4).tolist()
        now = time.time_ns() // 1_000_000
        self.drawn = {"time": now, "image": image, "label": label, "latent": z[0].tolist()}

    @traitlets.observe("drawn")
    def _refine(self, _: Any) -> None:
        with self._showing_errors():
            if self.drawn:
                digit = drawn_digit(self.drawn, self.generator.spec.classes)
                z = imitate(self.generator, digit)
                self.refined = {"time": self.drawn["time"], "latent": z[0].tolist()}

    @property
    def z(self) -> torch.Tensor:
        """The latent (1, z_dim) of the handwriting; before a drawing, the mean."""
        if not self.drawn:
            return torch.zeros(1, self.generator.hyperparameters.z_dim)
        better = self.refined and self.refined["time"] == self.drawn["time"]
        return torch.tensor([(self.refined if better else self.drawn)["latent"]])

    @property
    def digits(self) -> Digits:
        """The number, in the handwriting of the drawing."""
        return write(self.generator, self.number, z=self.z) if self.number else Digits([])

    def png(self) -> bytes:
        """What is shown, as a picture."""
        return self.digits.png(strip=True, inverted=True, width=240, scale=3)


def drawn_digit(drawn: dict[str, Any], classes: Sequence[str]) -> Digits:
    """What was drawn on the pad, as one digit with its label."""
    pixels = np.asarray(drawn["image"], dtype=float)
    if pixels.shape != (784,) or not ((pixels >= 0) & (pixels <= 1)).all():
        raise InvalidInputError("a drawing must be made of 784 numbers from 0 to 1")
    image = (255 * pixels).round().astype(np.uint8).reshape(1, 28, 28)
    return Digits(image, [drawn["label"]], 255, classes)


def drawing_pad(generator: nn.Module | None = None, digits: Digits | None = None) -> DrawingPad:
    """A widget to draw a digit on with mouse, pen or finger.

    The classifier says what it sees (which one can correct), and a number appears in the same
    handwriting: an encoder finds it at once, and `imitate` improves it where a kernel runs.
    generator: a trained, conditional one (the shipped one if None). For another than the shipped
    one, an encoder is trained first, for half a minute. For other classes than the digits, `digits`
    are real images of them, of which a classifier learns too; its own samples if left out. Raises
    `InvalidInputError` for a generator that is unconditional, or whose classes are not characters
    of 28x28 pixels.
    """
    generator = load_generator() if generator is None else as_generator(generator)
    spec = check_conditional(generator).spec
    if writes_digits(generator):
        return DrawingPad(generator, encoder_of(generator), load_classifier())
    if spec.shape != MNIST.shape or any(len(name) > 1 for name in spec.classes):
        rule = "must be of grey ones of 28x28 pixels, classes of one character each"
        raise InvalidInputError(f"a generator of {spec}: {rule}")
    if digits is None:
        digits = generate(generator, np.arange(100 * len(spec.classes)) % len(spec.classes), seed=0)
    return DrawingPad(generator, encoder_of(generator, digits), classifier_for(*split(digits)))


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
    shown, stop, shell = None, StopButton(), get_ipython()
    if shell:  # however the cell ends, the button must not interrupt later ones
        shell.events.register("post_run_cell", lambda _: setattr(stop, "running", False))

    def update(trainer: Trainer) -> None:
        nonlocal shown
        quality, row = "", trainer.history[-1] if trainer.history else {}
        if "label_accuracy" in row:
            quality = f", label accuracy {row['label_accuracy']:.0%} ({SAMPLES:,} samples)"
        title = f"epoch {len(trainer.history)} of {trainer.hyperparameters.epochs}{quality}"
        picture = Image(png(training_view(trainer.progress(), trainer.history, title)), width=820)
        stop.running = len(trainer.history) < trainer.hyperparameters.epochs
        if shown is None:
            display(stop)
            shown = display(picture, display_id=True)
        else:
            shown.update(picture)

    return update
