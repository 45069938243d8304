"""Image files opened by Pillow: formats, pixel limit, pages, orientation, and errors that name the file."""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

log = logging.getLogger(__name__)

MAX_PIXELS = 2**26
"""Largest image or frame of a video that is decoded, pixels: twice 8K, 0.2 GB of RGB.

A damaged header can request more memory than any machine has.
"""

# Raised by Pillow for broken, truncated or forged files; its PNG reader reports broken chunks as SyntaxError.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, OverflowError, struct.error, zlib.error, KeyError, IndexError, TypeError,
    RuntimeError, Image.DecompressionBombError,
)  # fmt: skip

# Without formats that run a program, as EPS does.
_FORMATS = ["JPEG", "PNG", "TIFF", "BMP", "DIB", "WEBP", "AVIF", "GIF", "JPEG2000", "PPM"]
_READ = "JPEG, PNG, TIFF, BMP, GIF, WebP, AVIF, JPEG 2000, PPM or HEIC"
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Chunks of a PNG that can hold an orientation.
_PNG_ORIENTATION = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}

# Larger images are refused by :func:`check_pixels`.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class CorruptFileError(ValueError):
    """Raised if an image or video file cannot be decoded; the message names the file."""


class UnsuitableFileError(ValueError):
    """Raised if a file is whole, but not of the kind that is expected; the message names the file."""


def read_content(path: Path) -> bytes:
    """Read a file in a single access, as the file system may be slow.

    Raises:
        FileNotFoundError: if it does not exist.
        CorruptFileError: if it is empty.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise FileNotFoundError(f"{path} does not exist; expected an image file") from error
    if not content:
        raise CorruptFileError(f"{path} is empty (0 bytes); expected an image")
    return content


@contextmanager
def opened(path: Path, content: bytes, pages: bool = False) -> Iterator[Image.Image]:
    """Open an image; errors of decoding, also in the block, name the file.

    Args:
        path: name of the file in messages.
        content: bytes of the file; they determine the format, whatever the suffix is.
        pages: allow several frames or pages.

    Raises:
        CorruptFileError: if the file is no image, has no pixels or more than ``MAX_PIXELS``, cannot be decoded, or has several
            frames or pages.
        UnsuitableFileError: if it is HEIC and pillow-heif is not installed.
    """
    heic = content[4:8] == b"ftyp" and content[8:12] in _HEIC_BRANDS and b"avif" not in content[12:64]
    formats = _with_heif(path) if heic else _FORMATS
    try:
        with Image.open(BytesIO(content), formats=formats) as image:
            check_pixels(path, image.height, image.width)
            if not pages and (count := page_count(image)) > 1:
                raise several_pages(path, count)
            yield image
    except (CorruptFileError, UnsuitableFileError):
        raise
    except UnidentifiedImageError as error:
        found = f"it begins with {content[:8]!r}"
        raise CorruptFileError(f"{path} cannot be decoded: no intact header ({found}); expected {_READ}") from error
    except DECODE_ERRORS as error:
        raise CorruptFileError(f"{path} cannot be decoded ({error}); expected a complete image") from error


def page_count(image: Image.Image) -> int:
    """Return the number of frames of an animation or pages of a TIFF.

    The further pictures of a JPEG (MPO: previews, depth, gain maps) are not frames.
    """
    return 1 if image.format in ("JPEG", "MPO") else int(getattr(image, "n_frames", 1))


def several_pages(path: Path, count: int | None = None) -> CorruptFileError:
    """Return the error of a file with several frames or pages where one image is expected."""
    return CorruptFileError(
        f"{path} holds {count or 'several'} frames or pages; expected one image: extract them into a folder, "
        "or give the file itself to src.predict, which reads them all"
    )


def check_pixels(path: Path, height: int, width: int) -> None:
    """Raise ``CorruptFileError`` for an image without pixels or with more than ``MAX_PIXELS``."""
    if not 0 < height * width <= MAX_PIXELS:
        raise CorruptFileError(f"{path} has {height}x{width} pixels (HxW); expected 1 to {MAX_PIXELS} pixels; resize it")


def orientation(image: Image.Image, content: bytes) -> int:
    """Return the orientation, 1..8, that the pixels of an image have according to its EXIF or XMP data; 1: upright.

    Pillow turns a TIFF itself while loading it.
    """
    if image.format == "TIFF" or (image.format == "PNG" and _PNG_ORIENTATION.isdisjoint(_png_chunks(content))):
        return 1
    if image.format == "JPEG" and not ("exif" in image.info or "xmp" in image.info):
        return 1
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if found in range(2, 9) else 1


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn (H, W, ...) pixels of an EXIF orientation as viewers show them; contiguous."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


_warned: set[str] = set()


def warn_once(kind: str, message: str) -> None:
    """Log the first warning of a kind in this process; many files of a folder share one."""
    if kind not in _warned:
        _warned.add(kind)
        log.warning("%s (further such files are not named)", message)


def _png_chunks(content: bytes) -> Iterator[bytes]:
    """Yield the names of the chunks of a PNG."""
    position = 8
    while position + 8 <= len(content):
        yield content[position + 4 : position + 8]
        position += 12 + int.from_bytes(content[position : position + 4])


def _with_heif(path: Path) -> list[str]:
    try:
        pillow_heif = import_module("pillow_heif")
    except ImportError as error:
        raise UnsuitableFileError(
            f"{path} is a HEIC image, which needs pillow-heif: pip install pillow-heif; or convert it to JPEG"
        ) from error
    pillow_heif.register_heif_opener()
    return ["HEIF"]
