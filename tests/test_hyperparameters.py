import json
import math
from typing import Annotated, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

from digitgan import SYSTEMS, Hyperparameters, InvalidInputError
from digitgan.bounds import Between
from digitgan.files import ASSET
from digitgan.systems import system


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("z_dim", 0),
        ("images_per_epoch", 0),
        ("generator_lr", math.nan),
        ("generator_lr", 0),
        ("discriminator_lr", math.inf),
        ("beta1", 1.0),
        ("gamma", -0.1),
        ("gamma_end", math.nan),
        ("loss", "hinge"),
        ("architecture", ""),
        ("precision", "fp8"),
        ("augment_shift", 15),
        ("updates", "simultaneously"),
        ("system", 3),
        ("dataset", "../MNIST"),
        ("seed", "one"),
        ("seed", -1),
    ],
)
def test_impossible_values_are_refused_in_one_line_naming_field_and_value(field, value):
    with pytest.raises(InvalidInputError) as refusal:
        Hyperparameters(**{field: value})
    told = str(refusal.value)
    assert field in told and repr(value) in told and "must be" in told and "\n" not in told


def bounds():
    """The bound of each field that has one, as it stands at the field."""
    hints = get_type_hints(Hyperparameters, include_extras=True)
    return {k: get_args(v) for k, v in hints.items() if get_origin(v) is Annotated}


def test_every_number_has_a_bound():
    numbers = {k for k, v in vars(Hyperparameters()).items() if type(v) in (int, float)}
    assert bounds().keys() == numbers and len(numbers) > 15


@pytest.mark.parametrize("field", bounds())
def test_a_bound_holds_at_its_ends(field):
    """An end is allowed, or refused where the bound is open there; beyond it all is refused."""
    kind, bound = bounds()[field]
    ends = (bound.low, bound.open_low, -1), (bound.high, bound.open_high, 1)
    for end, is_open, side in ends:
        beyond = end + side if kind is int else math.nextafter(end, side * math.inf)
        for value, refused in ((kind(end), is_open), (kind(beyond), True)):
            if refused:
                with pytest.raises(InvalidInputError, match=f"^{field} = .*: must be ") as told:
                    Hyperparameters(**{field: value})
                assert str(told.value).endswith(str(bound))
            else:
                assert getattr(Hyperparameters(**{field: value}), field) == value


def test_a_bound_tells_its_ends():
    assert str(Between(1, 4096)) == "from 1 to 4,096"
    assert str(Between(0, 1, open_low=True)) == "above 0 and at most 1"
    assert str(Between(0, 1, open_high=True)) == "at least 0 and below 1"


def test_an_auxiliary_classifier_needs_labels_that_enter_by_projection():
    for other in ({"conditional": False}, {"architecture": "own"}):
        with pytest.raises(InvalidInputError, match=r"aux_weight = 0\.3: must be 0"):
            Hyperparameters(**other)
        assert not Hyperparameters(aux_weight=0, **other).aux_weight


def test_unknown_fields_and_systems_are_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"epoch: no such hyperparameter.*epochs"):
        Hyperparameters.from_dict({"epoch": 3})
    with pytest.raises(InvalidInputError, match=r"'dcgam'.*dcgan"):
        system("dcgam")


def test_json_there_and_back(tmp_path):
    path = tmp_path / "h.json"
    asked = Hyperparameters(epochs=3, loss="smoothed", generator_lr=1e-4)
    path.write_text(asked.to_json())
    assert Hyperparameters.from_json(path) == asked
    path.write_text(json.dumps({"epochs": 7}))
    assert Hyperparameters.from_json(path) == Hyperparameters(epochs=7)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\xff"])
def test_files_that_hold_no_hyperparameters_are_refused(tmp_path, text):
    path = tmp_path / "h.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInputError, match=r"h\.json"):
        Hyperparameters.from_json(path)


def test_frozen_and_whole_numbers_serve_as_floats():
    with pytest.raises(AttributeError):
        Hyperparameters().epochs = 3
    assert type(Hyperparameters(gamma=1).gamma) is float


def test_scalars_of_numpy_and_torch_serve_as_numbers():
    made = Hyperparameters(epochs=np.int64(3), gamma=np.float32(0.5), seed=torch.tensor(4))
    assert made == Hyperparameters(epochs=3, gamma=0.5, seed=4)
    assert [type(v) for v in (made.epochs, made.gamma, made.seed)] == [int, float, int]


def test_a_notebook_shows_what_differs_from_the_default():
    assert "defaults" in Hyperparameters()._repr_markdown_()
    shown = Hyperparameters(epochs=3)._repr_markdown_().splitlines()
    assert len(shown) == 3 and shown[2] == "| `epochs` | 3 | 16 |"


def test_the_presets_are_those_of_their_names():
    assert SYSTEMS["cdcgan"] == Hyperparameters()
    assert all(hp.system == name for name, hp in SYSTEMS.items())
    conditional = {name for name, hp in SYSTEMS.items() if hp.conditional}
    assert conditional == {"cdcgan", "cdcgan-multiply", "cdcgan-clipped", "cdcgan-gp"}


def test_the_example_configurations_are_the_presets_at_their_learning_rates():
    paths = sorted((ASSET / "configs").glob("*-lr-*.json"))
    assert len(paths) == 8
    for path in paths:
        name, lr = path.stem.split("-lr-")
        expected = system(name, generator_lr=float(lr), discriminator_lr=float(lr))
        assert Hyperparameters.from_json(path) == expected


def test_the_shipped_recipe_is_that_of_the_shipped_generator():
    from digitgan import load_generator

    recipe = Hyperparameters.from_json(ASSET / "configs" / "pretrained.json")
    assert load_generator().hyperparameters == recipe
