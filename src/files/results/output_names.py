"""Checks of the names and folders of outputs, before anything is computed."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath


def check_names(names: Mapping[PurePosixPath, Path], reserved: Sequence[str] = ()) -> None:
    """Refuse output names that are not new folders of their own below the output folder.

    Names that differ only in case or Unicode normalization are one folder on some file systems.

    Args:
        names: name of each output and the input that it is made from, for the messages.
        reserved: names of other outputs in the same folder.

    Raises:
        ValueError: if a name is empty, absolute, hidden, contains ``..``, is reserved, equal to another or inside of another.
    """
    taken: dict[tuple[str, ...], Path] = {(_folded(name),): Path(name) for name in reserved}
    for name, source in names.items():
        if not name.parts or name.is_absolute() or any(part.startswith(".") for part in name.parts):
            shown = name.as_posix() if name.parts else ""
            raise ValueError(f"{source}: its output name is {shown!r}; expected a name that does not begin with a dot; rename it")
        key = tuple(map(_folded, name.parts))
        if key in taken:
            raise ValueError(f"{source} and {taken[key]} have the same output {name}; expected different names (case is ignored)")
        taken[key] = source
    for key, source in taken.items():
        outer = next((taken[key[:depth]] for depth in range(1, len(key)) if key[:depth] in taken), None)
        if outer is not None:
            raise ValueError(f"{source}: its output is inside that of {outer}; expected separate outputs; rename one of them")


def check_apart(inputs: Iterable[Path], output: Path, checkpoint: Path | None = None) -> None:
    """Refuse an output that contains an input, is one, or is inside of one or of the checkpoint; links are followed.

    Raises:
        FileExistsError: if so.
    """
    above = {_identity(folder) for folder in (output.resolve(), *output.resolve().parents)}
    itself = _identity(output)
    for path in inputs:
        if _identity(path) == itself and not path.is_dir():
            raise FileExistsError(f"output {output} is the input; expected another name")
        if _identity(path) in above:
            raise FileExistsError(f"output {output} is inside the input {path}; expected separate folders; choose another output")
        if itself in {_identity(folder) for folder in path.resolve().parents}:
            raise FileExistsError(f"output {output} contains the input {path}; expected separate folders; choose another output")
    if checkpoint is not None and checkpoint.exists() and _identity(checkpoint) in above:
        raise FileExistsError(f"output {output} is inside the checkpoint {checkpoint}; expected another folder")


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written to, or not be created where it is.

    Raises:
        OSError: if so.
    """
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not parent.is_dir():
        raise NotADirectoryError(f"{folder} cannot be written: {parent} is no folder; choose another output")
    if not os.access(parent, os.W_OK):
        raise PermissionError(f"{folder} cannot be written: {parent} is read-only; choose another output")


def _identity(path: Path) -> tuple[int, int] | str:
    """Return what two paths of one file share, whatever their spelling, links and mounts."""
    try:
        found = os.stat(path)
    except OSError:
        return str(path.resolve())
    return found.st_dev, found.st_ino


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
