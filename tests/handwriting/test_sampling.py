import numpy as np
import pytest
import torch

from digitgan import Hyperparameters, InvalidInputError, generate, load_generator, walk, write
from digitgan.evaluation.classifier import load_classifier
from digitgan.models import build


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
        with pytest.raises(InvalidInputError, match="label"):
            generate(generator, labels)
    for z in (torch.zeros(2, z_dim), torch.zeros(z_dim), torch.zeros(3, z_dim + 1)):
        with pytest.raises(InvalidInputError, match="z of shape"):
            generate(generator, [1, 2, 3], z=z)
    with pytest.raises(InvalidInputError, match="finite"):
        generate(generator, [1], z=torch.full((1, z_dim), torch.nan))


def test_the_network_is_left_in_the_mode_it_was_found_in():
    generator, _ = build(Hyperparameters())
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    for mode in (True, False):
        generator.train(mode)
        generate(generator, [1, 2], seed=0)
        assert generator.training is mode
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())


def test_a_number_is_written_in_one_handwriting(generator):
    number = write(generator, "2412", seed=3)
    assert number.labels.tolist() == [2, 4, 1, 2]
    assert (number.images[0] == number.images[3]).all()
    assert (write(generator, 2412, seed=3).images == number.images).all()
    for bad in ("", "12a", "1.5", "-3", "١٢"):
        with pytest.raises(InvalidInputError, match="digits 0 to 9"):
            write(generator, bad)


def test_unconditional_generators_give_digits_without_labels():
    generator, _ = build(Hyperparameters(conditional=False, aux_weight=0))
    assert generate(generator, [1, 2], seed=0).labels.tolist() == [-1, -1]
    with pytest.raises(InvalidInputError, match="unconditional"):
        write(generator, "12")


def test_spaces_part_a_number_and_anything_else_is_refused(generator):
    digits = write(generator, "12 3", seed=0)
    assert digits.labels.tolist() == [1, 2, -1, 3] and digits.images[2].max() == 0
    for wrong in ("", "  ", "12a", "1.5", "-3", "١"):
        with pytest.raises(InvalidInputError, match="digits 0 to 9 and spaces"):
            write(generator, wrong)


def test_a_long_number_is_read_back(generator):
    classifier = load_classifier()
    number = "".join(str(digit) for digit in np.random.default_rng(0).integers(10, size=200))
    for seed in range(5):
        digits = write(generator, number, seed=seed)
        assert (classifier.predict(digits) == digits.labels).mean() >= 0.97


def test_a_walk_is_smooth_round_and_repeats(generator):
    trip = walk(generator, 4, steps=24, seed=3)
    assert len(trip) == 24 and set(trip.labels) == {4}
    pixels = trip.images.astype(float)
    step = np.abs(pixels - np.roll(pixels, 1, 0)).mean((1, 2))  # the first from the last: it closes
    across = np.abs(pixels - np.roll(pixels, 12, 0)).mean((1, 2))
    assert step.min() > 0 and step.max() < across.max()
    assert (walk(generator, 4, steps=24, seed=3).images == trip.images).all()
    for wrong in ({"steps": 0}, {"stops": 1.5}, {"label": 10}):
        with pytest.raises(InvalidInputError):
            walk(generator, **{"label": 4} | wrong)
