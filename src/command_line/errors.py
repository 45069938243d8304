"""Errors of all entry points: one line and an exit code."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """End the process with one line and exit code 1 on ``OSError`` and ``ValueError``: errors of arguments and files.

    Other errors are bugs and keep their stack; ``HYDRA_FULL_ERROR=1`` in the environment keeps the stack of all errors.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        log.error("%s", error)
        sys.exit(1)
