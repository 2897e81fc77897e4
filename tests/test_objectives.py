import pytest
import torch

from digitgan.objectives import OBJECTIVES, gradient_penalty

REAL, FAKE = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, -3.0])


def test_non_saturating_is_binary_cross_entropy():
    cross_entropy = torch.nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(3), torch.zeros(3)
    discriminator, generator = OBJECTIVES["non-saturating"]
    assert torch.isclose(discriminator(REAL, FAKE), cross_entropy(REAL, ones) + cross_entropy(FAKE, zeros))
    assert torch.isclose(generator(REAL, FAKE), cross_entropy(FAKE, ones))


def test_relativistic_sees_only_differences_and_is_zero_sum_in_sign():
    discriminator, generator = OBJECTIVES["relativistic"]
    assert torch.isclose(discriminator(REAL, FAKE), discriminator(REAL + 5, FAKE + 5))
    assert torch.isclose(discriminator(REAL, FAKE), generator(FAKE, REAL))
    assert torch.isclose(discriminator(REAL, FAKE), -torch.sigmoid(REAL - FAKE).log().mean())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_fall_as_each_side_does_better(name):
    discriminator, generator = OBJECTIVES[name]
    assert discriminator(REAL + 1, FAKE - 1) < discriminator(REAL, FAKE)
    assert generator(REAL, FAKE + 1) < generator(REAL, FAKE)


def test_losses_stay_finite_for_sure_discriminators():
    for losses in OBJECTIVES.values():
        for loss in losses:
            assert loss(torch.tensor([1e4]), torch.tensor([-1e4])).isfinite()


def test_gradient_penalty_of_a_linear_network_is_its_squared_norm_and_differentiable():
    weight = torch.randn(784, requires_grad=True)
    images = torch.randn(5, 1, 28, 28, requires_grad=True)
    penalty = gradient_penalty(images.flatten(1) @ weight, images)
    assert torch.isclose(penalty, weight.square().sum())
    penalty.backward()
    assert torch.allclose(weight.grad, 2 * weight, atol=1e-5)
