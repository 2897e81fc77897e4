"""One page that needs no kernel and no network: a generator's digit picker and drawing pad, with
all that they need, in one HTML file."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.digits import Digits
from ..data.randomness import random_source
from ..data.spec import MNIST
from ..evaluation.classifier import DigitClassifier, load_classifier
from ..files import atomic_write
from ..handwriting.encoder import Encoder, load_encoder, train_encoder
from ..handwriting.inversion import style_directions
from ..handwriting.sampling import writes_digits
from ..models import Generator, to_pixels
from ..systems.presets import load_generator
from .network_export import export_network, halved

PAGE = Path(__file__).with_name("page")  # the folder of its JavaScript, style and frame
# the JavaScript of the widgets, in the order in which one builds on the other
WIDGETS = ("networks.js", "handwriting.js", "ink.js", "controls.js", "picker.js", "pad.js")
QUANTILES = 1024  # of the latents' distribution
QUICK_STEPS = 300  # of an encoder's training, where none is shipped; about half a minute


def page(
    out: str | Path, generator: str | Path | None = None, encoder_steps: int | None = None
) -> Path:
    """Write the page of a generator in a file (the shipped one if None) and return its path.

    A conditional generator of the digits 0 to 9 gets a drawing pad; where no encoder is shipped
    with it, one is trained, for half a minute or for so many steps. Raises FileNotFoundError where
    there is no generator, `InvalidInputError` where the file holds none.
    """
    network = load_generator(generator)
    if not writes_digits(network):
        return write_page(network, out)
    encoder = encoder_of(network, steps=encoder_steps)
    return write_page(network, out, encoder, load_classifier())


def encoder_of(
    generator: Generator, digits: Digits | None = None, steps: int | None = None
) -> Encoder:
    """The encoder that is shipped with a conditional generator, or one that is trained for it, with
    `digits` if they are not MNIST's, for `QUICK_STEPS` or for so many steps."""
    if shipped := load_encoder(generator):
        return shipped
    return train_encoder(generator, steps=QUICK_STEPS if steps is None else steps, digits=digits)


def write_page(
    generator: Generator,
    path: str | Path,
    encoder: Encoder | None = None,
    classifier: DigitClassifier | None = None,
) -> Path:
    """Write a page for a generator, and return its path.

    With both an encoder and a classifier of its classes it has a drawing pad. Texts can be typed
    where the names of its classes are one character each. Weights and names are data in the page,
    never script. Raises `InvalidInputError` where the generator cannot be shown.
    """
    content = describe(generator, encoder, classifier)
    path = Path(path).expanduser()
    atomic_write(path, fill_frame(content).encode())
    return path


def describe(
    generator: Generator,
    encoder: Encoder | None = None,
    classifier: DigitClassifier | None = None,
) -> dict[str, Any]:
    """What a page's JavaScript works with, as a dictionary that JSON can hold."""
    hp, spec = generator.hyperparameters, generator.spec
    networks = {"generator": export_generator(generator)}
    images, labels = torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64)
    if encoder is not None and classifier is not None:
        networks["classifier"] = export_network(recogniser(classifier), (images,))
        networks["encoder"] = export_network(encoder, (images, labels))
    directions = style_directions(generator).tolist() if hp.conditional else None
    kind = "conditional" if hp.conditional else "unconditional"
    weights = sum(value.numel() for value in generator.parameters())
    return {
        "about": f"A {kind} generator ({hp.system}) of {weights:,} weights, trained on "
        f"{hp.dataset}. {'Its digits are' if spec == MNIST else 'What it writes is'} nobody's "
        "handwriting.",
        "classes": spec.classes,
        "size": spec.size,
        "conditional": hp.conditional,
        "z_dim": hp.z_dim,
        "quantiles": [round(float(q), 4) for q in latent_quantiles(generator)],
        "directions": directions,
        "networks": networks,
    }


