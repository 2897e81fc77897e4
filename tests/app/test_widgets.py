"""The picker and the pad as Python sees them: their traits, what they hold, and what the page's
JavaScript makes of the same traits. tests/browser clicks them."""

import base64
import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
import traitlets
from PIL import Image, ImageDraw

from digitgan import SYSTEMS, InvalidInputError, digit_picker, drawing_pad, prepare
from digitgan.app.page import PAGE
from digitgan.app.widgets import live_view
from digitgan.evaluation.stroke_features import stroke_features
from digitgan.models import build

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no Node.js here")


def picture(widget):
    return np.asarray(Image.open(io.BytesIO(widget.png())))


def test_picking_shows_that_digit(tmp_path):
    picker = digit_picker(folder=tmp_path)
    for digit in (3, 0, 9):
        picker.digit = digit
        assert picker.digits.labels.tolist() == [digit] * 10 and picker.value == str(digit)
    first = picture(picker)
    picker.count = 25
    assert len(picker.digits) == 25
    picker.count = 10
    assert (picture(picker) == first).all()
    picker.handwriting = 1
    assert (picture(picker) != first).any()
    assert not list(tmp_path.iterdir())


def test_value_is_what_is_written_and_can_be_set():
    picker, told = digit_picker(), []
    picker.observe(lambda change: told.append(change.new), "value")
    picker.value = "24 12"
    assert (picker.number, picker.digit) == ("24 12", 7)
    picker.value = "5"
    assert (picker.number, picker.digit) == ("", 5)
    picker.set_state({"digit": 3, "number": ""})  # as a click does
    picker.set_state({"number": "31"})
    assert picker.value == "31" and told == ["24 12", "5", "3", "31"]


def test_what_cannot_be_shown_is_refused_and_what_was_shown_stays():
    picker = digit_picker()
    picker.number = "24 12"
    for name, wrong in (("number", "24 12x"), ("value", ""), ("value", "x")):
        with pytest.raises(InvalidInputError, match="digits 0 to 9 and spaces"):
            setattr(picker, name, wrong)
    with pytest.raises(InvalidInputError, match="label 10: must be from 0 to 9"):
        picker.digit = 10
    for name, wrong in (("digit", "x"), ("count", 0), ("slant", 4), ("neatness", "much")):
        with pytest.raises(traitlets.TraitError, match=name):
            setattr(picker, name, wrong)
    assert picker.value == "24 12" and picker.digits.labels.tolist() == [2, 4, -1, 1, 2]
    unconditional = digit_picker(build(SYSTEMS["linear"])[0])
    with pytest.raises(InvalidInputError, match="unconditional"):
        unconditional.number = "3"
    assert unconditional.digits.labels.tolist() == [-1] * 10


def test_ink_on_paper_or_inverted(tmp_path):
    picker = digit_picker(folder=tmp_path)
    on_paper = picture(picker)
    picker.inverted = True
    assert (picture(picker) == 255 - on_paper).all() and on_paper.mean() > 127


def test_save_writes_what_is_shown_and_tells_where(tmp_path):
    picker, state = digit_picker(folder=tmp_path / "new"), {"digit": 4}
    picker._answer({"save": "png", "state": state})  # as the button does
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.startswith("4-x10") and str(path) in picker.status
    assert np.asarray(Image.open(path)).shape == (112, 1120)
    (tmp_path / "file").write_text("")
    picker.folder = tmp_path / "file"
    picker._answer({"save": "png", "state": state})
    assert "not saved" in picker.status


def test_a_number_is_saved_under_its_own_name(tmp_path):
    picker = digit_picker(folder=tmp_path)
    picker.number = "24 12"
    assert picker.save().name.startswith("24-12-h") and picker.save("gif").suffix == ".gif"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gif", ".png"]


def test_one_goes_back_to_an_earlier_handwriting():
    picker = digit_picker()
    first = picture(picker)
    picker.handwriting = 1
    picker.handwriting = 2
    assert picker.history == [0, 1, 2] and picker.first == 2
    assert (picture(picker) != first).any()
    picker.handwriting = 0
    assert (picture(picker) == first).all() and picker.history == [0, 1, 2]


def test_sliders_do_what_they_are_called():
    picker = digit_picker()
    picker.number = "0123456789"
    plain = stroke_features(picker.digits).mean(0)
    for i, name in enumerate(("slant", "weight", "height")):
        means = []
        for value in (-2, 2):
            setattr(picker, name, value)
            means.append(stroke_features(picker.digits).mean(0)[i])
        assert means[0] < plain[i] < means[1]
        setattr(picker, name, 0)
    picker.number, picker.count = "", 40
    unlike = [np.std(picker.digits.images.astype(float), axis=0).mean()]
    picker.neatness = 1
    unlike.append(np.std(picker.digits.images.astype(float), axis=0).mean())
    assert unlike[1] < 0.7 * unlike[0]


