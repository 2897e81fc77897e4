import numpy as np
import pytest
import torch

from digitgan import Digits, InvalidInputError, generate, imitate, load_generator
from digitgan.data.randomness import random_source
from digitgan.evaluation.stroke_features import stroke_features
from digitgan.handwriting import style_directions


@pytest.fixture(scope="module")
def generator():
    return load_generator()


def test_an_imitated_handwriting_is_that_of_the_source(generator):
    """Handwritings of the generator itself, from one digit each: the other nine digits lean and
    press as those of that handwriting do."""
    count = 16
    z = generator.draw_latents(count, random_source(7))
    label, told = 3, []
    drawn = [generate(generator, [label], z=one[None]) for one in z]
    found = [imitate(generator, digit, seed=1, progress=told.append) for digit in drawn]
    assert len(told) == count * 84 and told[83] == 1
    others = [y for y in range(10) if y != label]

    def mean_features(latents):
        sets = (generate(generator, others, z=one.reshape(1, -1)) for one in latents)
        return np.stack([stroke_features(digits).mean(0) for digits in sets])

    for ours, theirs in zip(mean_features(found).T, mean_features(z).T, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.7
    again = imitate(generator, drawn[0], seed=1)
    assert torch.equal(again, found[0]) and again.shape == (1, z.shape[1])
    assert all(weight.requires_grad and weight.grad is None for weight in generator.parameters())


def test_imitation_wants_labels_and_one_latent_for_several(generator, test_digits):
    z = imitate(generator, test_digits[:3], steps=3)
    assert z.shape == (1, generator.hyperparameters.z_dim)
    for wrong in (test_digits[:0], Digits(test_digits.images[:1])):
        with pytest.raises(InvalidInputError, match="label"):
            imitate(generator, wrong)


def test_a_step_along_a_direction_changes_its_feature_most(generator):
    """By about one standard deviation among latents, where the other two change less."""
    z = generator.draw_latents(100, random_source(5))
    labels = np.tile(np.arange(10), 100)

    def features(latents):
        digits = generate(generator, labels, z=latents.repeat_interleave(10, 0))
        return stroke_features(digits).reshape(100, 10, 3)

    before = features(z)
    change = []
    for direction in style_directions(generator):
        difference = features(z + direction) - before
        change.append((difference.mean(0) / before.std(0)).mean(0))  # (3,)
    change = np.array(change)
    assert (np.abs(change).argmax(1) == np.arange(3)).all()
    assert (np.diag(change) > 0.4).all() and (np.diag(change) < 1.5).all()
