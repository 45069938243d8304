"""Images, (3, H, W) uint8 RGB, of label maps: in class colors, as an overlay, or compared with the ground truth."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.structures import IGNORE_INDEX
from src.visualization.palette import DEFAULT_ALPHA, VOID_COLOR, Color, Palette

Pixels = NDArray[np.uint8]

CORRECT_COLOR: Color = (60, 160, 90)
WRONG_COLOR: Color = (225, 45, 45)
DISOCCLUDED_COLOR: Color = (255, 60, 220)
_CONTOUR_COLOR: Color = (255, 255, 255)
_CONTOUR_SIDE = 480  # pixels of the shorter image side for each pixel of a contour's width
_CONTOUR = 255  # value of contours among the labels


def colorize(label: Tensor, palette: Palette) -> Tensor:
    """Color a label map by class; ``IGNORE_INDEX`` becomes ``VOID_COLOR``.

    Args:
        label: (..., H, W) integers, classes 0..K-1 or ``IGNORE_INDEX``.
        palette: K colors.

    Returns:
        (..., 3, H, W) uint8.

    Raises:
        ValueError: if a value is neither a class of the palette nor ``IGNORE_INDEX``.
    """
    check_values(label, palette)
    colors = torch.zeros(IGNORE_INDEX + 1, 3, dtype=torch.uint8)
    colors[: len(palette)] = torch.tensor(palette, dtype=torch.uint8)
    colors[IGNORE_INDEX] = torch.tensor(VOID_COLOR, dtype=torch.uint8)
    return colors.to(label.device)[label.long()].movedim(-1, -3)


def check_values(label: Tensor, palette: Palette) -> None:
    """Raise ``ValueError`` for a value that is neither a class of the palette nor ``IGNORE_INDEX``."""
    if len(palette) > IGNORE_INDEX:
        raise ValueError(f"palette has {len(palette)} colors; expected at most {IGNORE_INDEX}, because {IGNORE_INDEX} is void")
    invalid = (label != IGNORE_INDEX) & ((label < 0) | (label >= len(palette)))
    if invalid.any():
        found = torch.unique(label[invalid]).tolist()
        raise ValueError(f"label values {found} have no color; expected 0..{len(palette) - 1} or {IGNORE_INDEX} (void)")


def overlay(image: Tensor, semantic_map: Tensor, palette: Palette, alpha: float = DEFAULT_ALPHA) -> Tensor:
    """Blend a label map, with white contours between its segments, with its image.

    Args:
        image: (3, H, W) uint8 RGB.
        semantic_map: (H, W) int64, classes or ``IGNORE_INDEX``.
        palette: K <= 254 colors.
        alpha: weight of the class colors: 0 shows only the image, 1 only the label map.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: if alpha is out of range, the sizes differ or a value has no color.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; expected 0..1")
    if image.shape[-2:] != semantic_map.shape[-2:]:
        raise ValueError(f"image is {tuple(image.shape[-2:])} and map is {tuple(semantic_map.shape[-2:])}; expected one size")
    check_values(semantic_map, palette)
    pixels = image.cpu().numpy()
    blended = np.empty((*pixels.shape[1:], 3), np.uint8)
    Blender(palette, alpha, void=True).blend(pixels, semantic_map.cpu().numpy(), blended)
    return torch.from_numpy(blended).permute(2, 0, 1).contiguous()


