"""What a generator of digits can write."""

from ..errors import InvalidInputError, short_repr


def check_number(number: str | int) -> str:
    """A number as text.

    Raises `InvalidInputError` unless it is made of the digits 0 to 9 and spaces, with one digit at
    least.
    """
    try:
        text = str(number)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = ""
    if not text.strip() or not set(text) <= set("0123456789 "):
        rule = "must be made of the digits 0 to 9 and spaces"
        raise InvalidInputError(f"number = {short_repr(number)}: {rule}")
    return text
