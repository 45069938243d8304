"""Exclusive use of a run folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from src.files.results.folder_lock import folder_lock

LOCK_FILE = "run.lock"


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold a run folder during the block by :func:`src.files.results.folder_lock.folder_lock`.

    Of the processes of one run, the first holds it.

    Raises:
        OSError: if another process holds the folder; the message has its process id and host.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        yield
        return
    with folder_lock(run_dir, LOCK_FILE, "name=<other>"):
        yield
