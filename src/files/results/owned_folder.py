"""Results in folders that may also hold a user's files: written whole, and replaced only where a marker lists them.

```
<folder>/finished.json             marker: the run's identity, and the names of its files; the last file that appears
<home>/.mpvss.lock                 lock of the run that writes below `home`
<home>/.mpvss.<8 hex>.partial/     scratch of a run: scratch.json, new/ (results), old/ (results that are being replaced)
```

A killed run leaves its scratch. The next run below the same ``home`` removes it, and undoes a replacement that had begun.
"""

import errno
import filecmp
import json
import logging
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from src.files.atomic_write import naming, write_text
from src.files.results.folder_lock import folder_lock
from src.files.results.result_marker import (
    FINISHED,
    RESULTS_FORMAT,
    Listing,
    check_replaceable,
    is_inside,
    is_ours,
    read_json,
    read_marker,
)

log = logging.getLogger(__name__)

_SCRATCH_FORMAT = "mpvss_scratch"
_SCRATCH, _NEW, _OLD = "scratch.json", "new", "old"


class Scratch:
    """Folder for the results of one run, which :meth:`commit` moves to their place; use it as a context manager.

    Args:
        home: existing folder, held by :func:`output_lock`.
        name: result folder relative to ``home``; ``.`` for ``home``.
        earlier: lists the files of an earlier release's marker.
        marker: name of the marker.

    Attributes:
        new: folder to write the results to.
        target: folder of the committed results.
    """

    def __init__(self, home: Path, name: str = ".", earlier: Listing | None = None, marker: str = FINISHED) -> None:
        self.home, self.target, self._earlier, self._marker = home, home / name, earlier, marker
        self._path = home / f".mpvss.{uuid.uuid4().hex[:8]}.partial"
        self.new, self._old = self._path / _NEW, self._path / _OLD
        self._note: dict[str, Any] = {"format": _SCRATCH_FORMAT, "target": PurePosixPath(name).as_posix()}
        self._keep = False

    def __enter__(self) -> Self:
        self._path.mkdir()
        try:
            write_text(self._path / _SCRATCH, json.dumps(self._note))
            self.new.mkdir()
        except BaseException:
            remove_scratch(self._path)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._keep:
            remove_scratch(self._path)
        if isinstance(error, OSError):
            with naming(self.target):
                raise error

    def commit(self, note: Mapping[str, Any] | None, overwrite: bool) -> list[Path]:
        """Move the results to their place, with a marker that holds ``note``; after an error the old results are back.

        ``None`` as the note: the marker is among the results.

        Returns:
            The new entries of the result folder.

        Raises:
            FileExistsError: if a file without marker is in the way; the results are then kept under a name in the message.
        """
        new = (path for path in self.new.rglob("*") if not path.is_dir() and path != self.new / self._marker)
        files = sorted(path.relative_to(self.new).as_posix() for path in new)
        try:
            for parent in self.target.parents:
                if self.home in parent.parents and (parent.is_symlink() or (parent.exists() and not parent.is_dir())):
                    raise FileExistsError(f"{parent} is a link or a file; expected a folder; choose another output")
            check_replaceable(self.target, files, overwrite, self._earlier, self._marker)
        except FileExistsError as error:
            kept = self._path.with_suffix(".kept")
            self._path.rename(kept)
            self._keep = True
            raise FileExistsError(f"{error}; the results are kept in {kept / _NEW}") from error
        marker = read_marker(self.target, self._earlier, self._marker)
        old = [] if marker is None else [name for name in (self._marker, *marker["files"]) if is_ours(self.target, name)]
        folders = {parent for name in files for parent in (self.target / name).parents if self.home in parent.parents}
        made = sorted(str(folder.relative_to(self.home)) for folder in folders if not folder.exists())
        change = {"marker": self._marker, "files": files, "old": old, "made": made}
        write_text(self._path / _SCRATCH, json.dumps(self._note | change))
        if note is not None:
            content = {"format": RESULTS_FORMAT, **note, "files": files}
            write_text(self.new / self._marker, json.dumps(content, indent=2) + "\n")
        written = sorted({self.target / PurePosixPath(name).parts[0] for name in files})
        if not self.target.exists():
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # below a mount point, where files are copied
                self.new.rename(self.target)
                return written
        # The marker first and last: a folder in between has none.
        for name in old:
            _move(self.target / name, self._old / name, self._path)
        for name in (*files, self._marker):
            _move(self.new / name, self.target / name, self._path)
        for folder in {(self.target / name).parent for name in old}:
            with suppress(OSError):
                folder.rmdir()
        return written


