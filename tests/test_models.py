import pytest
import torch
from safetensors.torch import save_file

from digitgan import Hyperparameters, InvalidInputError, load_generator, save_generator
from digitgan.data.randomness import random_source
from digitgan.models import (
    SAMPLE_BATCH,
    build,
    evaluating,
    from_pixels,
    sample,
    sample_rows,
    to_pixels,
)

Z, Y = torch.randn(6, Hyperparameters().z_dim), torch.arange(6)


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("architecture", ["dcgan", "dcgan-deep", "dcgan-wide", "dcgan-strided"])
def test_shapes_ranges_and_gradients(architecture, conditional):
    """Those of older systems are tested with the systems."""
    hp = Hyperparameters(architecture=architecture, conditional=conditional, aux_weight=0)
    generator, discriminator = build(hp)
    images = generator(generator.draw_latents(6), Y)
    logits = discriminator(images, Y)
    assert images.shape == (6, 1, 28, 28) and images.abs().max() <= 1
    assert logits.shape == (6,) and logits.dtype == torch.float32
    logits.sum().backward()
    for network in (generator, discriminator):
        assert all(p.grad is not None for p in network.parameters())


PARAMETERS = {  # of generator and discriminator, as the README and the model card say
    "dcgan": (287_504, 346_817),
    "dcgan-deep": (287_504, 346_817 + 64 * 64 * 3 * 3 + 64),  # one more convolution in D
    "dcgan-wide": (722_128, 987_137),
}


@pytest.mark.parametrize("architecture", PARAMETERS)
def test_parameters_are_as_many_as_they_were(architecture):
    generator, discriminator = build(Hyperparameters(architecture=architecture))
    assert (count(generator), count(discriminator)) == PARAMETERS[architecture]
    assert discriminator(generator(Z, Y), Y).shape == (6,)


def test_networks_that_nobody_builds_are_refused():
    unknown = Hyperparameters(system="none", architecture="own", aux_weight=0)
    with pytest.raises(InvalidInputError, match=r"'own' with system = 'none': must be dcgan, .*"):
        build(unknown)


def test_labels_matter_where_they_should():
    for conditional in (True, False):
        hp = Hyperparameters(conditional=conditional, aux_weight=0)
        generator, discriminator = build(hp)
        generator.eval()
        images, y = generator(Z, Y), Y.flip(0)
        assert torch.equal(images, generator(Z, y)) != conditional
        assert torch.equal(discriminator(images, Y), discriminator(images, y)) != conditional


def test_a_logit_is_how_real_it_looks_plus_how_well_it_fits_its_label():
    _, discriminator = build(Hyperparameters())
    x = torch.rand(6, 1, 28, 28) * 2 - 1
    logits, classes = discriminator.logits_and_classes(x, Y)
    assert logits.shape == (6,) and classes.shape == (6, 10)
    looks_real = discriminator.to_logit(discriminator.net(x)).squeeze(1)
    assert torch.allclose(logits, looks_real + classes[torch.arange(6), Y], atol=1e-5)
    assert torch.equal(discriminator(x, Y), logits)


def test_the_default_is_one_transposed_convolution_of_stride_four():
    """Convolution and pixel shuffle, as in `dcgan`, against torch's own transposed convolution."""
    convolution, x = torch.nn.Conv2d(8, 16, 3, padding=1), torch.randn(2, 8, 7, 7)
    transposed = torch.nn.ConvTranspose2d(8, 1, 12, stride=4, padding=4, bias=False)
    with torch.no_grad():
        convolution.bias.zero_()
        kernel = convolution.weight.reshape(4, 4, 8, 3, 3).flip(3, 4)  # (down, right, in, 3, 3)
        transposed.weight.copy_(kernel.permute(2, 3, 0, 4, 1).reshape(8, 1, 12, 12))
        shuffled = torch.nn.functional.pixel_shuffle(convolution(x), 4)
        assert torch.allclose(shuffled, transposed(x), atol=1e-5)


