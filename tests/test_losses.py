import pytest
import torch

from digitgan.objectives import OBJECTIVES, PENALTIES

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


@pytest.mark.parametrize("name", ["non-saturating", "relativistic", "wasserstein"])
def test_losses_fall_as_each_side_does_better(name):
    discriminator, generator = OBJECTIVES[name]
    assert discriminator(REAL + 1, FAKE - 1) < discriminator(REAL, FAKE)
    assert generator(REAL, FAKE + 1) < generator(REAL, FAKE)


def test_losses_stay_finite_for_sure_discriminators():
    for losses in OBJECTIVES.values():
        for loss in losses:
            assert loss(torch.tensor([1e4]), torch.tensor([-1e4])).isfinite()


class Slope(torch.nn.Module):
    """A linear discriminator: its gradient is its weight everywhere."""

    def __init__(self, norm):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((784,), norm / 28))

    def forward(self, x, y):
        return x.flatten(1) @ self.weight


@pytest.mark.parametrize(("name", "expected"), [("zero-centred", 9.0), ("one-centred", 4.0)])
def test_penalties_of_a_linear_discriminator_of_slope_three(name, expected):
    discriminator = Slope(3.0)
    penalty = PENALTIES[name](
        discriminator, torch.rand(5, 1, 28, 28), torch.rand(5, 1, 28, 28), torch.zeros(5), torch.rand(5, 1, 1, 1)
    )
    assert penalty.item() == pytest.approx(expected, rel=1e-4)
    penalty.backward()
    assert (discriminator.weight.grad > 0).all()  # both would have it less steep


def test_smoothing_is_cross_entropy_with_real_at_nine_tenths():
    cross_entropy = torch.nn.BCEWithLogitsLoss()
    expected = cross_entropy(REAL, torch.full((3,), 0.9)) + cross_entropy(FAKE, torch.zeros(3))
    assert torch.isclose(OBJECTIVES["smoothed"][0](REAL, FAKE), expected)
