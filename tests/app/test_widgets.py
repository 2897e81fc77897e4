import base64
import io
import zlib

import numpy as np
import torch
from PIL import Image, ImageDraw

from digitgan import SYSTEMS, digit_picker, drawing_pad
from digitgan.app.widgets import live_view
from digitgan.evaluation.stroke_features import stroke_features
from digitgan.models import build


def shown(picker):
    return np.asarray(Image.open(io.BytesIO(picker.image.value)))


def test_picking_shows_that_digit(tmp_path):
    picker = digit_picker(folder=tmp_path)
    for digit in (3, 0, 9):
        picker.digit.value = digit
        assert picker.digits.labels.tolist() == [digit] * 10
    first = shown(picker)
    picker.count.value = 25
    assert len(picker.digits) == 25
    picker.count.value = 10
    assert (shown(picker) == first).all()
    picker.again.click()
    assert (shown(picker) != first).any()
    assert not list(tmp_path.iterdir())


def test_ink_on_paper_or_inverted(tmp_path):
    picker = digit_picker(folder=tmp_path)
    on_paper = shown(picker)
    picker.look.value = "inverted"
    assert (shown(picker) == 255 - on_paper).all() and on_paper.mean() > 127


def test_save_writes_what_is_shown_and_tells_where(tmp_path):
    picker = digit_picker(folder=tmp_path / "new")
    picker.save.click()
    (path,) = (tmp_path / "new").iterdir()
    assert str(path) in picker.status.value
    assert np.asarray(Image.open(path)).shape == (112, 1120)
    (tmp_path / "file").write_text("")
    picker.folder = tmp_path / "file"
    picker.save.click()
    assert "not saved" in picker.status.value


def test_a_typed_number_is_written_in_one_handwriting(tmp_path):
    picker = digit_picker(folder=tmp_path)
    picker.number.value = "24 12"
    assert picker.digits.labels.tolist() == [2, 4, -1, 1, 2]
    before = shown(picker)
    picker.number.value = "24 12x"  # told beside the control, what was shown stays
    assert "digits 0 to 9 and spaces" in picker.status.value and (shown(picker) == before).all()
    picker.save.click()  # what is shown, under its own name
    assert [path.name[:7] for path in tmp_path.iterdir()] == ["24-12-h"]
    picker.number.value = "24 12"
    assert not picker.status.value
    picker.save_gif.click()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gif", ".png"]
    picker.number.value = ""
    assert picker.digits.labels.tolist() == [7] * 10


def test_one_goes_back_to_an_earlier_handwriting():
    picker = digit_picker()
    first = shown(picker)
    picker.again.click(), picker.again.click()
    names = [name for name, _ in picker.handwriting.options]
    assert names == ["handwriting 0", "handwriting 1", "handwriting 2"]
    assert picker.handwriting.value == 2
    picker.handwriting.value = 0
    assert (shown(picker) == first).all()


def test_sliders_do_what_they_are_called():
    picker = digit_picker()
    picker.number.value = "0123456789"
    plain = stroke_features(picker.digits).mean(0)
    for i, slider in enumerate(picker.style.values()):
        means = []
        for value in (-2, 2):
            slider.value = value
            means.append(stroke_features(picker.digits).mean(0)[i])
        assert means[0] < plain[i] < means[1]
        slider.value = 0
    picker.number.value, picker.count.value = "", 40
    unlike = [np.std(picker.digits.images.astype(float), axis=0).mean()]
    picker.neatness.value = 1
    unlike.append(np.std(picker.digits.images.astype(float), axis=0).mean())
    assert unlike[1] < 0.7 * unlike[0]


def drawing(draw):
    sheet = Image.new("L", (280, 280), 255)
    draw(ImageDraw.Draw(sheet))
    file = io.BytesIO()
    sheet.save(file, "png")
    return file.getvalue()


def test_a_drawn_seven_is_recognised_and_its_handwriting_goes_on():
    pad, stroke = drawing_pad(), [(70, 60), (210, 55), (120, 240)]
    pad.canvas.picture = drawing(lambda pen: pen.line(stroke, width=20, joint="curve"))
    assert pad.guess.value == 7 and "recognised as 7" in pad.status.value
    assert pad.digits.labels.tolist() == list(range(10)) and pad.image.value
    pad.number.value = "31 7"
    assert pad.digits.labels.tolist() == [3, 1, -1, 7]
    pad.number.value = "31 7!"
    assert "digits 0 to 9" in pad.status.value and len(pad.digits) == 4
    before = pad.z
    pad.guess.value = 1  # corrected
    assert not torch.equal(pad.z, before)


def test_an_empty_pad_is_told_beside_the_control():
    pad = drawing_pad()
    pad.canvas.picture = drawing(lambda pen: None)
    assert "ink" in pad.status.value and not pad.z.any()
    assert pad.digits.labels.tolist() == list(range(10))
    pad.clear.click()
    assert pad.canvas.cleared == 1 and pad.guess.value is None


def test_what_goes_wrong_is_told_beside_the_control_never_raised(monkeypatch):
    from digitgan.app import widgets

    pad = drawing_pad()
    small = drawing(lambda pen: None)
    # a head that promises 60,000 x 60,000 pixels
    bomb = small[:16] + (60_000).to_bytes(4, "big") * 2 + small[24:29]
    bomb += zlib.crc32(bomb[12:]).to_bytes(4, "big") + small[33:]
    for picture, said in (
        (b"no picture", "cannot identify"),
        (small[:100], "not a picture"),
        (bomb, "decompression bomb"),
    ):
        pad.canvas.picture = picture
        assert said in pad.status.value
    monkeypatch.setattr(widgets, "imitate", lambda *_, **__: 1 / 0)
    pad.canvas.picture = drawing(lambda pen: pen.line([(140, 40), (140, 240)], width=20))
    assert pad.status.value == "division by zero" and pad.progress.layout.visibility == "hidden"


def test_the_pad_of_an_unconditional_generator_says_that_it_cannot_be_asked():
    assert "unconditional" in drawing_pad(build(SYSTEMS["fcnn"])[0]).status.value


def test_without_widgets_a_picture_is_shown():
    picker = digit_picker()
    bundle = picker._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert base64.b64decode(data["image/png"]) == picker.image.value
    assert "application/vnd.jupyter.widget-view+json" in data


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
    letters = finished.hyperparameters.replace(
        dataset="KMNIST"
    )  # which the classifier has never seen
    with monkeypatch.context() as other:
        other.setattr(finished, "hyperparameters", letters)
        view(finished)
    assert ["label accuracy" in title for title in titles] == [True, False]
    (_, stop), *pictures = pictures
    assert not stop.running  # nothing is left to stop
    assert [kind for kind, _ in pictures] == ["new", "update"]
    assert all(data[:4] == b"\x89PNG" for _, data in pictures)
