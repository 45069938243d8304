"""Marker of result folders, ``finished.json``: the run's identity and the names of the files that belong to it.

Only files that a marker lists are ever replaced.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from src.files.results.output_names import check_writable

FINISHED = "finished.json"
RESULTS_FORMAT = "mpvss_results"
ADVICE = "choose another output or set overwrite=true"

Listing = Callable[[Path, Mapping[str, Any]], list[str] | None]
"""Function that lists the files of a folder whose marker is of an earlier release; ``None`` for a marker of another program."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a regular file; empty for a missing file and for other content."""
    try:
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not path.is_symlink() else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_marker(folder: Path, earlier: Listing | None = None, name: str = FINISHED) -> dict[str, Any] | None:
    """Return the marker of a folder, with the names of its files under ``files``; ``None`` without a marker of this project."""
    note = read_json(folder / name)
    files = note.get("files") if note.get("format") == RESULTS_FORMAT else earlier(folder, note) if earlier and note else None
    return None if not isinstance(files, list) else note | {"files": [name for name in files if is_inside(name)]}


def check_replaceable(
    folder: Path, names: Sequence[str], overwrite: bool, earlier: Listing | None = None, marker: str = FINISHED
) -> None:
    """Refuse to write ``names`` into a folder over files without a marker, or over marked ones unless ``overwrite``.

    Args:
        folder: folder to write to; may be missing.
        names: files (or folders of files, which may then exist if every file in them is new) relative to ``folder``.
        overwrite: whether the files that the folder's marker lists may be replaced.
        earlier: lists the files of an earlier release's marker.
        marker: name of the marker.

    Raises:
        FileExistsError: if a file would be lost, or ``folder`` is not a folder.
    """
    check_writable(folder.parent)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise FileExistsError(
            f"{folder} is a {'link' if folder.is_symlink() else 'file'}; expected a folder; choose another output"
        )
    found = read_marker(folder, earlier, marker)
    if found is not None and not overwrite:
        raise FileExistsError(f"{folder} has results already; {ADVICE}")
    owned = {folder / name for name in (*found["files"], marker)} if found is not None else set()
    for path in (folder / name for name in (*names, marker)):
        parts = [path, *(parent for parent in path.parents if folder in parent.parents)]
        lost = next(
            (part for part in parts if part.is_symlink() or (part.exists() and not part.is_dir() and part not in owned)), None
        )
        if lost is None and path.is_dir() and (path.suffix or (not overwrite and any(path.iterdir()))):
            lost = path
        if lost is not None:
            raise FileExistsError(
                f"{lost} exists and is not listed in a {marker} of this project; expected no file of that name; "
                "move it away or choose another output"
            )


def is_inside(name: object) -> bool:
    """Return whether a listed name is a relative path that does not leave its folder."""
    return isinstance(name, str) and not os.path.isabs(name) and ".." not in PurePosixPath(name).parts


def is_ours(folder: Path, name: str) -> bool:
    """Return whether a listed name is a regular file that is reached without a link."""
    path = folder / name
    return path.is_file() and not any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents)
