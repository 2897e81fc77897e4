import numpy as np
import pytest
import torch

from digitgan import Digits
from digitgan.evaluation.stroke_features import ink_features, stroke_features


def test_features_measure_slant_stroke_width_and_height():
    upright = np.zeros((28, 28), np.uint8)
    upright[6:22, 12:16] = 255  # a bar, 16 high and 4 wide
    # half a pixel right per pixel up
    leaning = np.stack([np.roll(row, (14 - y) // 2) for y, row in enumerate(upright)])
    slant, width, height = stroke_features(Digits([upright, leaning, upright.T])).T
    assert slant[0] == pytest.approx(0, abs=1e-3) and slant[1] == pytest.approx(0.5, abs=0.05)
    assert width[0] == pytest.approx(2 * 64 / 40, rel=0.05)  # twice its area over its boundary
    assert height[0] == pytest.approx(16 / 12**0.5, rel=0.01)
    assert height[2] == pytest.approx(4 / 12**0.5, rel=0.05)


def test_features_have_gradients_and_do_not_mind_empty_paper():
    images = torch.zeros(2, 28, 28)
    images[0, 6:22, 12:16] = 0.8
    images.requires_grad_()
    features = ink_features(images)
    assert features.shape == (2, 3) and features.isfinite().all()
    features[0].sum().backward()
    assert images.grad.isfinite().all() and images.grad[0].any() and not images.grad[1].any()
