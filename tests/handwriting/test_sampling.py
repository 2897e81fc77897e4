import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from digitgan import Digits, Hyperparameters, Mistake, generate, imitate, load_generator, prepare, walk, write
from digitgan.handwriting.sampling import draw_latents, moments
from digitgan.models import build
from digitgan.evaluation.classifier import load_reader


@pytest.fixture(scope="module")
def generator():
    return load_generator()


def test_one_image_per_label_and_the_same_seed_the_same_digits(generator):
    for labels in ([7, 7, 3], np.array([7, 7, 3]), torch.tensor([7, 7, 3])):
        digits = generate(generator, labels, seed=1)
        assert digits.labels.tolist() == [7, 7, 3]
        assert (digits.images == generate(generator, [7, 7, 3], seed=1).images).all()
    assert (digits.images[0] != digits.images[1]).any()
    assert (digits.images != generate(generator, [7, 7, 3], seed=2).images).any()
    assert len(generate(generator, [])) == 0


def test_given_latents_are_used(generator):
    z = torch.randn(1, generator.hyperparameters.z_dim)
    one = generate(generator, [4, 4, 5], z=z)
    assert (one.images[0] == one.images[1]).all() and (one.images[0] != one.images[2]).any()
    rows = generate(generator, [4, 5], z=z.repeat(2, 1).numpy())
    assert (rows.images == one.images[[0, 2]]).all()


def test_bad_requests_are_refused(generator):
    z_dim = generator.hyperparameters.z_dim
    for labels in ([10], [-1], [1.5], "12", [[1]]):
        with pytest.raises(Mistake, match="label"):
            generate(generator, labels)
    for z in (torch.zeros(2, z_dim), torch.zeros(z_dim), torch.zeros(3, z_dim + 1)):
        with pytest.raises(Mistake, match="z of shape"):
            generate(generator, [1, 2, 3], z=z)
    with pytest.raises(Mistake, match="finite"):
        generate(generator, [1], z=torch.full((1, z_dim), torch.nan))


def test_the_network_is_left_in_the_mode_it_was_found_in():
    generator, _ = build(Hyperparameters())
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    for mode in (True, False):
        generator.train(mode)
        generate(generator, [1, 2], seed=0)
        assert generator.training is mode
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_a_number_is_written_in_one_hand(generator):
    number = write(generator, "2412", seed=3)
    assert number.labels.tolist() == [2, 4, 1, 2]
    assert (number.images[0] == number.images[3]).all()
    assert (write(generator, 2412, seed=3).images == number.images).all()
    for bad in ("", "12a", "1.5", "-3", "١٢"):
        with pytest.raises(Mistake, match="digits 0 to 9"):
            write(generator, bad)


def test_unconditional_generators_give_digits_without_labels():
    generator, _ = build(Hyperparameters(conditional=False, classify=0))
    assert generate(generator, [1, 2], seed=0).labels.tolist() == [-1, -1]
    with pytest.raises(Mistake, match="unconditional"):
        write(generator, "12")


