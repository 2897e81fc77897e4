import pytest
import torch
from torch import nn

from digitgan.losses import (
    LOSSES,
    one_stage_generator_gradient,
    r1_r2_penalty,
    squared_gradient_norm,
)
from digitgan.systems.cdcgan_gp import wgan_gp_penalty

REAL, FAKE = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, -3.0])


def test_non_saturating_is_binary_cross_entropy():
    cross_entropy = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(3), torch.zeros(3)
    discriminator, generator = LOSSES["non-saturating"]
    expected = cross_entropy(REAL, ones) + cross_entropy(FAKE, zeros)
    assert torch.isclose(discriminator(REAL, FAKE), expected)
    assert torch.isclose(generator(REAL, FAKE), cross_entropy(FAKE, ones))


def test_relativistic_sees_only_differences_and_is_zero_sum_in_sign():
    discriminator, generator = LOSSES["relativistic"]
    assert torch.isclose(discriminator(REAL, FAKE), discriminator(REAL + 5, FAKE + 5))
    assert torch.isclose(discriminator(REAL, FAKE), generator(FAKE, REAL))
    assert torch.isclose(discriminator(REAL, FAKE), -torch.sigmoid(REAL - FAKE).log().mean())


@pytest.mark.parametrize("name", ["non-saturating", "relativistic", "wasserstein"])
def test_losses_fall_as_each_side_does_better(name):
    discriminator, generator = LOSSES[name]
    assert discriminator(REAL + 1, FAKE - 1) < discriminator(REAL, FAKE)
    assert generator(REAL, FAKE + 1) < generator(REAL, FAKE)


def test_losses_stay_finite_for_sure_discriminators():
    for losses in LOSSES.values():
        for loss in losses:
            assert loss(torch.tensor([1e4]), torch.tensor([-1e4])).isfinite()


def test_smoothing_is_cross_entropy_with_real_at_nine_tenths():
    cross_entropy = nn.BCEWithLogitsLoss()
    expected = cross_entropy(REAL, torch.full((3,), 0.9)) + cross_entropy(FAKE, torch.zeros(3))
    assert torch.isclose(LOSSES["smoothed"][0](REAL, FAKE), expected)


# ---- penalties ----


class LinearDiscriminator(nn.Module):
    """Its gradient is its weight everywhere: of a given norm, whatever the image."""

    def __init__(self, norm):
        super().__init__()
        self.weight = nn.Parameter(torch.full((784,), norm / 28))

    def forward(self, x, y):
        return x.flatten(1) @ self.weight


@pytest.mark.parametrize(("name", "expected"), [("r1_r2", 9.0), ("wgan_gp", 4.0)])
def test_penalties_of_a_linear_discriminator_with_a_gradient_of_norm_three(name, expected):
    discriminator = LinearDiscriminator(3.0)
    arguments = discriminator, torch.rand(5, 1, 28, 28), torch.rand(5, 1, 28, 28), torch.zeros(5)
    if name == "r1_r2":
        penalty = r1_r2_penalty(*arguments)
    else:
        penalty = wgan_gp_penalty(*arguments, torch.rand(5, 1, 1, 1))
    assert penalty.item() == pytest.approx(expected, rel=1e-4)
    penalty.backward()
    assert (discriminator.weight.grad > 0).all()  # a descent makes the gradient smaller


class SquareDiscriminator(nn.Module):
    """D(x) = ||x||^2 / 2: its gradient at x is x itself, so a penalty tells where it looked."""

    def forward(self, x, y):
        return x.square().sum((1, 2, 3)) / 2


def test_penalties_look_at_real_and_generated_images_or_between_them():
    real, fake = torch.full((2, 1, 28, 28), 1 / 28), torch.full((2, 1, 28, 28), 3 / 28)
    y, alpha = torch.zeros(2), torch.tensor([0.0, 0.5])[:, None, None, None]
    assert r1_r2_penalty(SquareDiscriminator(), real, fake, y).item() == pytest.approx((1 + 9) / 2)
    between = wgan_gp_penalty(SquareDiscriminator(), real, fake, y, alpha)  # norms 3 and 2
    assert between.item() == pytest.approx((4 + 1) / 2)
    images = real.clone().requires_grad_()
    norms = squared_gradient_norm(SquareDiscriminator()(images, y), images)
    assert torch.allclose(norms, torch.ones(2))


# ---- the one-stage rule ----


@pytest.mark.parametrize("name", LOSSES)
def test_the_one_stage_rule_is_two_backward_passes(name):
    """dL_G/dg out of dL_D/dg, against torch's own backward pass of each loss."""
    torch.manual_seed(0)
    layers = nn.Flatten(), nn.Linear(2 * 6 * 5, 16), nn.Tanh(), nn.Linear(16, 1), nn.Flatten(0)
    discriminator = nn.Sequential(*layers).double()
    real = 3 * torch.randn(7, 2, 6, 5, dtype=torch.float64)
    fake = (3 * torch.randn(7, 2, 6, 5, dtype=torch.float64)).requires_grad_()
    losses = discriminator_loss, generator_loss = LOSSES[name]

    def logits():
        return discriminator(real), discriminator(fake)

    expected_loss = generator_loss(*logits())
    (expected,) = torch.autograd.grad(expected_loss, fake)
    (of_discriminator,) = torch.autograd.grad(discriminator_loss(*logits()), fake)
    loss, gradient = one_stage_generator_gradient(losses, *logits(), of_discriminator)
    assert torch.equal(loss, expected_loss) and not loss.requires_grad
    assert gradient.shape == fake.shape and not gradient.requires_grad
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=0)
    ratios = gradient.flatten(1) / of_discriminator.flatten(1)  # one for each image
    assert torch.allclose(ratios, ratios[:, :1]) and (ratios < 0).all()
    if name != "wasserstein":  # whose two losses are the same game up to their sign
        assert ratios[:, 0].std() > 0.01


@pytest.mark.parametrize("name", LOSSES)
def test_the_one_stage_rule_stays_finite_for_sure_discriminators(name):
    real, fake = torch.tensor([1e4, 2.0]), torch.tensor([-1e4, 1.0])
    gradient = torch.ones(2, 1, 28, 28)
    loss, scaled = one_stage_generator_gradient(LOSSES[name], real, fake, gradient)
    assert loss.isfinite() and scaled.isfinite().all()
