"""Label maps as pictures: in class colors, laid over the image, or compared with the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from src.structures import IGNORE_INDEX
from src.visualization.palette import VOID_COLOR, Color, Palette

RIGHT_COLOR: Color = (60, 160, 90)
WRONG_COLOR: Color = (225, 45, 45)
NEW_COLOR: Color = (255, 60, 220)


def colorize(label: Tensor, palette: Palette) -> Tensor:
    """A label map in the colors of its classes; ``IGNORE_INDEX`` becomes ``VOID_COLOR``.

    Args:
        label: (..., H, W) integers, classes 0..K-1 or ``IGNORE_INDEX``.
        palette: K colors.

    Returns:
        (..., 3, H, W) uint8.

    Raises:
        ValueError: if a value is neither a class of the palette nor ``IGNORE_INDEX``.
    """
    if len(palette) > IGNORE_INDEX:
        raise ValueError(f"palette has {len(palette)} colors; {IGNORE_INDEX} is void, so at most {IGNORE_INDEX} fit")
    strange = (label != IGNORE_INDEX) & ((label < 0) | (label >= len(palette)))
    if strange.any():
        found = torch.unique(label[strange]).tolist()
        raise ValueError(f"label values {found} have no color; expected 0..{len(palette) - 1} or {IGNORE_INDEX} (void)")
    colors = torch.zeros(IGNORE_INDEX + 1, 3, dtype=torch.uint8)
    colors[: len(palette)] = torch.tensor(palette, dtype=torch.uint8)
    colors[IGNORE_INDEX] = torch.tensor(VOID_COLOR, dtype=torch.uint8)
    return colors.to(label.device)[label.long()].movedim(-1, -3)


def overlay(image: Tensor, semantic_map: Tensor, palette: Palette, alpha: float = 0.5) -> Tensor:
    """A label map laid over its image.

    Args:
        image: (3, H, W) uint8 RGB.
        semantic_map: (H, W) int64, classes or ``IGNORE_INDEX``.
        palette: K colors.
        alpha: share of the class color: 0 is the image, 1 the label map alone.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: if alpha is out of range, the sizes differ or a value has no color.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; expected 0..1")
    if image.shape[-2:] != semantic_map.shape[-2:]:
        raise ValueError(f"image of {tuple(image.shape[-2:])} and map of {tuple(semantic_map.shape[-2:])}: expected one size")
    return torch.lerp(image.float(), colorize(semantic_map, palette).float(), alpha).round().to(torch.uint8)


def error_map(prediction: Tensor, label: Tensor) -> Tensor:
    """Where a prediction is right (``RIGHT_COLOR``), wrong (``WRONG_COLOR``) or not judged (``VOID_COLOR``).

    Args:
        prediction: (H, W) int64.
        label: (H, W) int64, ``IGNORE_INDEX`` where nothing is judged.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: if the sizes differ.
    """
    if prediction.shape != label.shape:
        raise ValueError(f"prediction of {tuple(prediction.shape)} and label of {tuple(label.shape)}: expected one size")
    verdict = (prediction != label).long()
    verdict[label == IGNORE_INDEX] = IGNORE_INDEX
    return colorize(verdict, (RIGHT_COLOR, WRONG_COLOR))


def disocclusion_map(image: Tensor, new: Tensor) -> Tensor:
    """An image in grey, and in ``NEW_COLOR`` what the key frame does not explain.

    Args:
        image: (3, H, W) uint8 RGB.
        new: (H, W) in 0..1, how likely a pixel is new.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: if the sizes differ.
    """
    if image.shape[-2:] != new.shape:
        raise ValueError(f"image of {tuple(image.shape[-2:])} and newness of {tuple(new.shape)}: expected one size")
    grey = image.float().mean(0, keepdim=True).expand(3, -1, -1)
    color = torch.tensor(NEW_COLOR, dtype=torch.float32, device=image.device).view(3, 1, 1)
    return torch.lerp(grey, color.expand_as(grey), 0.8 * new.float()).round().to(torch.uint8)
