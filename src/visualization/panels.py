"""Panels, (3, H, W) uint8 RGB with even sides: a pair with its prediction, and one frame predicted by several methods."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.ops.masks import semantic_map
from src.ops.segment_flow import winning_flow
from src.ops.warp import disoccluded
from src.structures import IGNORE_INDEX, FlowPrediction, MaskPrediction
from src.visualization.canvas import Tile, legend, stack, tile_grid
from src.visualization.flow_color import flow_tile, largest_motion
from src.visualization.overlay import disocclusion_map, error_map, error_title, overlay
from src.visualization.palette import Palette

_COLUMNS = 3


def pair_panel(
    key_image: Tensor,
    nonkey_image: Tensor,
    label: Tensor,
    prediction: MaskPrediction,
    flow: FlowPrediction | None,
    target_flow: Tensor | None,
    palette: Palette,
    key_prediction: MaskPrediction | None = None,
) -> Tensor:
    """Draw one training or validation pair.

    Upper row: key frame, its prediction, the winning segment's flow, the true flow. Lower row: non-key frame, label, prediction,
    error map, disoccluded pixels. Missing inputs are left out; a pair of a frame with itself gives one row.

    Args:
        key_image: (3, H, W) uint8 RGB.
        nonkey_image: (3, H, W) uint8 RGB.
        label: (H, W) int64, of the non-key frame.
        prediction: prediction for the non-key frame; the first of its batch is drawn.
        flow: flow of the prediction, or ``None`` without propagation; the first of its batch is drawn.
        target_flow: (2, H, W) backward flow, pixels, NaN where unknown, or ``None``.
        palette: K colors.
        key_prediction: prediction for the key frame; the first of its batch is drawn.
    """
    predicted = semantic_map(prediction)[0].cpu()
    label = label.cpu()
    name = "prediction" if flow is None else "propagated prediction"
    lower = [
        Tile("label", overlay(nonkey_image.cpu(), label, palette)),
        Tile(name, overlay(nonkey_image.cpu(), predicted, palette)),
        Tile(error_title(predicted, label), error_map(predicted, label)),
    ]
    mask = None if flow is None else disoccluded(flow, prediction.image_size)
    if mask is not None:
        title = f"disoccluded since the key frame: {100 * mask[0].mean().item():.1f} %"
        lower.append(Tile(title, disocclusion_map(nonkey_image.cpu(), mask[0].cpu())))
    if flow is None and torch.equal(key_image, nonkey_image):
        return tile_grid([[Tile("image", nonkey_image), *lower]])
    upper = [Tile("key frame", key_image)]
    if key_prediction is not None:
        key_map = semantic_map(key_prediction)[0].cpu()
        upper.append(Tile("key prediction", overlay(key_image.cpu(), key_map, palette)))
    upper += _flow_tiles(None if flow is None else winning_flow(prediction, flow)[0].cpu(), target_flow)
    return tile_grid([upper, [Tile("non-key frame", nonkey_image), *lower]])


def comparison_panel(
    image: Tensor,
    label: Tensor | None,
    maps: Mapping[str, Tensor],
    palette: Palette,
    classes: Sequence[str] | None = None,
) -> Tensor:
    """Draw one frame predicted by several methods, at most three tiles in a row.

    Panels of a clip have the same size, as a video requires.

    Args:
        image: (3, H, W) uint8 RGB.
        label: (H, W) int64, or ``None`` for an unlabelled frame.
        maps: (H, W) int64 semantic map of each method, by its title.
        palette: K colors.
        classes: K names for a legend; ``None`` for no legend.
    """
    # An unlabelled frame keeps the tile, so that all panels of a clip have the same size.
    known = torch.full(image.shape[-2:], IGNORE_INDEX) if label is None else label.cpu()
    title = "no label" if label is None else "label"
    tiles = [Tile("image", image), Tile(title, overlay(image.cpu(), known, palette))]
    tiles += [Tile(name, overlay(image.cpu(), found.cpu(), palette)) for name, found in maps.items()]
    rows = -(-len(tiles) // _COLUMNS)
    columns = -(-len(tiles) // rows)
    panel = tile_grid([tiles[i : i + columns] for i in range(0, len(tiles), columns)])
    if classes is None:
        return panel
    return stack([panel, legend(classes, palette, panel.shape[-1])])


def _flow_tiles(flow: Tensor | None, target: Tensor | None) -> list[Tile]:
    """Draw flow and true flow with the same color scale, by the true flow if it is known."""
    # At least one pixel, so that noise in a static pair stays pale.
    scale = max(round(largest_motion(target if target is not None else flow)), 1)
    named = (("flow", flow), ("true flow", None if target is None else target.cpu()))
    return [flow_tile(name, f, scale) for name, f in named if f is not None]
