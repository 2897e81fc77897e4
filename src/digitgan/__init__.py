"""digitgan: train, watch, measure and play with generators of handwritten digits."""

from importlib import import_module

_HOME = {  # public name -> the file it lives in, imported when first used (PEP 562)
    "Hyperparameters": "hyperparameters",
    "SYSTEMS": "hyperparameters",
    "Mistake": "common",
    "Digits": "digits",
    "load_digits": "digits",
    "load_generator": "models",
    "save_generator": "models",
    "generate": "handwriting",
    "write": "handwriting",
    "imitate": "handwriting",
    "walk": "handwriting",
    "prepare": "handwriting",
    "Trainer": "trainer",
    "score": "scorecard",
    "digit_picker": "widgets",
    "drawing_pad": "widgets",
}
__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'digitgan' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return __all__
