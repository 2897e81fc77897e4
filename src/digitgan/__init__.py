"""digitgan: train, watch, measure and play with generators of handwritten digits."""

from importlib import import_module

_NAMES = {  # file -> the public names that live in it; it is imported when one is first used (PEP 562)
    "common": "Mistake",
    "data.digits": "Digits load_digits",
    "handwriting.sampling": "generate write imitate walk prepare",
    "hyperparameters": "Hyperparameters SYSTEMS",
    "models": "load_generator save_generator",
    "evaluation.scorecard": "score",
    "trainer": "Trainer",
    "app.widgets": "digit_picker drawing_pad",
}
_HOME = {name: file for file, names in _NAMES.items() for name in names.split()}
__all__ = list(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module 'digitgan' has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__():
    return __all__
