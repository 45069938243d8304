"""Temporary folder of one demo page: locked while the page lives, deleted with it, or by the next page if it was killed."""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_PREFIX = "mpvss_demo_"
_LOCK, _MARK = ".lock", ".mpvss_demo"


@contextmanager
def workplace() -> Iterator[Path]:
    """Yield a new folder among the temporary files and delete it on exit; first delete those of pages that were killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_left(left):
            log.info("%s: deleting the files of an earlier page that was killed", left)
            _delete(left)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    with FileLock(folder / _LOCK):
        # After the lock, so that no folder is marked and unlocked while its page lives.
        (folder / _MARK).touch()
        try:
            yield folder
        finally:
            _delete(folder)


def _is_left(folder: Path) -> bool:
    """Return whether a folder is this user's, marked as a page's, and not locked by a living one."""
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or not (folder / _MARK).is_file():
            return False
        with FileLock(folder / _LOCK, timeout=0):
            return True
    except (OSError, Timeout):
        return False


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        log.warning("%s could not be deleted: %s", folder, error)
