"""digitgan: train, watch, measure and play with generators of handwritten digits."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import aliases

if TYPE_CHECKING:  # what editors and type checkers see; `_HOMES` says the same for Python
    from .app.widgets import digit_picker as digit_picker
    from .app.widgets import drawing_pad as drawing_pad
    from .data.datasets import load_digits as load_digits
    from .data.digits import Digits as Digits
    from .errors import DigitganError as DigitganError
    from .errors import InvalidInputError as InvalidInputError
    from .errors import ProcessLostError as ProcessLostError
    from .errors import RunFolderError as RunFolderError
    from .errors import TrainingDivergedError as TrainingDivergedError
    from .evaluation.scorecard import score as score
    from .handwriting.inversion import imitate as imitate
    from .handwriting.pictures import prepare as prepare
    from .handwriting.pictures import prepare_all as prepare_all
    from .handwriting.sampling import generate as generate
    from .handwriting.sampling import walk as walk
    from .handwriting.sampling import write as write
    from .hyperparameters import Hyperparameters as Hyperparameters
    from .runs.weights import save_generator as save_generator
    from .systems.presets import SYSTEMS as SYSTEMS
    from .systems.presets import Trainer as Trainer
    from .systems.presets import load_generator as load_generator

# module -> the public names that live in it; it is imported when one is first used (PEP 562)
_HOMES = {
    "app.widgets": "digit_picker drawing_pad",
    "data.datasets": "load_digits",
    "data.digits": "Digits",
    "errors": "DigitganError InvalidInputError ProcessLostError RunFolderError "
    "TrainingDivergedError",
    "evaluation.scorecard": "score",
    "handwriting.inversion": "imitate",
    "handwriting.pictures": "prepare prepare_all",
    "handwriting.sampling": "generate walk write",
    "hyperparameters": "Hyperparameters",
    "runs.weights": "save_generator",
    "systems.presets": "SYSTEMS Trainer load_generator",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = list(_HOME)

_old_name = aliases.old_names(__name__, stacklevel=3)  # through `__getattr__` below
aliases.install()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        return _old_name(name)
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
