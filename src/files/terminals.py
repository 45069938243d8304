"""Output to terminals that may hang up."""

import os
from collections.abc import Sequence


def output_terminals() -> list[int]:
    """List the descriptors of standard output and standard error that are terminals."""
    return [descriptor for descriptor in (1, 2) if os.isatty(descriptor)]


def drop_output(terminals: Sequence[int]) -> None:
    """Drop what is printed to terminals that have hung up: such writes fail, and would end the run without its results."""
    for terminal in terminals:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), terminal)
