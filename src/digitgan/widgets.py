"""What one plays with in a notebook: the digit picker, and the live view of a training run.

Only layout and events; each shows itself as a plain picture where widgets do not run.
"""

import base64
from pathlib import Path

import ipywidgets as w
from IPython.display import Image, display

from .figures import png, training_view
from .handwriting import draw_latents, generate
from .models import load_generator


class DigitPicker(w.VBox):
    """Pick a digit, and how many; see `digit_picker`. `digits` holds what is shown."""

    def __init__(self, generator, folder):
        self.generator, self.folder, self.hand = generator, Path(folder), 0
        self.digit = w.ToggleButtons(options=list(range(10)), value=7, tooltips=[f"write {d}" for d in range(10)])
        self.digit.style.button_width = "2.6em"
        self.count = w.IntSlider(value=10, min=1, max=40, description="how many", continuous_update=False)
        self.again = w.Button(description="new handwriting", icon="refresh", tooltip="draw other latents")
        self.look = w.ToggleButtons(options=["ink on paper", "inverted"], layout={"width": "auto"})
        self.look.style.button_width = "8em"
        self.save = w.Button(description="save as PNG", icon="download")
        self.status = w.HTML()
        self.image = w.Image(format="png")
        for control in (self.digit, self.count, self.look):
            control.observe(lambda change: self.show(), "value")
        self.again.on_click(lambda _: self.show(self.hand + 1))
        self.save.on_click(lambda _: self._save())
        if not generator.hyperparameters.conditional:
            self.digit.disabled = True
        rows = w.HBox([self.count, self.again]), w.HBox([self.look, self.save])
        super().__init__([self.digit, *rows, self.image, self.status])
        self.show()

    def show(self, hand=None):
        """Write the picked digit, in the hands that number `hand` gives (the present ones if None)."""
        self.hand = self.hand if hand is None else hand
        z = draw_latents(self.count.max, self.generator.hyperparameters.z_dim, self.hand)[: self.count.value]
        self.digits = generate(self.generator, [self.digit.value] * self.count.value, z=z)
        self.image.value = self.digits.png(scale=3, inverted=self._on_paper())
        self.status.value = ""

    def _on_paper(self):
        return self.look.value == "ink on paper"  # `Digits` itself keeps ink bright, as MNIST does

    def _save(self):
        path = self.folder / f"{self.digit.value}-hand{self.hand}-{self.count.value}.png"
        try:
            self.digits.save(path, scale=4, inverted=self._on_paper())
            self.status.value = f"saved as {path}"
        except OSError as error:
            self.status.value = f"not saved: {error}"

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and its picture for places where widgets do not run."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        data["image/png"] = base64.b64encode(self.image.value).decode()
        return bundle


def digit_picker(generator=None, folder="runs/picker"):
    """A widget that writes the digit one picks: how many, new handwriting, ink on paper or inverted, save.

    generator: a trained one (the repository's own if None). Saved pictures go to `folder`.
    """
    return DigitPicker(load_generator() if generator is None else generator, folder)


def live_view():
    """A callback for `Trainer.train`: fixed latents and losses in one picture, updated in place after each epoch."""
    shown = None

    def update(trainer):
        nonlocal shown
        picture = Image(png(training_view(trainer.progress(), trainer.history)), width=820)
        if shown is None:
            shown = display(picture, display_id=True)
        else:
            shown.update(picture)

    return update
