"""What distinguishes one system from another: each test fails where that fact is lost."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, softplus

from digitgan import SYSTEMS, Trainer
from digitgan.models import build, from_pixels
from digitgan.systems import cdcgan_clipped, cdcgan_multiply, cnn, fcnn, resize


@pytest.fixture
def batch(train_digits):
    """Real digits uint8 (8, 28, 28) with their labels (8,)."""
    return torch.from_numpy(train_digits.images[:8]), torch.from_numpy(train_digits.labels[:8])


def trainer_of(name, tmp_path, **changes):
    return Trainer(SYSTEMS[name].replace(batch_size=8, precision="fp32", **changes), tmp_path)


def watched(monkeypatch, trainer, method):
    """The arguments of all calls of a trainer's method, which still does its work."""
    calls, original = [], getattr(trainer, method)

    def call(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(trainer, method, call)
    return calls


# ---- linear ----


def test_linear_draws_uniform_latents():
    z = build(SYSTEMS["linear"])[0].draw_latents(1000)
    assert z.shape == (1000, 100) and z.abs().max() <= 1
    assert abs(z.var().item() - 1 / 3) < 0.01 and abs(z.mean().item()) < 0.01


def test_linear_drops_out_in_the_generator_in_training_alone(tmp_path):
    trainer = trainer_of("linear", tmp_path)
    rates = [layer.p for layer in trainer.generator.net if isinstance(layer, nn.Dropout)]
    assert rates == [0.3] * 3
    z, y = trainer.generator.draw_latents(4), torch.arange(4)
    trainer.generate(torch.arange(8))
    assert trainer.generator.training
    assert not torch.equal(trainer.generator(z, y), trainer.generator(z, y))
    trainer.generator.eval()
    assert torch.equal(trainer.generator(z, y), trainer.generator(z, y))


def test_linear_smooths_the_target_of_real_images_alone(tmp_path):
    discriminator_loss, generator_loss = trainer_of("linear", tmp_path).losses
    logit, none = torch.tensor([math.log(9)]), torch.tensor([-1e4])  # sigma(ln 9) = 0.9
    real = logit.clone().requires_grad_()
    discriminator_loss(real, none).backward()
    assert abs(real.grad.item()) < 1e-6  # the least loss is at a probability of 0.9
    assert torch.isclose(generator_loss(none, logit), softplus(-logit).mean())


# ---- cdcgan-multiply ----


def test_multiply_freezes_both_networks_after_an_epoch_of_60000(tmp_path):
    trainer = trainer_of("cdcgan-multiply", tmp_path)
    modes = []
    for step in (0, 60_000 // 8 - 1, 60_000 // 8, 60_000 // 8 + 1):
        trainer.step = step
        trainer.generate(torch.arange(8))
        modes.append((trainer.generator.training, trainer.discriminator.training))
    assert modes == [(True, True), (True, True), (False, False), (False, False)]


def test_multiply_takes_two_generator_steps_with_new_labels(tmp_path, monkeypatch, batch):
    trainer = trainer_of("cdcgan-multiply", tmp_path)
    calls = watched(monkeypatch, trainer, "generate")
    trainer.train_step(*batch)
    labels = [y for (y,) in calls]
    assert len(labels) == 3 and torch.equal(labels[0], batch[1])
    assert not torch.equal(labels[1], labels[2]) and not torch.equal(labels[1], batch[1])


def test_multiply_has_radam_for_the_discriminator(tmp_path):
    trainer = trainer_of("cdcgan-multiply", tmp_path)
    assert type(trainer.d_optimizer) is torch.optim.RAdam
    assert type(trainer.g_optimizer) is torch.optim.Adam
    assert trainer.d_optimizer.defaults["betas"] == (0.5, 0.999)


def test_multiply_multiplies_z_by_the_embedding():
    generator = cdcgan_multiply.build(SYSTEMS["cdcgan-multiply"])[0]
    z, y = torch.randn(3, 100), torch.tensor([1, 2, 3])
    assert torch.equal(generator.join(z, y), z * generator.embedding.weight[1:4])


# ---- cdcgan-clipped ----


def test_clipped_clips_before_the_step_and_not_after(tmp_path, monkeypatch, batch):
    trainer = trainer_of("cdcgan-clipped", tmp_path)
    largest, pass_on = [], trainer.discriminator.forward

    def forward(x, y):
        largest.append(
            max(float(p.detach().abs().max()) for p in trainer.discriminator.parameters())
        )
        return pass_on(x, y)

    monkeypatch.setattr(trainer.discriminator, "forward", forward)
    assert max(float(p.detach().abs().max()) for p in trainer.discriminator.parameters()) > 1
    trainer.train_step(*batch)
    in_step, _, in_generators_step = largest
    assert in_step == pytest.approx(0.01) and in_generators_step > 0.0101  # after Adam's step


def test_clipped_draws_labels_in_both_steps(tmp_path, monkeypatch, batch):
    trainer = trainer_of("cdcgan-clipped", tmp_path)
    calls = watched(monkeypatch, trainer, "generate")
    told = watched(monkeypatch, trainer, "tell_apart")
    trainer.train_step(*batch)
    (first,), (second,) = calls
    assert not torch.equal(first, batch[1]) and not torch.equal(first, second)
    _, y, _, labels = told[0]
    assert torch.equal(y, batch[1]) and torch.equal(labels, first)


def test_clipped_initialises_as_its_source():
    generator, discriminator = cdcgan_clipped.build(SYSTEMS["cdcgan-clipped"])
    convolution, norm = discriminator.net[5], discriminator.net[4]
    assert convolution.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert not convolution.bias.any() and not norm.bias.any()
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert discriminator.to_logit.weight.std().item() == pytest.approx(0.02, rel=0.05)
    kinds = [type(layer) for layer in generator.net[1:4]]
    assert kinds == [nn.ConvTranspose2d, nn.ReLU, nn.BatchNorm2d]  # in this order


def test_clipped_discriminator_is_that_of_two_whole_branches():
    """Its shortcuts against the plain form: planes of each image, beside its maps, and torch's own
    convolution."""
    discriminator = cdcgan_clipped.build(SYSTEMS["cdcgan-clipped"])[1].double()
    x, y = torch.randn(3, 1, 28, 28).double(), torch.tensor([4, 4, 7])
    planes = discriminator.label_branch(discriminator.embedding(y))
    features = torch.cat([discriminator.image_branch(x), planes], 1)
    for layer in (discriminator.merge, *discriminator.net):
        if isinstance(layer, nn.Conv2d):
            features = conv2d(features, layer.weight, layer.bias, layer.stride, layer.padding)
        else:
            features = layer(features)
    with torch.no_grad():
        plain = discriminator.to_logit.double()(features).squeeze(1)
    discriminator.to_logit.float()
    torch.testing.assert_close(discriminator(x, y).double(), plain, rtol=1e-5, atol=1e-5)


# ---- fcnn, cnn ----


@pytest.mark.parametrize("name", ["fcnn", "cnn"])
def test_real_digits_are_normalised_by_mean_and_deviation(name, batch):
    to_range = build(SYSTEMS[name])[1].net[0]
    seen = to_range(from_pixels(batch[0]))
    expected = (batch[0].unsqueeze(1).float() / 255 - 0.1307) / 0.3081
    torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-5)
    assert seen.min().item() == pytest.approx(-0.4242, abs=1e-4)
    assert to_range(torch.ones(1)).item() == pytest.approx(2.8215, abs=1e-4)


def test_fcnn_cannot_reach_ink_and_its_mended_twin_can():
    """All that the generator can write, as pixels: its last values before tanh are large."""
    highest = []
    for name in ("fcnn", "fcnn-mended"):
        generator = build(SYSTEMS[name])[0].eval()
        generator.net[2].bias.data.fill_(20.0)
        image = generator(torch.zeros(1, 64), torch.zeros(1, dtype=torch.long))
        highest.append(((image + 1) / 2).max().item())
    assert highest[0] == pytest.approx(0.1307 + 0.3081, abs=1e-3) and highest[1] == 1
    assert fcnn.build(SYSTEMS["fcnn"])[0].net[1].negative_slope == 0.1


def test_cnn_reaches_beyond_tanh():
    generator, discriminator = cnn.build(SYSTEMS["cnn"])
    generator.eval().net[7].bias.data.fill_(2.8215)
    images = generator(torch.zeros(2, 64), torch.zeros(2, dtype=torch.long))
    assert images.max().item() > 0.95
    kinds = {type(layer) for network in (generator, discriminator) for layer in network.net}
    assert nn.Tanh not in kinds and nn.LeakyReLU not in kinds
    assert {nn.Dropout, nn.Dropout2d, nn.MaxPool2d} < kinds


@pytest.mark.parametrize("name", ["fcnn", "fcnn-mended", "cnn"])
def test_both_steps_use_the_same_generated_images(name, tmp_path, monkeypatch, batch):
    trainer = trainer_of(name, tmp_path)
    calls = watched(monkeypatch, trainer, "generate")
    seen, pass_on = [], trainer.discriminator.forward
    monkeypatch.setattr(
        trainer.discriminator, "forward", lambda x, y: (seen.append(x.detach()), pass_on(x, y))[1]
    )
    metrics = trainer.train_step(*batch)
    assert len(calls) == 1
    assert len(seen) == 3 and torch.equal(seen[1], seen[2])
    real, fake = torch.tensor([0.3]), torch.tensor([-0.2])
    halves = trainer.losses[0](real, fake)
    assert torch.isclose(halves, (softplus(-real) + softplus(fake)).mean() / 2)
    assert metrics["discriminator_loss"] < 1


# ---- resize ----


def test_resize_has_two_optimisers_for_the_discriminator(tmp_path, monkeypatch, batch):
    trainer = trainer_of("resize", tmp_path)
    trainer.step = resize.DISCRIMINATOR_ALONE
    calls = watched(monkeypatch, trainer, "optimise")
    trainer.train_step(*batch)
    used = [optimizer for optimizer, *_ in calls]
    assert used == [trainer.d_optimizer, trainer.d_optimizer_fake, trainer.g_optimizer]
    assert used[0] is not used[1] and "d_optimizer_fake" in trainer.parts()
    assert [o.defaults["lr"] for o in used] == [3e-4, 3e-4, 1e-4]


def test_resize_takes_its_second_gradient_after_the_first_step(tmp_path, batch):
    trainer = trainer_of("resize", tmp_path)
    real, fake = from_pixels(batch[0]), 2 * torch.rand(8, 1, 28, 28) - 1
    same = copy.deepcopy(trainer.discriminator)
    for sign, images in ((-1, real), (1, fake)):
        optimizer = torch.optim.Adam(same.parameters(), 3e-4)
        optimizer.zero_grad()
        softplus(sign * same(images, batch[1])).mean().backward()
        optimizer.step()
    trainer.tell_apart(real, batch[1], fake, batch[1])
    for weight, expected in zip(trainer.discriminator.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=0, atol=1e-5)


def test_resize_begins_with_the_discriminator_alone(tmp_path, batch):
    trainer = trainer_of("resize", tmp_path)
    weights = trainer.generator.net[0].weight
    before = weights.detach().clone()
    for step in (0, 299):
        trainer.step = step
        trainer.train_step(*batch)
        assert torch.equal(weights, before)
    trainer.train_step(*batch)
    assert not torch.equal(weights, before)


def test_resize_uses_batch_statistics_in_eval_mode_too():
    layer = resize.BatchStatistics(3).eval()
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.0, 1.0, 2.0]))
    x = 5 * torch.randn(40, 3, 6, 6) + 7
    y = layer(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), layer.bias.detach(), rtol=1e-4, atol=1e-4)
    assert [name for name, _ in layer.named_parameters()] == ["bias"]  # no gamma


