"""Texts in letters: a generator whose class names are characters."""

import numpy as np
import pytest
import torch
from own_images import letters

from digitgan import (
    Digits,
    Hyperparameters,
    InvalidInputError,
    Trainer,
    generate,
    imitate,
    load_generator,
    prepare,
    save_generator,
    walk,
    write,
)
from digitgan.data.datasets import CAPITALS, EMNIST_SPLITS, SMALL
from digitgan.data.digits import descents
from digitgan.data.spec import ImageSpec
from digitgan.data.text import spell
from digitgan.handwriting.inversion import style_directions
from digitgan.models import build

HP = Hyperparameters(epochs=1, images_per_epoch=128, batch_size=32, z_dim=8)


@pytest.fixture(scope="module")
def writer(tmp_path_factory):
    """A generator of the 26 capitals, after four steps."""
    folder = tmp_path_factory.mktemp("letters")
    trainer = Trainer(HP, folder, digits=letters(260))
    trainer.judge = lambda generator: {}
    trainer.train()
    return load_generator(folder / "generator.safetensors")


def test_a_word_is_written_letter_by_letter_in_one_handwriting(writer):
    z = torch.randn(1, 8)
    word = write(writer, "HE LLO", z=z)
    assert [word.classes[y] if y >= 0 else " " for y in word.labels] == list("HE LLO")
    assert (word.images[3] == word.images[4]).all() and not word.images[2].any()
    single = generate(writer, [CAPITALS.index("H")], z=z)
    assert abs(single.images[0].astype(int) - word.images[0]).max() <= 1  # another batch size
    assert (write(writer, "hello", z=z).images == write(writer, "HELLO", z=z).images).all()
    assert len(walk(writer, 25, steps=3)) == 3
    with pytest.raises(InvalidInputError, match="label 26: must be from 0 to 25"):
        generate(writer, [26])


def test_what_cannot_be_written_is_named_in_one_line(writer):
    wrongs = (("HE\nLO", r"no class for '\\n'; it"), (None, "text = None: must be a text"))
    for wrong, said in wrongs:
        with pytest.raises(InvalidInputError, match=said) as told:
            write(writer, wrong)
        assert "\n" not in str(told.value)
    with pytest.raises(InvalidInputError, match=r"and spaces, not 'xy'"):
        write(load_generator(), "4x2y")
    with pytest.raises(InvalidInputError, match=r"no class for 4 2 !; it writes ABC.* and spaces"):
        write(writer, "HELLO 42!")
    with pytest.raises(InvalidInputError, match="one character at least"):
        write(writer, "  ")
    things = build(HP, ImageSpec(classes=("coat", "bag")))[0]
    with pytest.raises(InvalidInputError, match="no class for c o a t; no class is a character"):
        write(things, "coat")


def test_both_cases_and_digits_are_spelled_where_they_are_classes():
    byclass = EMNIST_SPLITS["byclass"]
    assert [byclass[y] for y in spell("Hello42", byclass)] == list("Hello42")
    merged = EMNIST_SPLITS["balanced"]  # has no small o
    assert [merged[y] for y in spell("Hello", merged)] == list("HeLLO")
    assert spell(241, tuple("0123456789")) == [2, 4, 1] and spell("4 2") == [4, -1, 2]
    with pytest.raises(InvalidInputError, match="digits 0 to 9 and spaces"):
        spell("A")


def test_tails_go_below_the_line():
    image = np.zeros((2, 28, 28), np.uint8)
    image[:, 4:24, 8:18] = 255
    digits = Digits(image, [0, 15], classes=SMALL)  # a and p
    assert descents(digits) == [0, 6]
    line = np.asarray(digits.strip(scale=1)) > 128
    rows = [np.flatnonzero(line[:, columns].any(1)) for columns in (slice(4, 14), slice(17, 27))]
    assert line.shape[0] == 28 + 6 and (rows[1] - rows[0] == 6).all()
    lower = np.roll(image, 4, axis=1)  # rows 8 to 28: 4 of the tail's 6 pixels are there already
    assert descents(Digits(lower, [0, 15], classes=SMALL)) == [0, 2]
    higher = np.roll(image, -4, axis=1)
    assert descents(Digits(higher, [0, 15], classes=SMALL)) == [0, 6]
    capitals = Digits(image, [0, 15], classes=CAPITALS)
    assert np.asarray(capitals.strip(scale=1)).shape[0] == 28


def test_a_given_letter_is_imitated_and_known_by_its_name(writer):
    source = generate(writer, [0, 3], seed=5)
    z = imitate(writer, source, starts=2, steps=3)
    assert z.shape == (1, 8) and z.isfinite().all()
    named = Digits(source.images, [1, 0], classes=["D", "A"])  # the same letters
    assert torch.equal(imitate(writer, named, starts=2, steps=3), z)
    assert style_directions(writer, count=20).shape == (3, 8)
    with pytest.raises(InvalidInputError, match="no class for 7: must be of A B C"):
        imitate(writer, prepare(letters(1), label=7))
    with pytest.raises(InvalidInputError, match=r"32x32 pixels .* must be grey images of 28x28"):
        imitate(writer, Digits(np.zeros((1, 32, 32)), [0], classes=26))
    assert prepare(letters(1), 0, CAPITALS).names() == ["A"]


def test_handwriting_in_colour_and_of_many_classes_can_be_imitated():
    network = build(HP, ImageSpec(16, 3, tuple(f"{i:03}" for i in range(200))))[0]
    target = generate(network, [7, 150], seed=0)
    z = imitate(network, target, starts=2, steps=2)
    assert z.shape == (1, 8)


def test_class_names_are_part_of_the_file(writer, tmp_path):
    save_generator(writer, tmp_path / "g", half=True)
    assert load_generator(tmp_path / "g").spec == ImageSpec(classes=CAPITALS)
