"""`python -m digitgan`, which torchrun starts in each process: the same as `digitgan`."""

from .app.cli import main

main()
