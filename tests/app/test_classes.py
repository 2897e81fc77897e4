"""Picker, pad and page of generators whose images are not MNIST's: letters, colour, other sizes."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from own_images import letters

from digitgan import (
    Hyperparameters,
    InvalidInputError,
    digit_picker,
    drawing_pad,
    generate,
    imitate,
    write,
)
from digitgan.app import page as pages
from digitgan.app.widgets import DrawingPad, drawn_digit
from digitgan.data.datasets import CAPITALS
from digitgan.data.spec import ImageSpec
from digitgan.evaluation.classifier import DigitClassifier
from digitgan.handwriting.encoder import encoder_for
from digitgan.models import build

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no Node.js here")


def untrained(spec):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(Hyperparameters(z_dim=8), spec)[0].eval()


@pytest.fixture(scope="module")
def capitals():
    return untrained(ImageSpec(classes=CAPITALS))


def in_page(generator, script):
    """What a script returns that has the `studio` of a generator's page."""
    module = json.dumps((pages.PAGE / "handwriting.js").as_uri())
    program = f"import {{ openPage }} from {module};"
    program += f"const studio = openPage({json.dumps(pages.describe(generator))});"
    program += f"console.log(JSON.stringify((() => {{ {script} }})()));"
    command = ["node", "--input-type=module"]
    done = subprocess.run(command, input=program.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def test_a_picker_of_letters_takes_texts_and_letters(capitals, tmp_path):
    picker = digit_picker(capitals, tmp_path)
    assert picker.value == "H" and picker.digits.classes == CAPITALS
    picker.value = "Hello you"
    written = write(capitals, "HELLO YOU", z=picker._latents([picker.handwriting]))
    assert (picker.digits.images == written.images).all()
    picker.digit = 25
    picker.number = ""
    assert picker.value == "Z" and picker.save().name.startswith("Z-x10")
    with pytest.raises(InvalidInputError, match="no class for 4 2; it writes ABC"):
        picker.number = "42"
    with pytest.raises(InvalidInputError, match="label 26: must be from 0 to 25"):
        picker.digit = 26
    assert picker.value == "Z"


def test_a_picker_of_few_classes_with_names_has_no_texts():
    things = digit_picker(untrained(ImageSpec(classes=("coat", "bag"))))
    assert things.value == "bag" and len(things.digits) == 10
    things.value = "coat"
    assert things.digit == 0
    with pytest.raises(InvalidInputError, match="no class is a character"):
        things.number = "coat"


@needs_node
def test_the_page_writes_letters_as_python_does(capitals):
    z = capitals.draw_latents(1, torch.Generator().manual_seed(1))
    text = f"studio.write('He y', Float32Array.from({z[0].tolist()}))"
    found = in_page(capitals, f"return {text}.map((image) => image && [...image.pixels]);")
    expected = write(capitals, "He y", z=z).images.astype(int)
    assert found[2] is None
    for i in (0, 1, 3):
        assert np.abs(np.reshape(found[i], (28, 28)) - expected[i]).max() <= 2
    told = in_page(capitals, "return [studio.known('a4 Z!'), studio.one, studio.several];")
    assert told == ["a Z", "character", "text"]


@needs_node
@pytest.mark.parametrize("size", [8, 32])
def test_the_page_draws_colours_of_any_size(size):
    generator = untrained(ImageSpec(size, 3, ("cat", "dog", "owl")))
    z = generator.draw_latents(3, torch.Generator().manual_seed(1))
    latents = f"{z.tolist()}.map((row) => Float32Array.from(row))"
    found = in_page(
        generator,
        f"return studio.generate([0, 1, 2], {latents}).map((i) => i.colours.map((c) => [...c]));",
    )
    images = np.moveaxis(np.reshape(found, (3, 3, size, size)), 1, 3)
    assert np.abs(images - generate(generator, [0, 1, 2], z=z).images.astype(int)).max() <= 2


def test_a_pad_of_letters_goes_on_in_a_drawn_letter(monkeypatch):
    monkeypatch.setattr("digitgan.app.page.QUICK_STEPS", 2)
    monkeypatch.setattr("digitgan.evaluation.quality.IMAGES_SEEN", 0)
    names = tuple("EHLO")
    writer, real = untrained(ImageSpec(classes=names)), letters(100, names=names)
    pad = drawing_pad(writer, real)
    assert pad.number == "EHLO" and pad.classifier.spec.classes == names
    pad.draw(real.images[1], label=1)
    assert not pad.status and pad.drawn["label"] == 1
    assert torch.allclose(pad.z, imitate(writer, drawn_digit(pad.drawn, names)), atol=1e-5)
    pad.number = "HELLO"
    assert pad.digits.labels.tolist() == [1, 0, 2, 2, 3]
    with pytest.raises(InvalidInputError, match="no class for 7"):
        pad.number = "7"


@pytest.mark.parametrize(
    "spec", [ImageSpec(classes=("coat", "bag")), ImageSpec(32), ImageSpec(channels=3)]
)
def test_what_cannot_be_drawn_on_a_pad_is_refused_in_one_line(spec):
    with pytest.raises(InvalidInputError, match=r"must be of grey ones of 28x28 pixels") as told:
        drawing_pad(untrained(spec))
    assert "\n" not in str(told.value)


def test_a_letter_beyond_the_tenth_is_put_on_the_pad(capitals):
    encoder, classifier = encoder_for(capitals), DigitClassifier(capitals.spec).eval()
    pad = DrawingPad(capitals, encoder.eval(), classifier)
    pad.draw(letters(26)[25].images[0], label=25)
    assert not pad.status and pad.drawn["label"] == 25 and pad.refined
