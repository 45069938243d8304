"""Conversion of images of any depth and color to 8-bit sRGB."""

import struct
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from src.files.images.opened_image import DECODE_ERRORS, CorruptFileError, check_pixels, page_count, several_pages, warn_once

_TIFF_MAGIC = (b"II*\0", b"MM\0*")
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _PLANAR, _FORMAT, _ICC = (
    256, 257, 258, 262, 274, 284, 339, 34675
)  # fmt: skip
_WHITE_IS_ZERO, _RGB = 0, 2
_UNSIGNED, _SIGNED = 1, 2
# Transfer functions and primaries of ITU-T H.273 that are not shown as sRGB.
_TRANSFERS = {16: "PQ", 18: "HLG"}
_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
# Largest difference of a profile that is taken as sRGB: rounding of 8-bit values.
_SRGB_TOLERANCE = 3


class DeepTiff:
    """A TIFF of 16, 32 or 64 bits in grey or RGB, which Pillow reduces or refuses; OpenCV reads it.

    Attributes:
        height, width: size as viewers show it.
        has_pages: whether further pages follow.
    """

    def __init__(self, path: Path, content: bytes, tags: ImageFileDirectory_v2) -> None:
        self._path, self._content, self._tags = path, content, tags
        sides = int(tags[_HEIGHT]), int(tags[_WIDTH])
        self.height, self.width = sides[::-1] if tags.get(_ORIENTATION, 1) in range(5, 9) else sides
        self.has_pages = bool(tags.next)
        check_pixels(path, self.height, self.width)

    @classmethod
    def of(cls, path: Path, content: bytes, pages: bool = False) -> "DeepTiff | None":
        """Return the TIFF, or ``None`` for others; raise ``CorruptFileError`` if damaged or, unless ``pages``, of several."""
        if not content.startswith(_TIFF_MAGIC):
            return None
        try:
            tags = ImageFileDirectory_v2(content[:8])
            stream = BytesIO(content)
            stream.seek(tags.next)
            tags.load(stream)
            # Pillow reads signed bytes as unsigned ones, and refuses those of several channels.
            deep = max(tags.get(_BITS, (1,))) > 12 or tags.get(_FORMAT) == (_SIGNED,)
            deep = deep and tags.get(_PHOTOMETRIC) in (0, 1, _RGB)
            if deep and tags.next and not pages:
                raise several_pages(path)
            return cls(path, content, tags) if deep else None
        except CorruptFileError:
            raise
        except DECODE_ERRORS as error:
            raise CorruptFileError(f"{path} cannot be decoded ({error}); expected a complete image") from error

    def values(self) -> NDArray[Any]:
        """Return the (H, W) or (H, W, 3) values, turned as viewers show them; raise ``CorruptFileError`` if OpenCV cannot."""
        bits, kind = self._tags[_BITS], int(self._tags.get(_FORMAT, (_UNSIGNED,))[0])
        values = None
        if len(set(bits)) == 1 and self._tags.get(_PLANAR, 1) == 1 and (kind, bits[0]) != (3, 16):
            values = decode_unchanged(self._content)
        if values is None and len(bits) == 1:
            values = self._by_pillow()
        expected = (self.height, self.width)
        if values is None or values.dtype.itemsize * 8 not in bits or values.shape[:2] != expected:
            name = {1: "unsigned", 2: "signed", 3: "float"}.get(kind, "unknown")
            raise CorruptFileError(
                f"{self._path}: a TIFF of {len(bits)} x {max(bits)} bits ({name}) cannot be decoded; expected a "
                "complete one of 8 or 16 bits, or of 32-bit floats, in grey or RGB"
            )
        return values

    def _by_pillow(self) -> NDArray[Any] | None:
        """Decode grey, of which Pillow reads more compressions; ``None`` if it cannot."""
        try:
            with Image.open(BytesIO(self._content), formats=["TIFF"]) as image:
                return np.asarray(image)
        except DECODE_ERRORS:
            return None

    def rgb(self) -> NDArray[np.uint8]:
        """Return (H, W, 3) sRGB."""
        pixels = scaled_to_bytes(self._path, self.values())
        if self._tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            pixels = 255 - pixels
        return rgb_bytes(self._path, Image.fromarray(pixels), self._tags.get(_ICC))


def decode_unchanged(content: bytes) -> NDArray[Any] | None:
    """Decode by OpenCV with all bits: (H, W) or (H, W, 3) in RGB order, without alpha; ``None`` if it cannot."""
    try:
        values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if values is None or values.ndim == 2:
        return values
    return np.ascontiguousarray(values[..., 2::-1]) if values.shape[2] in (3, 4) else None


