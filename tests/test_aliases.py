"""Old names, old files and old run folders keep working; old names in code warn."""

import dataclasses
import importlib
import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import digitgan
from digitgan import (
    SYSTEMS,
    Hyperparameters,
    InvalidInputError,
    Trainer,
    generate,
    load_generator,
    save_generator,
)
from digitgan.aliases import FIELDS, FIXED, FIXED_BY_SYSTEM, MOVED, NAMES, SYSTEM_OF_NETWORKS
from digitgan.evaluation.classifier import load_classifier
from digitgan.models import build

OLD_NAMES = {new: old for old, new in FIELDS.items()}


def in_old_form(hyperparameters):
    """The fields of a run of the default system as they were written before systems had names."""
    values = dataclasses.asdict(hyperparameters)
    del values["system"]
    old = {OLD_NAMES.get(name, name): value for name, value in values.items()}
    old["updates"] = {"one-stage": "simultaneous"}.get(old["updates"], old["updates"])
    return old | FIXED


def target(place):
    """What stands at "evaluation.scorecard.score"."""
    module, _, name = place.rpartition(".")
    return getattr(importlib.import_module(f"digitgan.{module}"), name)


# ---- names ----


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in NAMES.items() for name in names]
)
def test_an_old_name_leads_to_what_it_is_called_now_and_warns(module, name):
    new = NAMES[module][name]
    told = rf"^{module}\.{name} is digitgan\.{new} now$"
    with pytest.warns(DeprecationWarning, match=told) as caught:
        found = getattr(importlib.import_module(module), name)
    assert found is target(new)
    assert caught[0].filename == __file__  # the line that should change


@pytest.mark.parametrize("module", MOVED)
def test_an_old_module_has_the_names_of_the_moved_one(module):
    old, new = (importlib.import_module(name) for name in (module, MOVED[module]))
    names = [name for name in vars(new) if not name.startswith("_")]
    assert names and all(getattr(old, name) is getattr(new, name) for name in names)


def test_the_public_names_of_before_are_there():
    before = (
        "Digits load_digits generate write imitate walk prepare Hyperparameters SYSTEMS "
        "load_generator save_generator score Trainer digit_picker drawing_pad"
    )
    assert set(before.split()) <= set(digitgan.__all__)
    with pytest.warns(DeprecationWarning, match="Mistake"):
        assert issubclass(InvalidInputError, digitgan.Mistake)  # so that `except Mistake` catches


@pytest.mark.parametrize("module", ["digitgan", "digitgan.reader", "digitgan.hyperparameters"])
def test_a_name_that_never_was_is_an_ordinary_attribute_error(module):
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
        getattr(importlib.import_module(module), "nothing")  # noqa: B009
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("digitgan.nothing")


def test_an_old_method_works_and_warns(test_digits):
    classifier = load_classifier()
    with pytest.warns(DeprecationWarning, match="read is called predict now"):
        old = classifier.read(test_digits[:5])
    assert (old == classifier.predict(test_digits[:5])).all()


# ---- hyperparameters ----

OTHER_VALUES = {  # of fields that have an old name
    "images_per_epoch": 640,
    "architecture": "dcgan-deep",
    "loss": "smoothed",
    "aux_weight": 0.5,
    "aux_weight_end": 0.2,
    "penalty_interval": 3,
    "augment_shift": 2,
    "snapshot_interval": 4,
}


@pytest.mark.parametrize("old", FIELDS)
def test_an_old_field_works_and_warns(old):
    new = FIELDS[old]
    value = OTHER_VALUES[new]
    expected = Hyperparameters(**{new: value})
    told = rf"'{old}': .* are called .*'{new}': .* now"
    with pytest.warns(DeprecationWarning, match=told) as caught:
        assert Hyperparameters(**{old: value}) == expected
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=told):
        assert Hyperparameters().replace(**{old: value}) == expected
    with warnings.catch_warnings():  # a file is no code that should change
        warnings.simplefilter("error")
        assert Hyperparameters.from_dict({old: value}) == expected


def test_an_old_value_works_and_warns():
    with pytest.warns(DeprecationWarning, match="one-stage"):
        assert Hyperparameters(updates="simultaneous").updates == "one-stage"
    assert Hyperparameters.from_dict({"updates": "simultaneous"}).updates == "one-stage"


def test_names_of_today_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = Hyperparameters(**OTHER_VALUES)
        assert made.replace(**OTHER_VALUES) == made
        assert Hyperparameters.from_dict(dataclasses.asdict(made)) == made


def test_an_old_file_of_all_fields_is_read(tmp_path):
    hp = Hyperparameters(**OTHER_VALUES, seed=3, updates="one-stage")
    old = in_old_form(hp)
    assert set(FIELDS) | set(FIXED) <= set(old) and not set(FIELDS.values()) & set(old)
    (tmp_path / "old.json").write_text(json.dumps(old))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Hyperparameters.from_json(tmp_path / "old.json") == hp


@pytest.mark.parametrize("networks", SYSTEM_OF_NETWORKS)
def test_an_old_file_of_an_older_system_tells_its_system(networks):
    name = SYSTEM_OF_NETWORKS[networks]
    labels = name.startswith("cdcgan")
    old = {"networks": networks, "conditional": labels, "classify": 0.0, "limit": 64}
    old |= FIXED | FIXED_BY_SYSTEM.get(name, {})
    read = Hyperparameters.from_dict(old)
    assert (read.system, read.architecture, read.images_per_epoch) == (name, "own", 64)
    assert name in SYSTEMS and read.conditional == labels


