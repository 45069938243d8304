"""Conversion of HDR and wide-gamut images to SDR, BT.709 primaries, sRGB encoded.

HDR is shown at 1000 nits with its reference white at 203 nits (BT.2408), and compressed by the curve of BT.2390 so that 203 nits
become the white of SDR: graphics white comes out near 230 of 255, black stays black. Brighter light than 1000 nits is white.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Images = NDArray[np.uint16]

HDR_TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
WIDE_PRIMARIES = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432)

_REFERENCE_WHITE, _PEAK = 203.0, 1000.0  # nits
_SDR_GAMMA = 2.4  # BT.1886
_HLG_SYSTEM_GAMMA = 1.2  # BT.2100, of a display with 1000 nits
_STEPS = 4095  # of the tables: 12 bits
_ROWS = 32  # at a time, so that intermediate values stay in the cache
_LUMINANCE_BT2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
# Linear light, columns R, G, B of the source: BT.2087 for BT.2020, and P3 with the white of D65.
_TO_BT709: dict[int, tuple[tuple[float, ...], ...]] = {
    ColorPrimaries.BT2020: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    ColorPrimaries.SMPTE432: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}


@dataclass(frozen=True)
class ToneMap:
    """Tables for one transfer function and set of primaries.

    Attributes:
        decode: linear light by signal; white of SDR, or the reference white of HDR, is 1. For HLG: of the scene.
        to_bt709: (3, 3).
        gain: factor by the fourth root of the largest channel relative to the peak; ``None`` for SDR.
        encode: uint8 by the square root of linear light.
    """

    hlg: bool
    decode: Floats
    to_bt709: Floats
    gain: Floats | None
    encode: NDArray[np.uint8]

    def __call__(self, image: Images) -> NDArray[np.uint8]:
        """Convert an image, (H, W, 3) uint16 RGB."""
        result = np.empty(image.shape, np.uint8)
        for top in range(0, len(image), _ROWS):
            light = self.decode.take(image[top : top + _ROWS] >> 4)
            if self.hlg:
                scene = np.maximum(light @ _LUMINANCE_BT2020, 0)
                light *= (_PEAK / _REFERENCE_WHITE * scene ** (_HLG_SYSTEM_GAMMA - 1))[..., None]
            light = np.maximum(cv2.transform(light, self.to_bt709), 0)
            if self.gain is not None:
                # Thirty times as fast as the maximum along the last axis.
                largest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
                share = np.minimum(largest * np.float32(_REFERENCE_WHITE / _PEAK), 1)
                light *= self.gain.take((np.sqrt(np.sqrt(share)) * _STEPS + 0.5).astype(np.int32))[..., None]
            result[top : top + _ROWS] = self.encode.take((np.sqrt(np.minimum(light, 1)) * _STEPS + 0.5).astype(np.int32))
        return result


@cache
def tone_map(transfer: int, primaries: int, white: int) -> ToneMap | None:
    """Return the conversion to SDR of an image with the given transfer function and primaries (ITU-T H.273 numbers).

    HDR without primaries has those of BT.2020.

    Args:
        transfer: transfer function.
        primaries: color primaries.
        white: value of the largest signal.

    Returns:
        ``None`` for SDR with the primaries of BT.709, of BT.601 or undeclared ones, which are not converted.
    """
    hdr = transfer in HDR_TRANSFERS
    if not hdr and primaries not in WIDE_PRIMARIES:
        return None
    if primaries == ColorPrimaries.SMPTE431:
        primaries = ColorPrimaries.SMPTE432
    elif hdr and primaries == ColorPrimaries.UNSPECIFIED:
        primaries = ColorPrimaries.BT2020
    matrix = np.array(_TO_BT709.get(primaries, np.eye(3)), np.float32)
    steps = np.arange(_STEPS + 1)
    signal, light = np.minimum(steps / (white >> 4), 1), (steps / _STEPS) ** 2
    if not hdr:
        encoded = light ** (1 / _SDR_GAMMA)
        decode = signal**_SDR_GAMMA
    else:
        encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        # HLG: light of the scene, 0..1 (BT.2100).
        hlg = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        decode = _pq_light(signal) / _REFERENCE_WHITE if transfer == ColorTrc.SMPTE2084 else hlg
    encode = np.round(255 * encoded).astype(np.uint8)
    gain = _bt2390_gain((steps / _STEPS) ** 4).astype(np.float32) if hdr else None
    return ToneMap(transfer == ColorTrc.ARIB_STD_B67, decode.astype(np.float32), matrix, gain, encode)


def _bt2390_gain(share: NDArray[Any]) -> NDArray[Any]:
    """Return the factor from light relative to the reference white to light of SDR, by the share of the peak."""
    nits = np.maximum(share, 1e-9) * _PEAK
    peak = _pq_signal(np.array(_PEAK))
    white = _pq_signal(np.array(_REFERENCE_WHITE)) / peak
    knee = 1.5 * white - 0.5
    value = _pq_signal(nits) / peak
    t = np.maximum(value - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * white
    gain: NDArray[Any] = _pq_light(np.where(value < knee, value, spline) * peak) / nits
    return gain


def _pq_light(signal: NDArray[Any]) -> NDArray[Any]:
    """Return nits (SMPTE ST 2084)."""
    root = signal ** (1 / 78.84375)
    light: NDArray[Any] = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    return light


def _pq_signal(nits: NDArray[Any]) -> NDArray[Any]:
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
