"""Exclusive use of a folder by one process."""

import errno
import json
import logging
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from src.files.results.result_marker import read_json

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def folder_lock(folder: Path, name: str, advice: str) -> Iterator[bool]:
    """Hold a folder during the block through the file ``name`` in it, which is removed at the end.

    The lock is the operating system's and ends with its process, however the process ends; child processes do not hold it. The
    file contains the holder's process id and host, and a file without a holder was left by a process that died. Folders that
    were created for the lock and stay empty are removed.

    Args:
        folder: folder to hold; created if missing.
        name: name of the lock file.
        advice: option by which another folder is chosen, for the message.

    Yields:
        False on a file system without locks, where nothing is held; a warning is logged.

    Raises:
        OSError: if another process holds the folder; the message has its process id and host.
        FileExistsError: if a file of another origin has the name of the lock.
    """
    path = folder / name
    _refuse_foreign(path)
    created = [parent for parent in path.parents if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0, fallback_to_soft=False, on_acquired=lambda descriptor: _record_holder(descriptor, path))
    held = True
    try:
        lock.acquire()
    except Timeout as error:
        holder = _describe(path.read_text(encoding="utf-8"))
        raise OSError(f"{folder} is in use by {holder}; wait for it, stop it, or choose another folder ({advice})") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            _remove_empty(created)
            raise
        held = False
        log.warning("%s: this file system has no locks (%s); do not start two runs in one folder", folder, error)
    try:
        yield held
    finally:
        try:
            # Unlinked while still held: a process that opened the file before this finds it unlinked and opens a new one.
            path.unlink(missing_ok=True)
        finally:
            lock.release()
            _remove_empty(created)


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # stops at the first folder that is not empty
        for folder in folders:
            folder.rmdir()


def _refuse_foreign(path: Path) -> None:
    """Refuse a file that is no lock: its content would be lost. A process killed early leaves an empty one."""
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or (found.st_size and "pid" not in read_json(path)):
        raise FileExistsError(f"{path} is no lock of this project; expected no other file of that name; move it away")


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
