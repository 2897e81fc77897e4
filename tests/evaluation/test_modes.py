import numpy as np
import pytest

from digitgan import InvalidInputError
from digitgan.data.stacked import stack_digits
from digitgan.evaluation.modes import (
    kl_divergence,
    mode_figures,
    perfect_figures,
    predict_modes,
    triple_shares,
)


def test_three_digits_are_stacked_and_read_back(train_digits):
    stacked = stack_digits(train_digits, 200, seed=1)
    assert stacked.images.shape == (200, 28, 28, 3) and stacked.spec.channels == 3
    assert (predict_modes(stacked) == stacked.labels).mean() > 0.97  # the classifier's own errors
    again = stack_digits(train_digits, 200, seed=1)
    assert (again.images == stacked.images).all()
    assert (stack_digits(train_digits, 200, seed=2).labels != stacked.labels).any()
    name = stacked.classes[stacked.labels[0]]
    some = {digits.tobytes() for digits in train_digits.images[train_digits.labels == int(name[2])]}
    assert np.ascontiguousarray(stacked.images[0, ..., 2]).tobytes() in some  # blue is the last
    with pytest.raises(InvalidInputError, match="must be of 28x28 pixels in colour"):
        predict_modes(train_digits[:3])


def test_a_perfect_sampler_is_not_at_zero(train_digits):
    """Of 26,000 samples, KL to the real shares is 999 / (2 * 26,000) in the mean, and a little more
    where modes are rare; KL to equal shares has that of the real shares to these on top."""
    shares = triple_shares(train_digits)
    assert shares.sum() == pytest.approx(1)
    found = perfect_figures(shares)
    assert found["modes"] == 1000
    assert found["kl_real"] == pytest.approx(999 / 52_000, abs=0.0003)
    uneven = kl_divergence(shares, np.full(1000, 1 / 1000))
    assert found["kl"] == pytest.approx(uneven + 999 / 52_000, abs=0.0003) and uneven > 0.004


def test_collapse_is_seen(train_digits):
    shares = triple_shares(train_digits)
    one = mode_figures(np.full(100, 7), shares)
    assert one["modes"] == 1 and one["kl"] == pytest.approx(np.log(1000))
    half = mode_figures(np.arange(0, 1000, 2), shares)
    assert half["modes"] == 500 and half["kl"] == pytest.approx(np.log(2))
    assert half["kl_digits"] == pytest.approx(np.log(2), abs=0.03)  # no odd digit in blue
    pairs = mode_figures(np.arange(10) * 111, shares)  # all digits, the same in each channel
    assert pairs["kl_real"] > 4.5 and pairs["kl_digits"] < 0.02
    even = mode_figures(np.arange(1000), shares)
    assert even["modes"] == 1000 and even["kl"] == pytest.approx(0) and even["kl_real"] > 0