def test_old_files_tell_apart_what_networks_alone_do_not():
    gp = {"networks": "clipped", "penalty": "one-centred", "classify": 0, "limit": 64}
    assert Hyperparameters.from_dict(gp).system == "cdcgan-gp"
    classic = {"networks": "dcgan-strided", "conditional": False, "classify": 0}
    read = Hyperparameters.from_dict(classic)
    assert (read.system, read.architecture) == ("dcgan", "dcgan-strided")
    labelled = Hyperparameters.from_dict({"networks": "dcgan-strided"})
    assert (labelled.system, labelled.architecture) == ("cdcgan", "dcgan-strided")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("real_range", [0.0, 1.0]),
        ("real_range", 3),
        ("clip", 0.01),
        ("penalty", "one-centred"),
        ("generator_steps", 2),
        ("separate_steps", True),
        ("eval_left_on", True),
        ("generator_label", "multiply"),
        ("discriminator_label", "channel"),
    ],
)
def test_a_value_that_a_system_fixes_otherwise_is_refused_not_dropped(field, value):
    rule = rf"^{field} = .*: must be .*, as the system 'cdcgan' fixes it$"
    for read in (Hyperparameters.from_dict, lambda values: Hyperparameters(**values)):
        with pytest.raises(InvalidInputError, match=rule):
            read({field: value})
    assert Hyperparameters.from_dict({field: FIXED[field]}) == Hyperparameters()


@pytest.mark.parametrize("value", [[], {}, None, 3, "none"])
def test_nonsense_under_an_old_name_is_refused_as_under_the_new(value):
    for old, new in FIELDS.items():
        if value != 3 or new in ("architecture", "loss"):
            with pytest.raises(InvalidInputError, match=rf"^{new} = .*: must be"):
                Hyperparameters.from_dict({old: value})


@pytest.mark.parametrize("value", [64, 128])
def test_a_field_under_both_names_is_refused(value):
    told = f"^limit = 64, images_per_epoch = {value}: must be given under one name$"
    for read in (Hyperparameters.from_dict, lambda values: Hyperparameters(**values)):
        with pytest.raises(InvalidInputError, match=told):
            read({"limit": 64, "images_per_epoch": value})


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_old_field_changes_a_preset_and_not_its_system(name):
    with pytest.warns(DeprecationWarning, match="limit"):
        changed = SYSTEMS[name].replace(limit=64)
    assert changed == SYSTEMS[name].replace(images_per_epoch=64)
    fixed = FIXED | FIXED_BY_SYSTEM.get(name, {})
    with pytest.warns(DeprecationWarning, match="clip"):
        assert SYSTEMS[name].replace(**fixed) == SYSTEMS[name]


# ---- files ----


def test_an_old_generator_file_is_read(tmp_path):
    hp = Hyperparameters(z_dim=4, aux_weight_end=0.0, architecture="dcgan-deep")
    generator = build(hp)[0].eval()
    metadata = {"hyperparameters": json.dumps(in_old_form(hp))}
    save_file(generator.state_dict(), tmp_path / "old.safetensors", metadata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = load_generator(tmp_path / "old.safetensors")
    assert read.hyperparameters == hp
    labels = np.arange(10)
    assert (generate(read, labels, 1).images == generate(generator, labels, 1).images).all()
    save_generator(read, tmp_path / "new.safetensors")
    assert load_generator(tmp_path / "new.safetensors").hyperparameters == hp


def make_old(folder):
    """Rewrite a run folder as it was written before things had their names of today."""
    path = folder / "hyperparameters.json"
    old = in_old_form(Hyperparameters.from_json(path))
    path.write_text(json.dumps(old | {"real_range": list(old["real_range"])}, indent=2))
    for path in folder.glob("checkpoint*.pt"):
        state = torch.load(path, weights_only=True)
        weights = state["discriminator"]
        renamed = {name.replace("to_logit.", "realness."): weights[name] for name in weights}
        assert {"realness.weight", "realness.bias"} <= set(renamed)
        torch.save(state | {"hyperparameters": old, "discriminator": renamed}, path)


@pytest.mark.parametrize("step", [8, 11], ids=["after an epoch", "within an epoch"])
def test_an_old_run_goes_on_to_the_same_bits(step, tiny, tmp_path):
    class Stopping(Trainer):
        def train_step(self, *batch):
            if self.step + 1 == step:
                self.stop()
            return super().train_step(*batch)

    Stopping(tiny, tmp_path / "old").train()
    shutil.copytree(tmp_path / "old", tmp_path / "same")
    Trainer.resume(tmp_path / "same").train()
    make_old(tmp_path / "old")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        resumed = Trainer.resume(tmp_path / "old")
        assert resumed.step == step and resumed.hyperparameters == tiny
        resumed.train()
    files = [tmp_path / name / "generator.safetensors" for name in ("old", "same")]
    old, same = map(load_file, files)
    assert old.keys() == same.keys() and all(torch.equal(old[name], same[name]) for name in old)
    for name in ("progress/002.png", "progression.gif"):
        assert (tmp_path / "old" / name).read_bytes() == (tmp_path / "same" / name).read_bytes()


def test_the_same_command_goes_on_with_an_old_run(tiny, tmp_path):
    """Not only `resume`: the old file and the hyperparameters of today are found to be equal."""
    Trainer(tiny, tmp_path).train(lambda trainer: trainer.history and trainer.stop())
    make_old(tmp_path)
    assert len(Trainer(tiny, tmp_path).train()) == 2
