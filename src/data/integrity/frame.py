"""Check of the files of one frame: decoding, sizes, label values and the file format of the label."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from src.data.integrity.issues import DatasetIssue
from src.files.images.label_png import UNDEFINED, LabelFormat
from src.files.images.readers import read_rgb
from src.structures import Size

_EXACT_FORMATS = ("PNG", "BMP", "GIF", "PPM", "TIFF", "TGA")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
# Share of border pixels between their neighbours' values: at most 0.015 in hand-drawn labels of CamVid and KITTI-STEP, at least
# 0.15 after interpolation or JPEG.
_INTERPOLATED_SHARE = 0.08
_MIN_BORDER = 16  # pixels


class FrameFiles(NamedTuple):
    """The files of one frame."""

    image: Path
    label: Path | None


@dataclass(frozen=True)
class FrameReport:
    """Findings in the files of one frame.

    Attributes:
        image_size: (H, W), if the image can be read.
        pixels: class, or ``IGNORE_INDEX`` -> pixels of the label, if it can be read.
        undefined: undefined label value -> pixels.
        interpolated: whether label values blend into each other at borders, as after interpolation or anti-aliasing.
        image_hash, label_hash: digests of the decoded pixels; ``None`` for unreadable files and images of a single color.
        issues: issues of the two files.
    """

    image_size: Size | None
    pixels: Mapping[int, int] | None
    issues: tuple[DatasetIssue, ...]
    undefined: Mapping[int, int]
    interpolated: bool
    image_hash: bytes | None
    label_hash: bytes | None


def check_frame(label_format: LabelFormat, frame: FrameFiles) -> FrameReport:
    """Decode the image and the label of one frame and compare their sizes."""
    issues: list[DatasetIssue] = []
    size, image_hash = _check_image(frame.image, issues)
    raw = None if frame.label is None else _read_label(label_format, frame.label, issues)
    if raw is None or frame.label is None:
        return FrameReport(size, None, tuple(issues), {}, False, image_hash, None)
    label_size = raw.shape[0], raw.shape[1]
    if size is not None and label_size != size:
        issues.append(DatasetIssue("size", frame.label, _size_message(frame.label, label_size, frame.image, size)))
    classes = label_format.to_classes(raw)
    pixels = {k: count for k, count in enumerate(np.bincount(classes.ravel()).tolist()) if count}
    undefined: dict[int, int] = {}
    if wrong_pixels := pixels.pop(UNDEFINED, 0):
        values, counts = np.unique(raw[classes == UNDEFINED], return_counts=True)
        undefined = dict(zip(values.tolist(), counts.tolist(), strict=True))
        first = ", ".join(map(label_format.name, values[:5].tolist()))
        found = f"{first}{', ...' if len(values) > 5 else ''} ({wrong_pixels} pixels)"
        message = f"{frame.label}: undefined {found}; expected {label_format.expected}"
        issues.append(DatasetIssue("values", frame.label, message))
    interpolated = not label_format.colors and is_interpolated(raw)
    return FrameReport(size, pixels, tuple(issues), undefined, interpolated, image_hash, _digest(raw))


def is_interpolated(raw: NDArray[np.integer[Any]]) -> bool:
    """Return whether many border pixels of a label, (H, W), hold a value strictly between those of their neighbours."""
    values = raw.astype(np.int32)
    between = np.zeros(raw.shape, bool)
    border = np.zeros(raw.shape, bool)
    for turned, turned_between, turned_border in ((values, between, border), (values.T, between.T, border.T)):
        step = np.sign(np.diff(turned, axis=1))
        turned_between[:, 1:-1] |= (step[:, :-1] == step[:, 1:]) & (step[:, 1:] != 0)
        turned_border[:, 1:] |= step != 0
        turned_border[:, :-1] |= step != 0
    length = int(border.sum())
    return length >= _MIN_BORDER and int(between.sum()) > _INTERPOLATED_SHARE * length


def lossy_format(content: bytes) -> str | None:
    """Name the format of an image file whose compression changes label values; ``None`` for exact and unknown formats."""
    try:
        with Image.open(BytesIO(content)) as image:
            name, compression = str(image.format), image.info.get("compression")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError):
        return None
    if name == "WEBP":
        return None if b"VP8L" in content[:65536] else "lossy WEBP"
    if name == "TIFF" and compression in _LOSSY_TIFF:
        return f"TIFF with {compression} compression"
    return None if name in _EXACT_FORMATS else name


def text(size: Size) -> str:
    """Format (H, W) as ``HxW``."""
    return f"{size[0]}x{size[1]}"


def _check_image(path: Path, issues: list[DatasetIssue]) -> tuple[Size | None, bytes | None]:
    if issue := _file_issue(path):
        issues.append(issue)
        return None, None
    try:
        image = read_rgb(path, interleaved=True).permute(1, 2, 0).numpy()
    except ValueError as error:
        issues.append(DatasetIssue("undecodable", path, str(error)))
        return None, None
    # Black frames at the start of clips are equal without being copies.
    plain = not image.size or bool((image == image[0, 0]).all())
    return (image.shape[0], image.shape[1]), None if plain else _digest(image)


def _read_label(label_format: LabelFormat, path: Path, issues: list[DatasetIssue]) -> NDArray[np.integer[Any]] | None:
    if issue := _file_issue(path):
        issues.append(issue)
        return None
    if lossy := lossy_format(path.read_bytes()):
        issues.append(lossy_issue(path, lossy))
        return None
    try:
        return label_format.read_raw(path)
    except ValueError as error:
        issues.append(DatasetIssue("undecodable", path, str(error)))
        return None


def lossy_issue(path: Path, found: str) -> DatasetIssue:
    """Build the issue of a label in a lossy format."""
    message = f"{path}: label is {found}, which changes class numbers at borders; expected PNG; export the masks again"
    return DatasetIssue("lossy", path, message)


def _size_message(label: Path, label_size: Size, image: Path, size: Size) -> str:
    found = f"{label} is {text(label_size)} (HxW) but its image {image} is {text(size)}"
    if label_size == size[::-1]:
        return f"{found}: one of them is turned, perhaps by the EXIF orientation"
    if label_size[0] * size[1] == label_size[1] * size[0]:
        return f"{found}: one of them is resized; export labels in the size of the images"
    return found


def _file_issue(path: Path) -> DatasetIssue | None:
    if not path.is_file():
        finding = "is a link to a file that does not exist" if path.is_symlink() else "does not exist"
        return DatasetIssue("missing", path, f"{path} {finding}")
    if path.stat().st_size == 0:
        return DatasetIssue("empty", path, f"{path} is empty (0 bytes)")
    return None


def _digest(pixels: NDArray[Any]) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16, person=str(pixels.shape).encode()[:16]).digest()