@needs_node
def test_the_page_shows_the_digits_that_python_holds():
    picker = digit_picker()
    picker.digit, picker.handwriting, picker.slant, picker.neatness = 4, 5, -1.5, 0.25
    picker.count = 12
    state = {name: getattr(picker, name) for name in ("digit", "first", "count", "handwriting")}
    style = {name: getattr(picker, name) for name in ("slant", "weight", "height", "neatness")}
    program = f"""
    import {{ readFileSync }} from "fs";
    import {{ neighbours, openPage }} from {json.dumps((PAGE / "handwriting.js").as_uri())};
    const studio = openPage(JSON.parse(readFileSync(0, "utf8")));
    const {{ digit, first, count }} = {json.dumps(state)};
    const latents = neighbours(first, count).map(
      (seed) => studio.style(studio.latent(seed), {json.dumps(style)}));
    const images = studio.generate(latents.map(() => digit), latents);
    console.log(JSON.stringify(images.map(({{ pixels }}) => [...pixels])));
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program],
        input=picker.page, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = np.array(json.loads(done.stdout)).reshape(12, 28, 28)
    assert np.abs(found - picker.digits.images.astype(int)).max() <= 2


def seven():
    sheet, stroke = Image.new("L", (280, 280), 255), [(70, 60), (210, 55), (120, 240)]
    ImageDraw.Draw(sheet).line(stroke, width=20, joint="curve")
    return sheet


def drawn(picture, label, latent):
    """What the page tells of a drawing."""
    image = (prepare(picture).images.flatten() / 255).tolist()
    return {"time": 1, "image": image, "label": label, "latent": latent}


@pytest.fixture(scope="module")
def pad():
    return drawing_pad()


def test_a_drawn_seven_is_recognised_and_its_handwriting_goes_on(pad):
    pad.draw(seven())
    assert pad.drawn["label"] == 7 and pad.status == ""
    assert pad.digits.labels.tolist() == list(range(10)) and len(np.unique(picture(pad))) > 2
    assert pad.z.tolist() == [pad.refined["latent"]] != [pad.drawn["latent"]]
    pad.number = "31 7"
    assert pad.digits.labels.tolist() == [3, 1, -1, 7]
    with pytest.raises(InvalidInputError, match="digits 0 to 9"):
        pad.number = "31 7!"
    assert len(pad.digits) == 4
    before = pad.z
    pad.draw(seven(), label=1)  # corrected
    assert not torch.equal(pad.z, before)


def test_what_is_drawn_on_the_page_is_refined(pad):
    pad.set_state({"drawn": drawn(seven(), 7, [0.5] * 64)})  # as the page does
    assert pad.refined["time"] == 1 and pad.z.tolist() == [pad.refined["latent"]]
    pad.set_state({"drawn": None})
    assert not pad.z.any()  # the mean


def test_an_empty_picture_is_refused_and_the_pad_stays_as_it_is(pad):
    pad.drawn, pad.number = None, "0123456789"
    with pytest.raises(InvalidInputError, match="ink"):
        pad.draw(Image.new("L", (280, 280), 255))
    assert pad.drawn is None and pad.digits.labels.tolist() == list(range(10))


def test_what_goes_wrong_is_told_beside_the_control_never_raised(pad, monkeypatch):
    from digitgan.app import widgets

    good = drawn(seven(), 7, [0.0] * 64)
    for wrong, said in (
        ({"image": [0.0] * 783}, "784 numbers from 0 to 1"),
        ({"image": [2.0] * 784}, "784 numbers from 0 to 1"),
        ({"image": [float("nan")] * 784}, "784 numbers from 0 to 1"),
        ({"label": 70}, "70"),
        ({"label": -1}, "without label"),
    ):
        pad.drawn = None
        pad.drawn = good | wrong
        assert said in pad.status
    monkeypatch.setattr(widgets, "imitate", lambda *_, **__: 1 / 0)
    pad.drawn = good | {"time": 2}
    assert pad.status == "division by zero" and pad.z.tolist() == [good["latent"]]


def test_the_pad_of_an_unconditional_generator_says_that_it_cannot_be_asked():
    with pytest.raises(InvalidInputError, match="unconditional"):
        drawing_pad(build(SYSTEMS["fcnn"])[0])


def test_without_widgets_a_picture_is_shown():
    picker = digit_picker()
    bundle = picker._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert base64.b64decode(data["image/png"]) == picker.png()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("DigitPicker(Digits(10 images")


def test_live_view_updates_one_picture(finished, monkeypatch):
    from digitgan.app import widgets

    pictures = []

    class Handle:
        def update(self, picture):
            pictures.append(("update", picture.data))

    def display(shown, display_id=None):
        pictures.append(("new", getattr(shown, "data", shown)))
        return Handle()

    monkeypatch.setattr(widgets, "display", display)
    titles, training_view = [], widgets.training_view
    watch = lambda *arguments: titles.append(arguments[-1]) or training_view(*arguments)  # noqa: E731
    monkeypatch.setattr(widgets, "training_view", watch)
    view = live_view()
    view(finished)
    judged = "label_accuracy", "frechet_distance"
    without = [{k: v for k, v in row.items() if k not in judged} for row in finished.history]
    with monkeypatch.context() as other:  # as of images without labels
        other.setattr(finished, "history", without)
        view(finished)
    assert ["label accuracy" in title for title in titles] == [True, False]
    (_, stop), *pictures = pictures
    assert not stop.running  # nothing is left to stop
    assert [kind for kind, _ in pictures] == ["new", "update"]
    assert all(data[:4] == b"\x89PNG" for _, data in pictures)
