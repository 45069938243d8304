"""Conversion of decoded frames to upright SDR images in RGB, as players show them."""

import logging
import math
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray
from torch import Tensor

from src.files.video.tone_mapping import HDR_TRANSFERS, tone_map

log = logging.getLogger(__name__)

# Color matrices (ITU-T H.273). Unspecified, reserved, and those that follow from the primaries:
_GUESSED_MATRICES = (2, 3, 12)
_UNSUPPORTED_MATRICES = {
    8: "YCgCo", 10: "BT.2020 with constant luminance", 11: "SMPTE 2085", 13: "chromaticity-derived with constant luminance",
    14: "ICtCp", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro",
}  # fmt: skip
_TARGETS = {(False, False): "rgb24", (False, True): "gbrp16le", (True, False): "rgba", (True, True): "gbrap16le"}
"""Pixel formats by whether there is alpha, and a tone map."""
_UNCONVERTED_TRANSFERS = (ColorTrc.LINEAR, ColorTrc.LOG, ColorTrc.LOG_SQRT, ColorTrc.SMPTE428)
_UNCONVERTED_PRIMARIES = (ColorPrimaries.BT470M, ColorPrimaries.FILM, ColorPrimaries.SMPTE428)


class UprightRgb:
    """Converter of the decoded frames of one video.

    Applies what the file declares: color matrix, range, transfer function and primaries (HDR and wide gamut become SDR), alpha
    (over black), rotation and mirroring. An undeclared matrix is that of BT.709 for HD and of BT.601 for smaller frames. What
    cannot be applied is a warning in the log, once per video.

    Args:
        path: named in messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, interleaved: bool = False) -> Tensor:
        """Return the image, (3, H, W) uint8 RGB, contiguous, or as a view of (H, W, 3) memory if ``interleaved``.

        Raises:
            ValueError: if the color matrix is not supported.
            av.FFmpegError: if FFmpeg cannot convert the pixel format.
        """
        pixels = self._rgb(frame)
        if interleaved:
            image = torch.from_numpy(pixels).permute(2, 0, 1)
        else:
            planes = np.empty((3, *pixels.shape[:2]), np.uint8)
            cv2.split(pixels, list(planes))  # fifteen times as fast as a copy of the permuted tensor
            image = torch.from_numpy(planes)
        transposed, flips, angle = orientation(frame)
        if abs(angle - 90 * round(angle / 90)) > 1:
            text = f"it is to be shown turned by {angle:.0f} degrees clockwise; it is turned by the nearest multiple of 90"
            _warn_once(self._path, text)
        if transposed:
            image = image.mT
        if flips:
            image = image.flip(flips)
        return image if interleaved else image.contiguous()

    def _rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """Convert to (H, W, 3) uint8 RGB, as stored."""
        layout, transfer, primaries = frame.format, frame.color_trc, frame.color_primaries
        if frame.colorspace in _UNSUPPORTED_MATRICES and not layout.is_rgb:
            raise ValueError(f"its color matrix is {_UNSUPPORTED_MATRICES[frame.colorspace]}, which is not supported")
        reason = _unconverted(frame)
        if reason is not None:
            _warn_once(self._path, f"its colors are not converted to SDR and may look washed out ({reason})")
        deep = any(component.bits > 8 for component in layout.components)
        # swscale's white of 16 bits, 255 * 256 but for deep RGB.
        mapping = tone_map(transfer, primaries, 65535 if deep and (layout.is_rgb or layout.name.startswith("gray")) else 65280)
        alpha = layout.has_palette or any(component.is_alpha for component in layout.components)
        target = _TARGETS[alpha, mapping is not None]
        # By default swscale is one or two values too dark for more than 8 bits, and leaves the last columns of some widths as
        # they were in memory for formats other than rgb24.
        exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT if deep or target != "rgb24" else Interpolation(0)
        picture = self._reformatter.reformat(
            frame, format=target, src_colorspace=_guessed_matrix(frame), interpolation=Interpolation.BILINEAR | exact
        )
        pixels: NDArray[Any] = picture.to_ndarray()
        if layout.name.startswith("gray") and frame.color_range == ColorRange.MPEG:
            # swscale takes all grey formats for full range.
            pixels = _full_range(pixels.dtype, layout.components[0].bits).take(pixels)
        rgb = pixels[..., :3] if mapping is None else mapping(pixels[..., :3])
        if alpha:
            opacity = pixels[..., 3:] / np.float32(np.iinfo(pixels.dtype).max)
            rgb = (rgb * opacity + 0.5).astype(np.uint8)
        return np.ascontiguousarray(rgb)


@lru_cache
def _full_range(kind: np.dtype[Any], bits: int) -> NDArray[Any]:
    """Return the full-range value by the value of a type to which limited-range values of some bits were scaled."""
    largest, unit = np.iinfo(kind).max, 2.0 ** (bits - 8)
    signal = (np.arange(largest + 1) * ((2**bits - 1) / largest) - 16 * unit) / (219 * unit)
    return np.asarray(np.clip(signal, 0, 1) * largest + 0.5, kind)


def _unconverted(frame: av.VideoFrame) -> str | None:
    """Return why the colors of a frame cannot be converted, or ``None``."""
    transfer, primaries = frame.color_trc, frame.color_primaries
    if transfer in _UNCONVERTED_TRANSFERS or (primaries in _UNCONVERTED_PRIMARIES and not frame.format.name.startswith("xyz")):
        return f"transfer function {_name(ColorTrc, transfer)} and primaries {_name(ColorPrimaries, primaries)}"
    if transfer == ColorTrc.UNSPECIFIED and "DOVI_METADATA" in frame.side_data:
        return "Dolby Vision without a base layer in HDR10, HLG or SDR"
    return None


@lru_cache(1000)
def _warn_once(path: Path, text: str) -> None:
    log.warning("%s: %s", path, text)


def orientation(frame: av.VideoFrame) -> tuple[bool, list[int], float]:
    """Return how to show a stored frame, by its display matrix.

    Returns:
        Whether rows and columns are exchanged; the dimensions of (3, H, W) that are reversed afterwards; and the
        exact angle, degrees clockwise.
    """
    side_data: Any = frame.side_data  # typed too narrowly by PyAV
    if "DISPLAYMATRIX" not in side_data:
        return False, [], 0.0
    # Pixel (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = (float(value) for value in np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)[:5])
    transposed = abs(b) + abs(c) > abs(a) + abs(d)
    down, right = (b, c) if transposed else (d, a)
    flips = [dimension for dimension, sign in enumerate((down, right), 1) if sign < 0]
    return transposed, flips, math.degrees(math.atan2(b, a))


def _guessed_matrix(frame: av.VideoFrame) -> Colorspace | None:
    """Return the color matrix of a frame that declares none, by the convention of players; ``None`` if it declares one."""
    if frame.colorspace not in _GUESSED_MATRICES or frame.format.is_rgb:
        return None
    if frame.color_primaries == ColorPrimaries.BT2020 or frame.color_trc in HDR_TRANSFERS:
        return Colorspace.BT2020
    return Colorspace.ITU709 if frame.width >= 1280 or frame.height > 576 else Colorspace.ITU601


def _name(kind: type[IntEnum], number: int) -> str:
    return {int(member): member.name for member in kind}.get(number, str(number))
