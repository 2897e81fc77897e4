"""Images of digits and where they come from: the `Digits` type, IDX files, the data sets.
Digits are laid out here as pictures too, and tables and other files written."""

from .datasets import load_digits as load_digits
from .digits import Digits as Digits