def doubled(x):
    """Maps of twice the size, row by row and column by column, as the recipe has it."""
    for axis in (2, 3):
        following = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), x.narrow(axis, -1, 1)], axis)
        x = torch.stack([x, (x + following) / 2], axis + 1).flatten(axis, axis + 1)
    return x


def test_resize_convolves_doubled_maps_without_making_them():
    """The short form against the plain one, at the last row, column and corner too."""
    layer = resize.DoublingConv2d(5, 3, 3).double()
    x = torch.randn(2, 5, 28, 28).double()
    weight = torch.randn_like(layer.weight)
    layer.weight.data.copy_(weight)
    plain = conv2d(resize.PadSame()(doubled(x)), weight, layer.bias, stride=2)
    torch.testing.assert_close(layer(x), plain)
    assert doubled(x).shape == (2, 5, 56, 56) and torch.equal(doubled(x)[..., ::2, ::2], x)


def test_resize_pads_below_and_right_alone():
    """The first output of a stride of 2 reads the first rows, without padding above."""
    x, weight = torch.randn(1, 1, 6, 6), torch.randn(1, 1, 3, 3)
    y = conv2d(resize.PadSame()(x), weight, stride=2)
    torch.testing.assert_close(y[0, 0, 0, 0], (x[0, 0, :3, :3] * weight[0, 0]).sum())
    torch.testing.assert_close(y[0, 0, 2, 2], (x[0, 0, 4:, 4:] * weight[0, 0, :2, :2]).sum())