def export_generator(generator: Generator) -> dict[str, Any]:
    """A generator for networks.js: at half precision if that changes no pixel by more than 1 of
    255 in 200 digits, else at single precision."""
    device = next(generator.parameters()).device
    z = generator.draw_latents(200, random_source(0)).to(device)
    y = (torch.arange(200) % len(generator.spec.classes)).to(device)
    network, rounded = generator, halved(generator).eval()
    was_training = network.training
    try:
        with torch.inference_mode():
            exact, half = (to_pixels(net(z, y)).int() for net in (network.eval(), rounded))
    finally:
        network.train(was_training)
    return export_network(generator, (z[:2], y[:2]), half=bool((exact - half).abs().max() <= 1))


def recogniser(classifier: DigitClassifier) -> nn.Module:
    """A classifier's logits (B, 10) from images (B, 1, 28, 28), ink 1 on paper 0."""
    return nn.Sequential(classifier.body, classifier.head)


def latent_quantiles(generator: Generator) -> np.ndarray:
    """Quantiles (1024,) of the numbers that the generator's latents are made of, ascending."""
    n = -(-(2**20) // generator.hyperparameters.z_dim)
    drawn = generator.draw_latents(n, random_source(0)).flatten().numpy()
    return np.quantile(drawn, (np.arange(QUANTILES) + 0.5) / QUANTILES)


def page_latent(seed: int, z_dim: int, quantiles: Sequence[float]) -> np.ndarray:
    """The latent float32 (z_dim,) that the page draws for the handwriting of that number.

    The same numbers as `drawLatent` in handwriting.js draws, for a kernel that keeps in step.
    """
    state = (seed + 0x9E3779B9 * np.arange(1, z_dim + 1, dtype=np.uint64)) % 2**32
    random = _mixed(state.astype(np.uint64)) / 2**32  # (z_dim,) in [0, 1)
    positions = np.clip(random * len(quantiles) - 0.5, 0, len(quantiles) - 1)
    return np.interp(positions, np.arange(len(quantiles)), quantiles).astype(np.float32)


def neighbours(seed: int, count: int) -> list[int]:
    """The numbers of `count` handwritings that the page shows together, of which `seed` is the
    first: as `neighbours` in handwriting.js says."""
    others = (seed + 0x1000193 * np.arange(1, count, dtype=np.uint64)) % 2**32
    return [seed, *_mixed(others.astype(np.uint64)).tolist()]


def _mixed(bits: np.ndarray) -> np.ndarray:
    """splitmix32's mixing of 32 bits, held in uint64."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        bits = (bits ^ bits >> np.uint64(shift)) * np.uint64(factor) % 2**32
    return bits ^ bits >> np.uint64(15)


def bundle(names: Sequence[str]) -> str:
    """Modules of the page as one: in this order, without the imports from each other."""
    texts = [(PAGE / name).read_text(encoding="utf-8") for name in names]
    whole = "\n".join(texts)
    whole = re.sub(r'^import \{[^}]*\} from "\./[\w.]+";\n', "", whole, flags=re.M)
    return re.sub(r"^export (?=(async )?(function|const|class)\b)", "", whole, flags=re.M)


def widget_script(mount: str) -> str:
    """The JavaScript module of a notebook's widget, as anywidget takes it.

    mount: `mountPicker` or `mountPad`. The widget's model has the values of PICKER_STATE or
    PAD_STATE, `status`, a text that is shown, and `page`: what `describe` returns, as JSON text.
    """
    render = f"return {mount}(el, model, openPage(JSON.parse(model.get('page'))));"
    return f"{bundle(WIDGETS)}\nexport default {{ render({{ model, el }}) {{ {render} }} }};\n"


def fill_frame(content: dict[str, Any]) -> str:
    """The page's HTML with its style, its script and its data.

    The browser runs the script of that hash and nothing else, and fetches nothing.
    """
    script, style = bundle([*WIDGETS, "main.js"]), (PAGE / "style.css").read_text(encoding="utf-8")
    data = json.dumps(content, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    rules = {
        "default-src": "'none'",
        "script-src": source_hash(script),
        "style-src": source_hash(style),
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    parts = {
        "policy": "; ".join(f"{name} {value}" for name, value in rules.items()),
        "style": style,
        "script": script,
        "data": data.replace("<", "\\u003c"),  # so that no text can end the data block
    }
    frame = (PAGE / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], frame)


def source_hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline script or style by."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
