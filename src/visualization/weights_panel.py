"""Panel of a frame fused from several key frames: where which of them counts."""

from collections.abc import Sequence

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from src.visualization.canvas import TITLE_HEIGHT, Tile, label, stack, tile_grid
from src.visualization.overlay import error_map, error_title, overlay
from src.visualization.palette import Palette

_SCALE_WIDTH = 240
_WHITE = (255, 255, 255)


def weights_panel(
    image: Tensor,
    sources: Sequence[tuple[int, Tensor]],
    shares: Tensor,
    predicted: Tensor,
    known: Tensor,
    palette: Palette,
) -> Tensor:
    """Draw the frame between its key frames, the weight of each source below it, then fused prediction, label and errors.

    Args:
        image: (3, H, W) uint8 RGB, the fused frame.
        sources: offset of each source in frames, negative for earlier ones, 0 for the frame itself; and its image, as ``image``.
        shares: (S, H, W) in 0..1, weight of each source.
        predicted: (H, W) int64, semantic map of the fused prediction.
        known: (H, W) int64, label of the frame.
        palette: K colors.

    Returns:
        (3, height, width) uint8 RGB with even sides.
    """
    errors = Tile(error_title(predicted, known), error_map(predicted, known))
    columns = {
        offset: (Tile(_title(offset), source), _weight_tile(share))
        for (offset, source), share in zip(sources, shares, strict=True)
    }
    last = [Tile("fused prediction", overlay(image, predicted, palette)), Tile("label", overlay(image, known, palette))]
    if 0 in columns:
        last.append(errors)
    columns.setdefault(0, (Tile("frame", image), errors))
    upper, lower = zip(*(columns[offset] for offset in sorted(columns)), strict=True)
    return stack([tile_grid([upper, lower, last]), _scale()])


def weight_to_color(weight: Tensor) -> Tensor:
    """Color weights (H, W) in 0..1: dark blue for 0, yellow for 1; (3, H, W) uint8."""
    levels = (255 * weight.clamp(0, 1)).round().to(torch.uint8).numpy()
    colors = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(colors).permute(2, 0, 1).contiguous()


def _title(offset: int) -> str:
    return "key frame" if offset == 0 else f"key frame, {abs(offset)} {'before' if offset < 0 else 'after'}"


def _weight_tile(share: Tensor) -> Tile:
    return Tile(f"its weight: mean {100 * share.mean().item():.0f} %", weight_to_color(share))


def _scale() -> Tensor:
    """Draw the color scale of the weights, (3, height, width) uint8 with even sides."""
    ramp = weight_to_color(torch.linspace(0, 1, _SCALE_WIDTH).expand(TITLE_HEIGHT, -1))
    texts = [torch.from_numpy(label(text, _WHITE, TITLE_HEIGHT)).permute(2, 0, 1) for text in ("weight 0", "1")]
    strip = torch.cat((texts[0], ramp, texts[1]), 2)
    return F.pad(strip, (0, strip.shape[-1] % 2), value=255)