def test_moments_measure_slant_stroke_and_size():
    upright = np.zeros((28, 28), np.uint8)
    upright[6:22, 12:16] = 255  # a bar, 16 high and 4 wide
    leaning = np.stack(
        [np.roll(row, (14 - y) // 2) for y, row in enumerate(upright)]
    )  # half a pixel right per pixel up
    slant, width, size = moments(Digits([upright, leaning, upright.T])).T
    assert slant[0] == pytest.approx(0, abs=1e-3) and slant[1] == pytest.approx(0.5, abs=0.05)
    assert width[0] == pytest.approx(2 * 64 / 40, rel=0.05)  # twice its area over its boundary
    assert size[0] == pytest.approx(16 / 12**0.5, rel=0.01) and size[2] == pytest.approx(4 / 12**0.5, rel=0.05)


def test_spaces_part_a_number_and_anything_else_is_refused(generator):
    digits = write(generator, "12 3", seed=0)
    assert digits.labels.tolist() == [1, 2, -1, 3] and digits.images[2].max() == 0
    for wrong in ("", "  ", "12a", "1.5", "-3", "١"):
        with pytest.raises(Mistake, match="digits 0 to 9 and spaces"):
            write(generator, wrong)


def test_a_long_number_is_read_back(generator):
    reader = load_reader()
    number = "".join(str(digit) for digit in np.random.default_rng(0).integers(10, size=200))
    for seed in range(5):
        digits = write(generator, number, seed=seed)
        assert (reader.read(digits) == digits.labels).mean() >= 0.97


def test_a_walk_is_smooth_round_and_repeats(generator):
    trip = walk(generator, 4, steps=24, seed=3)
    assert len(trip) == 24 and set(trip.labels) == {4}
    pixels = trip.images.astype(float)
    step = np.abs(pixels - np.roll(pixels, 1, 0)).mean((1, 2))  # the first from the last: it closes
    assert step.min() > 0 and step.max() < np.abs(pixels - np.roll(pixels, 12, 0)).mean((1, 2)).max()
    assert (walk(generator, 4, steps=24, seed=3).images == trip.images).all()
    for wrong in ({"steps": 0}, {"stops": 1.5}, {"label": 10}):
        with pytest.raises(Mistake):
            walk(generator, **{"label": 4} | wrong)


def test_an_imitated_hand_is_that_of_the_source(generator):
    """Hands of the generator itself, from one digit each: all ten digits lean and press as that hand's do."""
    hands = 32  # fewer tell little of size, which digits of one hand share least
    z = draw_latents(hands, generator.hyperparameters.z_dim, 7)
    label, told = 3, []
    found = [imitate(generator, generate(generator, [label], z=one[None]), seed=1, progress=told.append) for one in z]
    assert len(told) == hands * 60 and told[59] == 1
    others = [y for y in range(10) if y != label]

    def mean_moments(latents):
        return np.stack([moments(generate(generator, others, z=one.reshape(1, -1))).mean(0) for one in latents])

    for ours, theirs in zip(mean_moments(found).T, mean_moments(z).T, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.5
    again = imitate(generator, generate(generator, [label], z=z[:1]), seed=1)
    assert torch.equal(again, found[0]) and again.shape == (1, z.shape[1])
    assert all(weight.requires_grad and weight.grad is None for weight in generator.parameters())


def test_imitation_wants_labels_and_one_latent_for_several(generator, test_digits):
    assert imitate(generator, test_digits[:3], steps=3).shape == (1, generator.hyperparameters.z_dim)
    for wrong in (test_digits[:0], Digits(test_digits.images[:1])):
        with pytest.raises(Mistake, match="label"):
            imitate(generator, wrong)


def test_pictures_are_prepared_as_mnist_was(test_digits, tmp_path):
    """Real digits, enlarged, moved on a large sheet and inverted, come back as they were."""
    right, reader = 0, load_reader()
    for i in range(20):
        sheet = Image.new("L", (400, 300), 230)
        ink = Image.fromarray(test_digits.images[i]).resize((140, 140), Image.Resampling.BICUBIC)
        sheet.paste(30, (40 + 5 * i, 60), ink)
        for picture in (sheet, ImageOps.invert(sheet).convert("RGB"), np.asarray(sheet)):
            prepared = prepare(picture, label=int(test_digits.labels[i]))
            right += reader.read(prepared)[0] == test_digits.labels[i]
            ys, xs = np.nonzero(prepared.images[0] > 60)
            assert max(np.ptp(ys), np.ptp(xs)) + 1 <= 20
    assert right >= 57
    sheet.save(tmp_path / "sheet.png")
    assert (prepare(tmp_path / "sheet.png").images == prepare(str(tmp_path / "sheet.png")).images).all()
    right_way_up = prepare(sheet).images
    exif = Image.Exif()
    exif[0x0112] = 6  # as a telephone held upright says: turn me
    sheet.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
    assert (prepare(tmp_path / "phone.png").images == right_way_up).all()
    assert np.abs(prepare(np.asarray(sheet) / 255.0).images.astype(int) - right_way_up).mean() < 5
    clear = Image.new("P", (300, 300), 0)  # black on what is transparent, by palette
    clear.putpalette([0, 0, 0, 0, 0, 0]), clear.paste(1, (140, 60, 160, 240))
    clear.save(tmp_path / "clear.png", transparency=0)
    assert reader.read(prepare(tmp_path / "clear.png")) == 1
    (tmp_path / "text.png").write_text("no picture")
    for wrong, said in (
        (Image.new("L", (300, 300), 255), "ink"),
        (tmp_path / "text.png", "text.png"),
        ("gone", "gone"),
    ):
        with pytest.raises(Mistake, match=said):
            prepare(wrong)
