"""Smooth random deformations of the image plane and their inverse."""

import cv2
import numpy as np

from src.data.synthetic.segments import Singles


def smooth_field(size: tuple[int, ...], amplitude: float, rng: np.random.Generator) -> Singles | None:
    """Draw a field of shifts with features of about a sixth of the image.

    Args:
        size: (H, W).
        amplitude: standard deviation of each component, pixels; limited to 0.4 % of the shorter side, which keeps the slope of
            the field well below 1.
        rng: source of the field; the number of draws does not depend on the amplitude.

    Returns:
        (H, W, 2), channel 0 right; ``None`` if the amplitude is below 0.02 pixels.
    """
    height, width = size
    knots = rng.normal(0, 1, (8, 8, 2)).astype(np.float32)
    amplitude = min(amplitude, 0.004 * min(height, width))
    if amplitude < 0.02:
        return None
    return np.asarray(cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(amplitude), np.float32)


def invert_deformation(deformation: Singles) -> Singles:
    """Invert ``p -> p + deformation(p)``, (H, W, 2) in pixels, by fixed-point iteration on a four times coarser grid.

    The deformation maps ``q + inverse(q)`` to q, to about 0.02 pixels, if its slope is well below 1.
    """
    height, width = deformation.shape[:2]
    coarse = np.ascontiguousarray(deformation[::4, ::4])
    x = np.arange(coarse.shape[1], dtype=np.float32)
    y = np.arange(coarse.shape[0], dtype=np.float32)[:, None]
    inverse = -coarse
    for _ in range(3):
        columns, rows = x + inverse[..., 0] / 4, y + inverse[..., 1] / 4
        there = cv2.remap(coarse, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inverse = -np.asarray(there, np.float32)
    scale = np.array([[0.25, 0, 0], [0, 0.25, 0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(inverse, scale, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)
