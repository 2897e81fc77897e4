"""What a user touches: the command line, running notebooks, figures, tables and widgets. It
re-exports nothing, so that `digitgan --help` does not wait for torch."""
