"""A function with one of its lines changed: a fault or a piece of advice, and nothing else."""

import difflib
import inspect
import itertools
import linecache
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown

from ...errors import InvalidInputError

_numbers = itertools.count()  # of the changed functions, for the names of their sources


def changed(function: Callable[..., Any], old: str, new: str) -> Callable[..., Any]:
    """The same function with the text `new` in place of `old` in its source.

    Raises `InvalidInputError` where `old` is not in the source exactly once.
    """
    source = inspect.getsource(function)
    if source.count(old) != 1:
        told = f"{old!r} is there {source.count(old)} times"
        raise InvalidInputError(f"{told}: must be in the source of {function.__name__} once")
    source = source.replace(old, new)
    name = f"<{function.__name__}, change {next(_numbers)}>"
    namespace = dict(function.__globals__)
    exec(compile(source, name, "exec"), namespace)
    lines = source.splitlines(keepends=True)
    linecache.cache[name] = len(source), None, lines, name  # for tracebacks and `inspect`
    return namespace[function.__name__]


def change(before: Callable[..., Any], after: Callable[..., Any]) -> Markdown:
    """The lines in which two functions differ, as a notebook shows them: - before, + after."""
    old, new = (inspect.getsource(function).splitlines() for function in (before, after))
    lines = [line for line in difflib.ndiff(old, new) if line[:2] in ("- ", "+ ")]
    return Markdown("\n".join(["```diff", *lines, "```"]))
