"""Folders of results of an evaluation, which appear when they are complete."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.files.results.owned_folder import Scratch, output_lock

log = logging.getLogger(__name__)


@contextmanager
def results_folder(folder: Path | None, note: Mapping[str, Any], overwrite: bool) -> Iterator[Path | None]:
    """Yield a folder whose files move to ``folder`` at the end of the block; after an error or a signal they are removed.

    Args:
        folder: result folder, or ``None``, which yields ``None``.
        note: identity of the run, for the marker ``finished.json``.
        overwrite: whether the files that an earlier marker lists may be replaced.

    Raises:
        FileExistsError: if a file without marker is in the way; the results are then kept under a name in the message.
        OSError: if another run writes to ``folder``.
    """
    if folder is None:
        yield None
        return
    failure: BaseException | None = None
    try:
        with output_lock(folder), Scratch(folder) as scratch:
            try:
                yield scratch.new
            except BaseException as error:
                failure = error
                raise
            scratch.commit(note, overwrite)
    except OSError as error:
        if failure is None or failure is error:
            raise
        # Workers that were ended may still write to it.
        log.warning("%s: unfinished results are left (%s); the next run removes them", folder, error)
        raise failure from None
