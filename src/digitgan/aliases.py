"""Old names and what they are called now, so that old files, old code and old commands keep
working."""

import functools
import importlib
import importlib.abc
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from .errors import InvalidInputError, short_repr

FIELDS = {  # of `Hyperparameters`
    "limit": "images_per_epoch",
    "networks": "architecture",
    "objective": "loss",
    "classify": "aux_weight",
    "classify_end": "aux_weight_end",
    "penalty_every": "penalty_interval",
    "shift": "augment_shift",
    "keep_every": "snapshot_interval",
}
VALUES = {("updates", "simultaneous"): "one-stage"}

# Fields that only one or two older systems used; each system now fixes its own in its file in
# `systems/`.
FIXED = {
    "real_range": (-1.0, 1.0),
    "generator_label": "concatenate",
    "discriminator_label": "projection",
    "penalty": "zero-centred",
    "clip": 0.0,
    "generator_steps": 1,
    "separate_steps": False,
    "eval_left_on": False,
}
_CHANNEL = {"discriminator_label": "channel"}
FIXED_BY_SYSTEM: dict[str, dict[str, Any]] = {
    "cdcgan-multiply": _CHANNEL
    | {"real_range": (-0.4242, 2.8215), "generator_label": "multiply"}
    | {"generator_steps": 2, "eval_left_on": True},
    "cdcgan-clipped": _CHANNEL | {"clip": 0.01},
    "cdcgan-gp": _CHANNEL | {"penalty": "one-centred"},
    "resize": {"separate_steps": True},
}
SYSTEM_OF_NETWORKS = {name: name for name in ("fcnn", "cnn", "linear", "resize")}
SYSTEM_OF_NETWORKS |= {"multiply": "cdcgan-multiply", "clipped": "cdcgan-clipped"}

_CLASSIFIER = {
    "Reader": "evaluation.classifier.DigitClassifier",
    "load_reader": "evaluation.classifier.load_classifier",
    "train_reader": "evaluation.classifier.train_classifier",
    "fit_reader": "evaluation.classifier.fit_classifier",
    "READS": "evaluation.classifier.SUPPORTED_DATASETS",
}
_STROKES = {
    "moments": "evaluation.stroke_features.stroke_features",
    "ink_moments": "evaluation.stroke_features.ink_features",
    "MOMENTS": "evaluation.stroke_features.STROKE_FEATURES",
}
# old module -> {old name: where it is now}; an empty table leads to the module of that name
NAMES = {
    "digitgan": {"Mistake": "errors.DigitganError"},
    "digitgan.common": {
        "Mistake": "errors.DigitganError",
        "ASSET": "files.ASSET",
        "REPOSITORY": "files.PROJECT",
        "short": "errors.short_repr",
        "write_whole": "files.atomic_write",
        "whole_file": "files.atomic_open",
        "write_table": "data.tables.write_csv",
        "aligned": "data.tables.format_table",
        "check_number": "data.text.check_number",
    },
    "digitgan.console": {
        "progress_bar": "runs.console.progress_bar",
        "NotebookLine": "runs.console.NotebookLine",
        "on_interrupt": "runs.console.on_interrupt",
    },
    "digitgan.digits": {
        "Digits": "data.digits.Digits",
        "check_labels": "data.digits.check_labels",
        "load_digits": "data.datasets.load_digits",
        "release": "data.digits.release",
        "write_idx": "data.idx.write_idx",
    },
    "digitgan.objectives": {
        "OBJECTIVES": "losses.LOSSES",
        "squared_slopes": "losses.squared_gradient_norm",
    },
    "digitgan.reader": _CLASSIFIER,
    "digitgan.scorecard": {
        "score": "evaluation.scorecard.score",
        "score_generator": "evaluation.scorecard.score_generator",
        "Scorecard": "evaluation.scorecard.Scorecard",
    },
    "digitgan.handwriting": _STROKES | {"hands": "models.sample_rows"},
    "digitgan.hyperparameters": {"SYSTEMS": "systems.SYSTEMS", "system": "systems.system"},
    "digitgan.figures": {},
    "digitgan.widgets": {},
    "digitgan.notebooks": {},
    "digitgan.cli": {},
}
MOVED = {
    f"digitgan.{name}": f"digitgan.app.{name}"
    for name in ("figures", "widgets", "notebooks", "cli")
}


