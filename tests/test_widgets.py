import base64
import io

import numpy as np
from PIL import Image

from digitgan import digit_picker
from digitgan.widgets import live_view


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


def test_without_widgets_a_picture_is_shown():
    picker = digit_picker()
    bundle = picker._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert (
        base64.b64decode(data["image/png"]) == picker.image.value and "application/vnd.jupyter.widget-view+json" in data
    )


def test_live_view_updates_one_picture(finished, monkeypatch):
    from digitgan import widgets

    pictures = []

    class Handle:
        def update(self, picture):
            pictures.append(("update", picture.data))

    monkeypatch.setattr(
        widgets, "display", lambda picture, display_id: pictures.append(("new", picture.data)) or Handle()
    )
    view = live_view()
    view(finished), view(finished)
    assert [kind for kind, _ in pictures] == ["new", "update"] and all(d[:4] == b"\x89PNG" for _, d in pictures)
