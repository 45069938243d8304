"""Results in a single file, such as ``out.mp4``: marked in its metadata, written whole, and replaced only if marked."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from PIL import Image

from src.files.atomic_write import atomic_path
from src.files.results.output_names import check_writable
from src.files.results.result_marker import ADVICE, RESULTS_FORMAT
from src.files.suffixes import IMAGE_SUFFIXES
from src.files.video.container import open_container

FILE_MARK = RESULTS_FORMAT
"""Comment in the metadata of a result file."""


def check_file(path: Path, overwrite: bool) -> None:
    """Refuse to replace a file without the mark, or a marked one unless ``overwrite``.

    Raises:
        FileExistsError: if so, or ``path`` is no regular file.
        OSError: if its folder cannot be written to.
    """
    check_writable(path.parent)
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise FileExistsError(f"{path} is no regular file; expected a new file or one of this project; choose another output")
    if _comment(path) != FILE_MARK:
        raise FileExistsError(
            f"{path} exists and was not written by a prediction; expected no file of that name; "
            "move it away or choose another output"
        )
    if not overwrite:
        raise FileExistsError(f"{path} has results already; {ADVICE}")


class FileScratch:
    """Result file that gets its name after :meth:`commit`.

    Attributes:
        new: temporary file to write the result to.
    """

    def __init__(self, target: Path, new: Path) -> None:
        self.target, self.new = target, new
        self.is_complete = False

    def commit(self, note: Mapping[str, Any], overwrite: bool) -> list[Path]:
        """Give the file its name at the end of the context, and return it. ``note`` is for folders, which have a marker.

        Raises:
            FileExistsError: if another file is there by now; the result is then kept under a name in the message.
        """
        try:
            check_file(self.target, overwrite)
        except FileExistsError as error:
            kept = self.target.with_name(f"{self.target.stem}.{uuid.uuid4().hex[:8]}.kept{self.target.suffix}")
            self.new.rename(kept)
            raise FileExistsError(f"{error}; the result is kept in {kept}") from error
        self.is_complete = True
        return [self.target]


class _NotCommittedError(Exception):
    pass


@contextmanager
def file_scratch(target: Path) -> Iterator[FileScratch]:
    """Yield a result file, which is deleted if it is not committed."""
    try:
        with atomic_path(target) as new:
            scratch = FileScratch(target, new)
            yield scratch
            if not scratch.is_complete:
                raise _NotCommittedError
    except _NotCommittedError:
        pass


def _comment(path: Path) -> str | None:
    try:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            with Image.open(path) as image:
                found = image.info.get("comment")
            return found.decode("latin-1") if isinstance(found, bytes) else found
        with open_container(path) as container:
            return container.metadata.get("comment")
    except (OSError, ValueError, SyntaxError, av.FFmpegError, Image.DecompressionBombError):
        return None
