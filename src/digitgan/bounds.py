"""The bounds of hyperparameters, which stand at the fields themselves."""

import dataclasses
from typing import Annotated, Any, Literal, get_args, get_origin

from .errors import InvalidInputError, short_repr


@dataclasses.dataclass(frozen=True)
class Between:
    """The bound of a number: low <= value <= high, where an open end is not allowed itself."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is within the bound."""
        above = self.low < value if self.open_low else self.low <= value
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if not (self.open_low or self.open_high):
            return f"from {self.low:,} to {self.high:,}"
        low = f"{'above' if self.open_low else 'at least'} {self.low:,}"
        return f"{low} and {'below' if self.open_high else 'at most'} {self.high:,}"


Count = Annotated[int, Between(0, 2**31 - 1)]
Positive = Annotated[int, Between(1, 2**31 - 1)]
Weight = Annotated[float, Between(0, 1_000_000)]
Rate = Annotated[float, Between(0, 1, open_low=True)]
Momentum = Annotated[float, Between(0, 1, open_high=True)]


def plain(value: Any) -> Any:
    """A scalar of numpy or torch as Python's own; anything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def whole_number(name: str, value: Any, low: int = 0, high: int = 2**31 - 1) -> int:
    """A whole number from `low` to `high`, given as Python's own or as a scalar of numpy or torch.

    Raises `InvalidInputError` with its name for anything else, true and false among it.
    """
    number = plain(value)
    if type(number) is not int or not low <= number <= high:
        rule = f"must be a whole number from {low:,} to {high:,}"
        raise InvalidInputError(f"{name} = {short_repr(value)}: {rule}")
    return number


def checked(name: str, value: Any, hint: Any) -> Any:
    """The value of a field, as the type that its hint asks for and within its bound."""
    value = plain(value)
    options = get_args(hint) if get_origin(hint) is Literal else ()
    kind, bound = get_args(hint) if get_origin(hint) is Annotated else (hint, None)
    kind = str if options else kind
    if type(value) is not kind and (kind, type(value)) != (float, int):
        told = f"{name} = {short_repr(value)} ({type(value).__name__})"
        raise InvalidInputError(f"{told}: must be of type {kind.__name__}")
    if options and value not in options:
        raise InvalidInputError(f"{name} = {value!r}: must be one of {', '.join(options)}")
    if bound and not bound.holds(value):
        raise InvalidInputError(f"{name} = {short_repr(value)}: must be {bound}")
    return float(value) if kind is float else value
