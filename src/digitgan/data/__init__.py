"""Images of digits and where they come from: the `Digits` type, IDX files, the data sets."""
