import numpy as np
import pytest
import torch

from digitgan import imitate, load_digits, load_generator
from digitgan.evaluation.writers import WriterPanel, stroke_vectors
from digitgan.handwriting.recognition import other_digits, recognise_imitations
from digitgan.handwriting.refinement import StyleDistance


@pytest.fixture(scope="module")
def generator():
    return load_generator()


def test_imitations_are_judged_beside_real_digits_and_random_latents(generator, test_digits):
    judges = {"strokes": WriterPanel(test_digits, stroke_vectors(test_digits), unit=False)}
    given = []

    def right(network, digits):
        given.append(digits)
        return imitate(network, digits, starts=2, steps=10, style_steps=0)

    rows = recognise_imitations(generator, 3, 12, seed=1, methods={"ours": right}, judges=judges)
    assert [row["what"] for row in rows] == ["the real digits", "ours", "a random latent"]
    assert all(len(set(digits.labels)) == 3 and len(set(digits.writers)) == 1 for digits in given)
    real, imitated, random = (row["auc"] for row in rows)
    assert real > 0.75 and imitated > 0.7 > random + 0.1
    assert rows[1]["cpu_seconds"] > 0 and rows[1]["given"] == 3 and rows[1]["count"] == 12


def test_the_written_digits_are_the_other_ones(generator):
    labels = np.array([[3, 7], [0, 9]])
    digits = other_digits(generator, torch.zeros(2, 64), labels)
    assert digits.labels.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8]


def test_style_steps_bring_the_other_digits_nearer_in_the_encoders_eyes(generator):
    digit = load_digits(train=False)[11]
    distance = StyleDistance(digit, bf16=False)
    found = []
    for style_steps in (0, 8):
        z = imitate(generator, digit, starts=3, steps=20, style_steps=style_steps)
        ten = torch.arange(10)
        with torch.no_grad():
            images = (generator(z.expand(10, -1), ten)[None, :, 0] + 1) / 2
            found.append(float(distance(images)))
    assert found[1] < found[0] - 0.02


def test_style_distance_leaves_out_the_labels_that_are_given(generator, test_digits):
    distance = StyleDistance(test_digits[:2], bf16=False)  # 7 and 2
    assert distance.labels.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]
    images = torch.rand(1, 10, 28, 28, requires_grad=True)
    (gradient,) = torch.autograd.grad(distance(images).sum(), images)
    moved = gradient.abs().sum((0, 2, 3)) > 0
    assert moved.tolist() == [y not in (7, 2) for y in range(10)]
