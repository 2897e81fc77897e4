import json
import math

import pytest

from digitgan import SYSTEMS, Hyperparameters, Mistake
from digitgan.common import ASSET
from digitgan.hyperparameters import RULES, system


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", -1),
        ("epochs", 1.5),
        ("epochs", True),
        ("batch_size", 0),
        ("z_dim", 0),
        ("limit", 0),
        ("generator_lr", math.nan),
        ("generator_lr", 0),
        ("discriminator_lr", math.inf),
        ("beta1", 1.0),
        ("gamma", -0.1),
        ("gamma_end", math.nan),
        ("objective", "hinge"),
        ("networks", ""),
        ("precision", "fp8"),
        ("real_range", (1.0, -1.0)),
        ("real_range", (0.0, math.nan)),
        ("real_range", (0.0, 1.0, 2.0)),
        ("dataset", "../MNIST"),
        ("seed", "one"),
        ("seed", -1),
    ],
)
def test_impossible_values_are_refused_in_one_line_naming_field_and_value(field, value):
    with pytest.raises(Mistake) as refusal:
        Hyperparameters(**{field: value})
    told = str(refusal.value)
    assert field in told and repr(value) in told and "must be" in told and "\n" not in told


def test_separate_steps_need_a_loss_that_is_a_sum_of_two():
    with pytest.raises(Mistake, match="separate_steps.*'relativistic'"):
        Hyperparameters(separate_steps=True, updates="alternating")


def test_unknown_fields_and_systems_are_refused_with_the_known_ones():
    with pytest.raises(Mistake, match="epoch: no such hyperparameter.*epochs"):
        Hyperparameters.from_dict({"epoch": 3})
    with pytest.raises(Mistake, match="'dcgam'.*dcgan"):
        system("dcgam")


def test_json_there_and_back(tmp_path):
    path = tmp_path / "h.json"
    asked = Hyperparameters(epochs=3, real_range=(0.0, 1.0), generator_lr=1e-4)
    path.write_text(asked.to_json())
    assert Hyperparameters.from_json(path) == asked
    path.write_text(json.dumps({"epochs": 7}))
    assert Hyperparameters.from_json(path) == Hyperparameters(epochs=7)


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\xff"])
def test_files_that_hold_no_hyperparameters_are_refused(tmp_path, text):
    path = tmp_path / "h.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(Mistake, match=r"h\.json"):
        Hyperparameters.from_json(path)


def test_frozen_and_whole_numbers_serve_as_floats():
    with pytest.raises(AttributeError):
        Hyperparameters().epochs = 3
    assert type(Hyperparameters(gamma=1).gamma) is float


def test_every_rule_names_fields_that_exist_and_presets_obey():
    fields = vars(Hyperparameters())
    assert all(name in fields for names, *_ in RULES for name in names)
    assert SYSTEMS["cdcgan"] == Hyperparameters()
    conditional = {name for name, hp in SYSTEMS.items() if hp.conditional}
    assert conditional == {"cdcgan", "cdcgan-multiply", "cdcgan-clipped", "cdcgan-gp"}


def test_the_example_configurations_are_the_presets_at_their_learning_rates():
    paths = sorted((ASSET / "configs").glob("*.json"))
    assert len(paths) == 8
    for path in paths:
        name, lr = path.stem.split("-lr-")
        expected = system(name, generator_lr=float(lr), discriminator_lr=float(lr))
        assert Hyperparameters.from_json(path) == expected