def translate_fields(values: Mapping[str, Any], system: str = "cdcgan") -> dict[str, Any]:
    """Fields of `Hyperparameters` under their names of today.

    system: the one that they belong to where they name neither a system nor networks. Raises
    `InvalidInputError` where a value belongs to a field that a system now fixes, and differs from
    it, and where a field is given under both names.
    """
    values = {name: new_value(name, value) for name, value in values.items()}
    if not any(name in FIELDS or name in FIXED for name in values):
        return values
    found = {}
    if "networks" in values or "system" in values:
        found["system"] = system = values.get("system", system_of(values))
    fixed = FIXED | (FIXED_BY_SYSTEM.get(system, {}) if isinstance(system, str) else {})
    for name, value in values.items():
        new = FIELDS.get(name, name)
        if name in FIXED:
            given = tuple(value) if name == "real_range" and hasattr(value, "__iter__") else value
            if given != fixed[name]:
                rule = f"{fixed[name]!r}, as the system {system!r} fixes it"
                raise InvalidInputError(f"{name} = {short_repr(value)}: must be {rule}")
        elif new != name and new in values:
            both = f"{name} = {short_repr(value)}, {new} = {short_repr(values[new])}"
            raise InvalidInputError(f"{both}: must be given under one name")
        else:
            found[new] = value
    networks = values.get("networks")
    if isinstance(networks, str) and networks in SYSTEM_OF_NETWORKS:
        found["architecture"] = "own"
    return found


def system_of(values: Mapping[str, Any]) -> str:
    """The system that fields of the old form describe."""
    networks = values.get("networks")
    if networks == "clipped" and values.get("penalty") == "one-centred":
        return "cdcgan-gp"
    if networks == "dcgan-strided" and values.get("conditional") is False:
        return "dcgan"
    return SYSTEM_OF_NETWORKS.get(networks, "cdcgan") if isinstance(networks, str) else "cdcgan"


def is_of_old_form(text: str) -> bool:
    """Whether hyperparameters (JSON text) were written before systems had names."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and "system" not in values


def new_value(name: str, value: Any) -> Any:
    """A field's value under its name of today."""
    return VALUES.get((name, value), value) if isinstance(value, str) else value


def translate_weights(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's state under the names of today."""
    return {name.replace("realness.", "to_logit.", 1): value for name, value in state.items()}


def rename_fields(given: Mapping[str, Any], system: str = "cdcgan") -> dict[str, Any]:
    """`translate_fields` for arguments in code: a DeprecationWarning tells the line that called the
    caller."""
    translated = translate_fields(given, system)
    if translated != given:
        told = f"{dict(given)} are called {translated} now"
        warnings.warn(told, DeprecationWarning, stacklevel=3)
    return translated


def accept_old_fields(cls: type) -> type:
    """Let a dataclass be made with old names of its fields, with a DeprecationWarning."""
    make: Callable[..., None] = cls.__init__  # type: ignore[misc]

    @functools.wraps(make)
    def __init__(self: Any, *values: Any, **named: Any) -> None:
        make(self, *values, **rename_fields(named))

    cls.__init__ = __init__  # type: ignore[misc]
    return cls


def old_names(module: str, stacklevel: int = 2) -> Callable[[str], Any]:
    """A `__getattr__` for a module: its old names lead to where they are now, with a
    DeprecationWarning for the line that many calls up."""

    def __getattr__(name: str) -> Any:
        if name not in NAMES.get(module, {}):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new = NAMES[module][name].rpartition(".")
        told = f"{module}.{name} is digitgan.{home}.{new} now"
        warnings.warn(told, DeprecationWarning, stacklevel=stacklevel)
        return getattr(importlib.import_module(f"digitgan.{home}"), new)

    return __getattr__


class OldModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that are elsewhere now: `import digitgan.reader` still works."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        known = name in NAMES and name.count(".") == 1 and name not in ("digitgan.handwriting",)
        return importlib.util.spec_from_loader(name, self) if known else None

    def exec_module(self, module: ModuleType) -> None:
        names = old_names(module.__name__)
        if module.__name__ in MOVED:
            names = functools.partial(getattr, importlib.import_module(MOVED[module.__name__]))
        module.__dict__["__getattr__"] = names


def install() -> None:
    """Let Python find the old modules, after all others."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())


def old_method(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method under an old name, with a DeprecationWarning."""

    @functools.wraps(method)
    def old(*values: Any, **named: Any) -> Any:
        warnings.warn(f"{name} is called {method.__name__} now", DeprecationWarning, stacklevel=2)
        return method(*values, **named)

    return old
