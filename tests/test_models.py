import pytest
import torch

from digitgan import SYSTEMS, Hyperparameters, Mistake, load_generator, save_generator
from digitgan.models import build, from_pixels, to_pixels

Z, Y = torch.randn(6, Hyperparameters().z_dim), torch.arange(6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_shapes_ranges_and_gradients(name):
    generator, discriminator = build(SYSTEMS[name])
    images = generator(torch.randn(6, SYSTEMS[name].z_dim), Y)
    logits = discriminator(images, Y)
    assert images.shape == (6, 1, 28, 28) and images.abs().max() <= 1 and logits.shape == (6,)
    logits.sum().backward()
    assert all(p.grad is not None for p in generator.parameters())


PARAMETERS = {  # of generator and discriminator
    "fcnn": (218_128, 100_609),
    "cnn": (245_633, 21_381),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_they_were(name):
    assert tuple(sum(p.numel() for p in network.parameters()) for network in build(SYSTEMS[name])) == PARAMETERS[name]


@pytest.mark.parametrize("name", [name for name, hp in SYSTEMS.items() if hp.conditional])
def test_every_conditional_system_sees_the_label_on_both_sides(name):
    generator, discriminator = (network.eval() for network in build(SYSTEMS[name]))
    z = torch.randn(6, SYSTEMS[name].z_dim)
    images = generator(z, Y)
    assert not torch.equal(images, generator(z, Y.flip(0)))
    assert not torch.equal(discriminator(images, Y), discriminator(images, Y.flip(0)))


def test_deep_is_the_default_with_one_more_convolution_in_the_discriminator():
    plain, deep = build(Hyperparameters()), build(Hyperparameters(networks="dcgan-deep"))
    sizes = [[sum(p.numel() for p in network.parameters()) for network in networks] for networks in (plain, deep)]
    assert sizes[1] == [sizes[0][0], sizes[0][1] + 64 * 64 * 3 * 3 + 64]
    assert deep[1](deep[0](Z, Y), Y).shape == (6,)


def test_labels_matter_where_they_should():
    for conditional in (True, False):
        generator, discriminator = build(Hyperparameters(conditional=conditional, classify=0))
        generator.eval()
        images = generator(Z, Y)
        assert torch.equal(images, generator(Z, Y.flip(0))) != conditional
        assert torch.equal(discriminator(images, Y), discriminator(images, Y.flip(0))) != conditional


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
    assert from_pixels(pixels, (0.0, 1.0)).min() == 0


def test_save_and_load_give_the_same_generator(tmp_path):
    generator, _ = build(Hyperparameters(z_dim=8))
    generator(torch.randn(32, 8), torch.arange(32) % 10)  # moves BatchNorm's running statistics
    save_generator(generator, tmp_path / "g.safetensors")
    loaded = load_generator(tmp_path / "g.safetensors")
    assert loaded.hyperparameters == generator.hyperparameters and not loaded.training
    assert torch.equal(loaded(Z[:, :8], Y), generator.eval()(Z[:, :8], Y))


def test_what_is_no_generator_is_refused_in_one_line(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(FileNotFoundError, match="none.safetensors: no such file"):
        load_generator(tmp_path / "none.safetensors")
    (tmp_path / "junk").write_bytes(b"junk")
    save_file({"w": torch.zeros(3)}, tmp_path / "other")
    save_file({"w": torch.zeros(3)}, tmp_path / "wrong", {"hyperparameters": "{}"})
    for name in ("junk", "other", "wrong"):
        with pytest.raises(Mistake, match=f"{name}: not a generator") as refusal:
            load_generator(tmp_path / name)
        assert "\n" not in str(refusal.value)


def test_building_and_loading_leave_the_random_state_alone():
    before = torch.get_rng_state()
    load_generator()
    assert torch.equal(torch.get_rng_state(), before)


def test_logits_in_bfloat16_keep_what_tells_pairs_apart():
    """Long training lets how real a digit looks and how well it fits its label grow apart, to hundreds that cancel in
    the logit: rounded to bfloat16 before they do, little but noise would be left."""
    torch.manual_seed(0)
    _, discriminator = build(Hyperparameters())
    x, y = torch.rand(64, 1, 28, 28) * 2 - 1, torch.arange(64) % 10
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = discriminator(x, y)
        discriminator.realness.weight += 200.0
        discriminator.embedding.weight -= 200.0
        assert (discriminator(x, y) - before).abs().max() < 0.01