def test_resize_without_its_last_resize_is_the_same_function():
    """The last convolution of stride 2 reads every other row of the doubled maps."""
    last = nn.Conv2d(25, 1, 1)
    x = torch.randn(2, 25, 28, 28)
    whole = conv2d(doubled(x), last.weight, last.bias, stride=2)
    torch.testing.assert_close(last(x), whole)


def test_resize_draws_truncated_weights():
    generator, discriminator = resize.build(SYSTEMS["resize"])
    for layer in (generator.net[0], discriminator.net[8]):
        assert layer.weight.abs().max() <= 0.04 and layer.weight.std() > 0.015
    assert generator.net[0].bias.any() and not discriminator.net[8].bias.any()


def test_resize_discriminator_sees_paper_as_0_and_ink_as_1():
    to_range = build(SYSTEMS["resize"])[1].net[0]
    assert to_range(torch.tensor([-1.0, 1.0])).tolist() == [0.0, 1.0]


# ---- cdcgan-gp ----


def test_gp_adds_ten_times_the_penalty_between_real_and_generated(tmp_path, monkeypatch, batch):
    trainer = trainer_of("cdcgan-gp", tmp_path)
    losses = watched(monkeypatch, trainer, "optimise")
    metrics = trainer.train_step(*batch)
    total = losses[0][1].item()
    expected = metrics["discriminator_loss"] + 10 * metrics["penalty"]
    assert total == pytest.approx(expected.item(), rel=1e-5) and metrics["penalty"] > 0
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in trainer.discriminator.modules())
