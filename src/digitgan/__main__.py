"""`python -m digitgan`, which torchrun starts in each process: the same as `digitgan`."""

from .cli import main

main()