def scaled_to_bytes(path: Path, values: NDArray[Any], largest: int | None = None) -> NDArray[np.uint8]:
    """Scale values to 0..255: whole numbers by the range of their type, or 0..``largest``; floats from 0..1.

    Raises:
        CorruptFileError: if floats are not within 0..1, or whole numbers are negative or so small that they would all be black.
    """
    low, high = values.min().item(), values.max().item()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise CorruptFileError(f"{path}: float values are {low:g}..{high:g}; expected 0..1; scale them, or save 8 or 16 bits")
        return np.asarray(np.rint(values * 255.0), np.uint8)
    largest = int(np.iinfo(values.dtype).max) if largest is None else largest
    if low < 0:
        raise CorruptFileError(f"{path}: values are {low}..{high}; expected 0..{largest}, the range of their type")
    if 0 < high * 255 < largest and largest > 0xFFFF:
        raise CorruptFileError(
            f"{path}: values are {low}..{high}, all black in 0..{largest}, the range of their type; save 8 or 16 bits"
        )
    if 0 < high <= 255 < largest:
        warn_once(
            "dark", f"{path}: the largest value is {high} of {largest}: 8-bit values in a file of more bits? It reads as black"
        )
    return np.asarray(np.rint(values * (255.0 / largest)), np.uint8)


def rgb_pixels(path: Path, image: Image.Image, content: bytes) -> NDArray[np.uint8]:
    """Return the (H, W, 3) sRGB of the current page of an opened image, in the orientation of the file."""
    image.load()
    warn_of_hdr(path, content)
    profile, tags = image.info.get("icc_profile"), getattr(image, "tag_v2", {})
    if image.format == "PNG" and content[24] == 16 and page_count(image) == 1:
        # Pillow reduces colors of 16 bits by cutting them off; `load` has refused a truncated file.
        values = decode_unchanged(content)
        if values is None:
            raise CorruptFileError(f"{path} cannot be decoded; expected a complete image")
        image = Image.fromarray(scaled_to_bytes(path, values))
    elif image.mode == "F" or image.mode.startswith("I"):
        bits = int(tags.get(_BITS, (16,))[0])
        largest = 2 ** (bits - (tags.get(_FORMAT, (1,))[0] == _SIGNED)) - 1
        image = Image.fromarray(scaled_to_bytes(path, np.asarray(image), largest))
    return rgb_bytes(path, image, profile)


def rgb_bytes(path: Path, image: Image.Image, profile: bytes | None) -> NDArray[np.uint8]:
    """Return the (H, W, 3) sRGB of an 8-bit image; its alpha is dropped, and its color profile applied.

    A profile that does not fit the image is a warning.
    """
    # The colors of transparent pixels of a palette are kept, as those of RGBA.
    image = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
    found = _to_srgb(profile) if profile else None
    if isinstance(found, str) or (found and image.mode not in found.modes):
        reason = found if isinstance(found, str) else f"it is for {found.modes[0]}, the image is {image.mode}"
        warn_once("profile", f"{path}: its color profile cannot be applied ({reason}); the pixels are taken as sRGB")
    elif found:
        return np.array(ImageCms.applyTransform(image.convert(found.modes[0]), found.transform))
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def is_srgb(profile: bytes | None) -> bool:
    """Return true if a color profile leaves pixels as they are; also without one."""
    return not profile or _to_srgb(profile) is None


def warn_of_hdr(path: Path, content: bytes) -> None:
    """Warn of an HDR or wide-gamut PNG or AVIF: its code points of colors (ITU-T H.273) are not applied."""
    head = content[:4096]
    for mark, layout in ((b"cICP", ">BB"), (b"colrnclx", ">HH")):
        place = head.find(mark)
        if place < 0 or len(head) < place + 16:
            continue
        primaries, transfer = struct.unpack_from(layout, head, place + len(mark))
        if name := _TRANSFERS.get(transfer) or _PRIMARIES.get(primaries):
            warn_once(name, f"{path} has {name} colors, which are read as sRGB without conversion; convert the images to sRGB")


class _Conversion(NamedTuple):
    """Transform from a color profile to sRGB, and the modes of images that it is for."""

    transform: ImageCms.ImageCmsTransform
    modes: tuple[str, ...]


_MODES = {"RGB ": ("RGB", "RGBA", "P", "L", "LA", "1"), "GRAY": ("L", "LA", "1"), "CMYK": ("CMYK",)}


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes) -> _Conversion | str | None:
    """Return the conversion of a color profile; ``None`` if it changes nothing, and the reason if there is none."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        modes = _MODES[source.profile.xcolor_space]
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), modes[0], "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError) as error:
        return str(error)
    if modes[0] == "RGB":
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        cube = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(9, 81, 3)
        changed = np.asarray(ImageCms.applyTransform(Image.fromarray(cube), transform)).astype(int)
        if abs(changed - cube).max() <= _SRGB_TOLERANCE:
            return None
    return _Conversion(transform, modes)