def test_pixels_there_and_back():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(49)[: 16 * 784].reshape(16, 28, 28)
    assert from_pixels(pixels).min() == -1 and from_pixels(pixels).max() == 1
    assert torch.equal(to_pixels(from_pixels(pixels)), pixels)


# ---- samples ----


def test_samples_are_the_same_in_batches_as_one_by_one():
    generator, _ = build(Hyperparameters(z_dim=4))
    labels = torch.arange(SAMPLE_BATCH + 3).remainder(10).numpy()
    z = generator.draw_latents(len(labels))
    digits = sample(generator, labels, z)
    assert digits.labels.tolist() == labels.tolist()
    last = sample(generator, labels[-3:], z[-3:])
    difference = digits.images[-3:].astype(int) - last.images
    assert abs(difference).max() <= 1  # sums of another batch size are rounded otherwise
    first, again = (sample(generator, labels[:5], seed=3) for _ in range(2))
    assert (first.images == again.images).all()


def test_rows_share_a_latent_where_there_are_labels():
    generator, _ = build(Hyperparameters(z_dim=4))
    rows = sample_rows(generator, 3, seed=1)
    assert rows.labels.tolist() == list(range(10)) * 3
    z = generator.draw_latents(3, random_source(1)).repeat_interleave(10, 0)
    assert (sample(generator, rows.labels, z).images == rows.images).all()
    unlabelled = build(Hyperparameters(conditional=False, aux_weight=0))[0]
    digits = sample_rows(unlabelled, 1, seed=1)
    assert digits.labels.tolist() == [-1] * 10
    assert len({image.tobytes() for image in digits.images}) == 10  # a latent for each


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_left_in_the_mode_it_was_found_in(training):
    generator, _ = build(Hyperparameters())
    generator.train(training)
    with evaluating(generator):
        assert not generator.training
    with pytest.raises(ZeroDivisionError), evaluating(generator):
        raise ZeroDivisionError
    assert generator.training == training


# ---- files ----


def test_save_and_load_give_the_same_generator(tmp_path):
    generator, _ = build(Hyperparameters(z_dim=8))
    generator(torch.randn(32, 8), torch.arange(32) % 10)  # moves BatchNorm's running statistics
    save_generator(generator, tmp_path / "g.safetensors")
    loaded = load_generator(tmp_path / "g.safetensors")
    assert loaded.hyperparameters == generator.hyperparameters and not loaded.training
    assert torch.equal(loaded(Z[:, :8], Y), generator.eval()(Z[:, :8], Y))


def test_what_is_no_generator_is_refused_in_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors: no such file"):
        load_generator(tmp_path / "none.safetensors")
    (tmp_path / "junk").write_bytes(b"junk")
    save_file({"w": torch.zeros(3)}, tmp_path / "other")
    save_file({"w": torch.zeros(3)}, tmp_path / "wrong", {"hyperparameters": "{}"})
    for name in ("junk", "other", "wrong"):
        with pytest.raises(InvalidInputError, match=f"{name}: not a generator") as refusal:
            load_generator(tmp_path / name)
        assert "\n" not in str(refusal.value)


def test_building_and_loading_leave_the_random_state_alone():
    before = torch.get_rng_state()
    load_generator()
    assert torch.equal(torch.get_rng_state(), before)


def test_logits_in_bfloat16_keep_what_tells_pairs_apart():
    """Long training lets how real a digit looks and how well it fits its label grow apart, to
    hundreds that cancel in the logit. Rounded to bfloat16 before they do, little but noise would be
    left."""
    torch.manual_seed(0)
    _, discriminator = build(Hyperparameters())
    x, y = torch.rand(64, 1, 28, 28) * 2 - 1, torch.arange(64) % 10
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = discriminator(x, y)
        discriminator.to_logit.weight += 200.0
        discriminator.embedding.weight -= 200.0
        assert (discriminator(x, y) - before).abs().max() < 0.01
