"""Texts: numbers to write, words of a command, names of files and folders."""

import ast
import collections
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..bounds import plain
from ..errors import InvalidInputError, short_repr
from .spec import DIGITS

TYPES = ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
YES_OR_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def check_number(number: Any) -> str:
    """A number as text.

    Raises `InvalidInputError` unless it is made of the digits 0 to 9 and spaces, with one digit at
    least.
    """
    try:
        text = str(plain(number))
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = ""
    other = "".join(c for c in dict.fromkeys(text) if c not in "0123456789 ")
    if other or not text.strip():
        rule = "must be made of the digits 0 to 9 and spaces"
        rule += f", not {short_repr(other)}" if other else ""
        raise InvalidInputError(f"number = {short_repr(number)}: {rule}")
    return text


def spell(text: Any, classes: Sequence[str] = DIGITS) -> list[int]:
    """The label of each character of a text, -1 for a space.

    Capitals serve for small letters and the other way round where only one of them is a class.
    Raises `InvalidInputError` with the characters that are no class; for digits as `check_number`.
    """
    if tuple(classes) == DIGITS:
        text = check_number(text)
    if not isinstance(plain(text), str | int):
        raise InvalidInputError(f"text = {short_repr(text)}: must be a text")
    text, labels = str(plain(text)), {name: label for label, name in enumerate(classes)}
    found = {c: next((labels[v] for v in (c, *_other_case(c)) if v in labels), None) for c in text}
    found[" "] = -1
    if unknown := [c for c in dict.fromkeys(text) if found[c] is None]:
        letters = [name for name in classes if len(name) == 1]
        rule = f"it writes {''.join(letters)} and spaces" if letters else "no class is a character"
        named = " ".join(c if c.isprintable() else repr(c) for c in unknown[:20])
        named += f" and {len(unknown) - 20} more" * (len(unknown) > 20)
        told = f"text = {short_repr(text)}: the generator has no class for {named}"
        raise InvalidInputError(f"{told}; {rule}")
    if not text.strip():
        raise InvalidInputError(f"text = {short_repr(text)}: must have one character at least")
    return [found[c] for c in text]  # type: ignore[misc]


def _other_case(character: str) -> tuple[str, str]:
    return character.upper(), character.lower()


def legible_names(combinations: Sequence[Mapping[str, str]], most: int = 80) -> list[str]:
    """Names for the folders of some values by name, as `a=1,b=x`, on any file system.

    Different values have different names, also where the case of letters does not count. A name
    that would be longer than `most` characters, or has a value with others than letters, digits and
    `._+-`, or differs from another one only in case, is cut and ends in `~` and a hash.
    """
    plain_names = [",".join(f"{k}={v}" for k, v in values.items()) for values in combinations]
    alike = collections.Counter(name.lower() for name in set(plain_names))
    names = []
    for values, name in zip(combinations, plain_names, strict=True):
        fits = all(re.fullmatch(r"[A-Za-z0-9._+-]*[A-Za-z0-9_+-]", v) for v in values.values())
        whole = fits and len(name) <= most and alike[name.lower()] == 1
        exact = "\0".join(part for item in values.items() for part in item)
        names.append(name if whole else _cut(name, exact, most))
    return names


def short_name(text: str, most: int) -> str:
    """A text of digits as a part of a file's name, of at most `most` characters; a longer one is
    cut and ends in `~` and a hash, so that different texts have different names."""
    return text if len(text) <= most else _cut(text, text, most)


def _cut(name: str, exact: str, most: int) -> str:
    code = hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return re.sub(r"[^A-Za-z0-9=,._+-]", "_", name)[: most - 11] + "~" + code


def convert(name: str, text: str, kind: str) -> Any:
    """A word of the command line as a value of a type that a notebook names: `int`, `float`,
    `bool`, `str`, `list` and the like, or several as in `int | None`.

    For another type (`None`: none is named) it is a literal of Python, or else the text itself.
    Raises `InvalidInputError` where the word is not of the type.
    """
    optional = re.fullmatch(r"(?:typing\.)?Optional\[(.*)\]", kind)
    parts = f"{optional[1]}|None" if optional else kind
    kinds = {re.sub(r"\[.*", "", part.strip()) for part in parts.split("|")}
    value = _literal(text)
    if kinds == {"None"} or not kinds <= {*TYPES, "None"}:
        return value
    if value is None and "None" in kinds:
        return None
    if "str" in kinds:
        return text
    if "bool" in kinds and text.lower() in YES_OR_NO:
        return YES_OR_NO[text.lower()]
    if type(value).__name__ in kinds or (type(value) is int and "float" in kinds):
        return value
    raise InvalidInputError(f"{name} = {short_repr(text)[1:-1]}: must be of type {kind}")


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