@contextmanager
def output_lock(home: Path) -> Iterator[None]:
    """Hold an output folder during the block, and first remove the scratch that killed runs left in it.

    Raises:
        OSError: if another process holds it.
    """
    with naming(home), folder_lock(home, ".mpvss.lock", "output=<other>") as held:
        if held:
            remove_leftovers(home)
        yield


def remove_leftovers(home: Path, name: str | None = None) -> None:
    """Remove the scratch that killed processes left in an output folder; only that of the result folder ``name`` if it is given.

    The folder must be held by :func:`output_lock`, and no living process may write to what is removed.
    """
    for path in sorted(home.glob(".mpvss.*.partial")):
        of_name = name is None or read_json(path / _SCRATCH).get("target") == PurePosixPath(name).as_posix()
        if of_name and path.is_dir() and not path.is_symlink():
            log.info("%s was left by a process that was killed; it is removed if it is marked", path)
            remove_scratch(path)


def remove_scratch(path: Path) -> None:
    """Remove a scratch folder, the only folder that is ever removed with its content; first undo an unfinished replacement.

    A scratch with earlier results that cannot be put back is renamed and kept.
    """
    note = read_json(path / _SCRATCH)
    if note.get("format") == _SCRATCH_FORMAT and not path.is_symlink():
        # The new marker leaves the scratch last, so one that is here was not moved, nor was every result.
        if _is_moving(path, note) and not _undo(path, note):
            log.error("files are in the way of earlier results, which are kept in %s", path.with_suffix(".kept") / _OLD)
            path.rename(path.with_suffix(".kept"))
            return
        for child in path.iterdir():
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            elif child.name != _SCRATCH:
                child.unlink()
        # The marker is the last to leave: without it nothing here would ever be removed.
        (path / _SCRATCH).unlink(missing_ok=True)
    for unmarked in path.glob(f".{Path(_SCRATCH).stem}.*"):
        unmarked.unlink()
    with suppress(OSError):
        path.rmdir()


def _is_moving(path: Path, note: Mapping[str, Any]) -> bool:
    """Return whether results were being moved; names that leave the folder are not of :meth:`Scratch.commit`."""
    parts = [[note.get("target"), note.get("marker")], *(note.get(part) for part in ("files", "old", "made"))]
    inside = all(isinstance(part, list) and all(map(is_inside, part)) for part in parts)
    return inside and (path / _NEW / note["marker"]).is_file()


def _undo(scratch: Path, note: Mapping[str, Any]) -> bool:
    """Move new results back to the scratch and old ones back to their place; return whether all old ones are there."""
    new, old, target = scratch / _NEW, scratch / _OLD, scratch.parent / note["target"]
    files = [note["marker"], *note["files"]]
    for folder in {(target / name).parent for name in files}:
        (folder / f"{scratch.name}.copy").unlink(missing_ok=True)
    for name in files:
        there, is_old = target / name, name in note["old"] and not (old / name).exists()
        # A copy between file systems may be complete while its source is still there.
        if not is_old and there.is_file() and (not (new / name).exists() or _same(new / name, there)):
            _move(there, new / name, scratch)
    whole = True
    # The marker last: it belongs to a folder that is whole.
    for name in reversed([name for name in note["old"] if (old / name).is_file()]):
        if not os.path.lexists(target / name):
            _move(old / name, target / name, scratch)
        elif not _same(old / name, target / name):
            whole = False
    for name in sorted(note["made"], key=len, reverse=True):
        with suppress(OSError):  # holds files of others
            (scratch.parent / name).rmdir()
    return whole


def _move(source: Path, target: Path, scratch: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = target.with_name(f"{scratch.name}.copy")
        try:
            with naming(target):
                shutil.copy2(source, copy)
            copy.rename(target)
        except BaseException:
            copy.unlink(missing_ok=True)
            raise
        source.unlink()


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)
