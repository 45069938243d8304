"""File name suffixes that datasets, prediction and the demo read, and the line that names what they leave out."""

from collections.abc import Sequence
from pathlib import Path

IMAGE_SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm",
    ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
LABEL_SUFFIXES = (".bmp", ".png", ".tif", ".tiff")
"""Lossless formats whose pixels are numbers."""
VIDEO_SUFFIXES = (
    ".3gp", ".asf", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
    ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip

_EXAMPLES = 3


def is_hidden(path: Path) -> bool:
    """Return true for names that begin with a dot, among them those that archivers leave (``._a.jpg``)."""
    return path.name.startswith(".")


def left_out_line(folder: Path, left_out: Sequence[Path], read: str = "images") -> str:
    """Return one line that counts what is left out of a folder, where ``read`` is read, and names the first ones."""
    examples = ", ".join(path.name for path in left_out[:_EXAMPLES]) + (", ..." if len(left_out) > _EXAMPLES else "")
    return f"{folder}: {len(left_out)} left out, which are no {read}: {examples}"