class Blender:
    """Blends class colors, and white contours where a class begins, seen from the left or from above, with images.

    Contours are one pixel wide, in images from 960 pixels on two pixels or more. Memory is kept from image to image, since new
    memory costs time.

    Args:
        palette: K colors.
        alpha: weight of the class colors.
        void: whether ``IGNORE_INDEX`` is void, not a class.
    """

    def __init__(self, palette: Palette, alpha: float, void: bool = False) -> None:
        self._void = len(palette) if void else None
        self._is_narrow = len(palette) + void <= _CONTOUR
        self._colors = np.full((max(len(palette) + void, _CONTOUR + 1), 4), (*VOID_COLOR, 0), np.uint8)
        self._colors[: len(palette), :3] = palette
        if self._is_narrow:
            self._colors[_CONTOUR, :3] = _CONTOUR_COLOR
        self._alpha = alpha
        self._buffers: list[Pixels] = []

    def blend(self, image: Pixels, labels: NDArray[np.integer], out: Pixels) -> None:
        """Blend a label map, (H, W), with its image, (3, H, W), into ``out``, (H, W, 3)."""
        if not self._buffers or self._buffers[0].shape != out.shape:
            self._buffers = [np.empty((*out.shape[:2], *depth), np.uint8) for depth in ((3,), (3,), (4,), (), ())]
        pixels, colors, padded, values, contours = self._buffers
        if self._void is not None:
            labels = np.where(labels == IGNORE_INDEX, self._void, labels)
        labels = labels.astype(np.uint8 if self._is_narrow else np.int32, copy=False)
        _find_contours(labels, contours)
        if self._is_narrow:
            # All bits are set in the value of contours. One look-up of four bytes takes a third of the time of three of one byte.
            cv2.bitwise_or(labels, contours, dst=values)
            cv2.LUT(values, self._colors.view(np.int32).reshape(1, -1), dst=padded.view(np.int32)[..., 0])
            cv2.cvtColor(padded, cv2.COLOR_RGBA2RGB, dst=colors)
        else:
            np.take(self._colors[:, :3], labels, axis=0, out=colors)
            colors[contours > 0] = _CONTOUR_COLOR
        cv2.merge(list(image), pixels)
        cv2.addWeighted(pixels, 1 - self._alpha, colors, self._alpha, 0, dst=out)


def _find_contours(labels: NDArray[np.integer], out: Pixels) -> None:
    """Write 255 to the pixels whose label differs from that to the left or above, 0 to all others."""
    width = max(1, min(labels.shape) // _CONTOUR_SIDE)
    out.fill(0)
    if labels.shape[1] > width:
        cv2.compare(labels[:, width:], labels[:, :-width], cv2.CMP_NE, dst=out[:, width:])
    if labels.shape[0] > width:
        cv2.bitwise_or(out[width:], cv2.compare(labels[width:], labels[:-width], cv2.CMP_NE), dst=out[width:])


def error_map(prediction: Tensor, label: Tensor) -> Tensor:
    """Color a prediction, (H, W), as correct (``CORRECT_COLOR``), wrong (``WRONG_COLOR``) or void (``VOID_COLOR``)."""
    if prediction.shape != label.shape:
        raise ValueError(f"prediction is {tuple(prediction.shape)} and label is {tuple(label.shape)}; expected one size")
    outcome = (prediction != label).long()
    outcome[label == IGNORE_INDEX] = IGNORE_INDEX
    return colorize(outcome, (CORRECT_COLOR, WRONG_COLOR))


def error_title(prediction: Tensor, label: Tensor) -> str:
    """Return the title of :func:`error_map`, with the share of wrong pixels."""
    labelled = label != IGNORE_INDEX
    if not labelled.any():
        return "errors: all void"
    wrong = (prediction != label)[labelled].float().mean().item()
    return f"errors: {100 * wrong:.1f} % wrong"


def disocclusion_map(image: Tensor, disoccluded: Tensor) -> Tensor:
    """Color disoccluded pixels, which have no source in the key frame, over a grey image.

    Args:
        image: (3, H, W) uint8 RGB.
        disoccluded: (H, W) probability of disocclusion, 0..1.
    """
    if image.shape[-2:] != disoccluded.shape:
        raise ValueError(f"image is {tuple(image.shape[-2:])} and disocclusion is {tuple(disoccluded.shape)}; expected one size")
    grey = image.float().mean(0, keepdim=True).expand(3, -1, -1)
    color = torch.tensor(DISOCCLUDED_COLOR, dtype=torch.float32, device=image.device).view(3, 1, 1)
    return torch.lerp(grey, color.expand_as(grey), 0.8 * disoccluded.float()).round().to(torch.uint8)
