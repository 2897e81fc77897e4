import numpy as np
import pytest
from PIL import Image, ImageOps

from digitgan import InvalidInputError, prepare
from digitgan.evaluation.classifier import load_classifier


def test_pictures_are_prepared_as_mnist_was(test_digits, tmp_path):
    """Real digits, enlarged, moved on a large sheet and inverted, come back as they were."""
    right, classifier = 0, load_classifier()
    for i in range(20):
        sheet = Image.new("L", (400, 300), 230)
        ink = Image.fromarray(test_digits.images[i]).resize((140, 140), Image.Resampling.BICUBIC)
        sheet.paste(30, (40 + 5 * i, 60), ink)
        for picture in (sheet, ImageOps.invert(sheet).convert("RGB"), np.asarray(sheet)):
            prepared = prepare(picture, label=int(test_digits.labels[i]))
            right += classifier.predict(prepared)[0] == test_digits.labels[i]
            ys, xs = np.nonzero(prepared.images[0] > 60)
            assert max(np.ptp(ys), np.ptp(xs)) + 1 <= 20
    assert right >= 57
    sheet.save(tmp_path / "sheet.png")
    by_path, by_name = prepare(tmp_path / "sheet.png"), prepare(str(tmp_path / "sheet.png"))
    assert (by_path.images == by_name.images).all()
    right_way_up = prepare(sheet).images
    exif = Image.Exif()
    exif[0x0112] = 6  # as a telephone held upright says: turn me
    sheet.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
    assert (prepare(tmp_path / "phone.png").images == right_way_up).all()
    assert np.abs(prepare(np.asarray(sheet) / 255.0).images.astype(int) - right_way_up).mean() < 5
    clear = Image.new("P", (300, 300), 0)  # black on what is transparent, by palette
    clear.putpalette([0, 0, 0, 0, 0, 0]), clear.paste(1, (140, 60, 160, 240))
    clear.save(tmp_path / "clear.png", transparency=0)
    assert classifier.predict(prepare(tmp_path / "clear.png")) == 1
    (tmp_path / "text.png").write_text("no picture")
    for wrong, said in (
        (Image.new("L", (300, 300), 255), "ink"),
        (tmp_path / "text.png", "text.png"),
        ("gone", "gone"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            prepare(wrong)
