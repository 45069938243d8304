"""Exclusive use of a run folder."""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)

LOCK_FILE = "run.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold a run folder during the block; of the processes of one run, the first holds it.

    The lock is the operating system's and ends with its process, however the process ends; loader processes do not hold it. The
    file contains the holder's process id and host, and a file without a holder was left by a process that died. Folders that
    were created for the lock and stay empty are removed.

    Raises:
        RuntimeError: if another process holds the folder; the message has its process id and host.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        yield
        return
    created = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / LOCK_FILE
    lock = FileLock(path, timeout=0, fallback_to_soft=False, on_acquired=lambda descriptor: _record_holder(descriptor, path))
    try:
        lock.acquire()
    except Timeout as error:
        holder = _describe(path.read_text(encoding="utf-8"))
        raise RuntimeError(
            f"{run_dir} is in use by {holder}: wait for it, stop it, or choose another folder (name=<other>)"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s: this file system has no locks (%s); do not start two runs in one folder", run_dir, error)
    try:
        yield
    finally:
        # Unlinked while still held: a process that opened the file before this finds it unlinked and opens a new one.
        path.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # stops at the first folder that is not empty
            for folder in created:
                folder.rmdir()


def _record_holder(descriptor: int, path: Path) -> None:
    left = os.pread(descriptor, 4096, 0).decode()
    if left:
        log.info("%s was left by %s, which has ended", path, _describe(left))
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{json.dumps(holder)}\n".encode(), 0)


def _describe(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']}, started {holder['started']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
