"""The command line, called in the process of the tests."""

import sys

import pytest

from digitgan.app.cli import main


def call(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of `digitgan <arguments>`."""
    monkeypatch.setattr(sys, "argv", ["digitgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0, *capsys.readouterr()
