"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)

LOCK_FILE = "run.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold a run folder for the time of the block; the processes of one run hold it by their first one.

    The lock is the operating system's (a POSIX record lock), on local disks and NFS: it ends with the process that holds it,
    however that ends, and loader processes do not inherit it. The file says who holds it; a file that nobody holds is of a run
    that died and is taken over. Folders that were made for it and are left empty are removed.

    Args:
        run_dir: made where it is missing.

    Raises:
        RuntimeError: if another process holds the folder; names it and its host.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        yield
        return
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / LOCK_FILE
    file = _acquire(path)
    try:
        yield
    finally:
        # Unlinked while still held, so that nobody takes over the file that goes.
        path.unlink(missing_ok=True)
        file.close()
        with suppress(OSError):  # the first that holds something is where it ends
            for folder in made:
                folder.rmdir()


def _acquire(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read()
            file.close()
            if error.errno not in _NO_LOCKS:
                raise RuntimeError(
                    f"{path.parent} is in use by {_described(holder)}: wait for it, stop it, or name=<other> for another folder"
                ) from error
            log.warning("%s: this file system has no locks (%s); keep two runs out of one folder yourself", path.parent, error)
            return path.open("a+", encoding="utf-8")
        # Between opening and locking, the holder may have ended and removed the file.
        if _is(path, file):
            break
        file.close()
    file.seek(0)
    left = file.read()
    if left:
        log.info("%s was left by %s, which has ended", path, _described(left))
    file.truncate(0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "started": started}) + "\n")
    file.flush()
    return file


def _is(path: Path, file: IO[str]) -> bool:
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _described(holder: str) -> str:
    try:
        said = json.loads(holder)
        return f"process {said['pid']} on {said['host']}, started {said['started']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
