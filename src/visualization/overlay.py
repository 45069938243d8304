"""Images, (3, H, W) uint8 RGB, of label maps: in class colors, as an overlay, or compared with the ground truth."""

import torch
from torch import Tensor

from src.structures import IGNORE_INDEX
from src.visualization.palette import VOID_COLOR, Color, Palette

CORRECT_COLOR: Color = (60, 160, 90)
WRONG_COLOR: Color = (225, 45, 45)
DISOCCLUDED_COLOR: Color = (255, 60, 220)


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
    if len(palette) > IGNORE_INDEX:
        raise ValueError(f"palette has {len(palette)} colors; expected at most {IGNORE_INDEX}, because {IGNORE_INDEX} is void")
    invalid = (label != IGNORE_INDEX) & ((label < 0) | (label >= len(palette)))
    if invalid.any():
        found = torch.unique(label[invalid]).tolist()
        raise ValueError(f"label values {found} have no color; expected 0..{len(palette) - 1} or {IGNORE_INDEX} (void)")
    colors = torch.zeros(IGNORE_INDEX + 1, 3, dtype=torch.uint8)
    colors[: len(palette)] = torch.tensor(palette, dtype=torch.uint8)
    colors[IGNORE_INDEX] = torch.tensor(VOID_COLOR, dtype=torch.uint8)
    return colors.to(label.device)[label.long()].movedim(-1, -3)


def overlay(image: Tensor, semantic_map: Tensor, palette: Palette, alpha: float = 0.5) -> Tensor:
    """Blend a label map with its image.

    Args:
        image: (3, H, W) uint8 RGB.
        semantic_map: (H, W) int64, classes or ``IGNORE_INDEX``.
        palette: K colors.
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
    return torch.lerp(image.float(), colorize(semantic_map, palette).float(), alpha).round().to(torch.uint8)


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
