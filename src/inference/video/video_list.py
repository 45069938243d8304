"""Videos of a folder or a list, and the name of each one's output."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from src.files.images.readers import natural_key
from src.files.results.output_names import check_names
from src.files.results.result_marker import FINISHED, read_marker
from src.files.suffixes import VIDEO_SUFFIXES
from src.files.text import read_text
from src.inference.video.sources import is_image

log = logging.getLogger(__name__)

OVERLAY, SUMMARY, INDEX = "overlay.mp4", "summary.json", "index.html"


def list_videos(path: Path) -> dict[str, Path] | None:
    """Return the videos of a folder or list by their names relative to the output folder; ``None`` if it is neither.

    A folder counts if it contains a video, at any depth; videos keep their relative paths. A warning names the files that are
    left out: those that are no video, hidden ones, links to folders and earlier results. A list is a ``.txt`` file with one path
    per line, relative to the list; empty lines and lines that begin with ``#`` are ignored.

    Raises:
        ValueError: if a list is empty or cannot be read, or a video's output would not be a folder of its own.
        FileNotFoundError: if a list names a missing file.
    """
    if path.is_dir():
        named = _of_folder(path)
    elif path.suffix.lower() == ".txt" and path.is_file():
        named = [(PurePosixPath(file.stem), file) for file in _listed(path)]
    else:
        return None
    videos: dict[PurePosixPath, Path] = {}
    for name, file in sorted(named, key=lambda pair: natural_key(pair[1])):
        if name in videos:
            raise ValueError(f"{file} and {videos[name]} have the same output {name}; expected different names")
        videos[name] = file
    check_names(videos, (SUMMARY, INDEX, FINISHED))
    return {name.as_posix(): file for name, file in videos.items()} or None


def _of_folder(folder: Path) -> list[tuple[PurePosixPath, Path]]:
    entries = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    hidden = {path for path in entries if any(part.startswith(".") for part in path.relative_to(folder).parts)}
    results: set[Path] = set()
    for path in folder.rglob(FINISHED):
        marker = read_marker(path.parent, lambda _, note: [OVERLAY] if "settings" in note else None)
        results |= {path.parent / name for name in marker["files"]} if marker else set()
    # A link to a missing file counts, so that it is reported.
    videos = [
        path
        for path in entries
        if path.suffix.lower() in VIDEO_SUFFIXES
        and (path.is_file() or not path.exists())
        and path not in hidden
        and path not in results
    ]
    if videos:
        _report_left_out(folder, len(videos), sorted(set(entries) - set(videos)))
    return [(PurePosixPath(path.relative_to(folder).with_suffix("").as_posix()), path) for path in videos]


def _report_left_out(folder: Path, count: int, left_out: Sequence[Path]) -> None:
    if left_out:
        images = sum(is_image(path) for path in left_out)
        shown = ", ".join(path.relative_to(folder).as_posix() for path in left_out[:5]) + (", ..." if len(left_out) > 5 else "")
        log.warning(
            "%s contains videos, so these are predicted (%d) and everything else is left out: %d images, %d other files (%s)",
            folder, count, images, len(left_out) - images, shown,
        )  # fmt: skip


def _listed(path: Path) -> list[Path]:
    lines = [line.strip() if not (path.parent / line).exists() else line for line in read_text(path).split("\n")]
    listed = [path.parent / line for line in lines if line.strip() and not line.startswith("#")]
    missing = [file for file in listed if not file.exists()]
    if missing:
        raise FileNotFoundError(
            f"{path}: {missing[0]} does not exist ({len(missing)} of {len(listed)} are missing); expected one path per line"
        )
    if not listed:
        raise ValueError(f"{path} lists no video; expected one path per line")
    return listed
