import numpy as np
import pytest
import torch

from digitgan import Hyperparameters, Mistake, generate, load_generator, write
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
    generator, _ = build(Hyperparameters(conditional=False))
    assert generate(generator, [1, 2], seed=0).labels.tolist() == [-1, -1]
    with pytest.raises(Mistake, match="unconditional"):
        write(generator, "12")
