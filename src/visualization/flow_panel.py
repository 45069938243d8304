"""Panel that compares flow estimators on a pair: flow, propagated labels, errors, disoccluded pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.utils import draw_segmentation_masks

from src.structures import IGNORE_INDEX
from src.visualization.canvas import Tile, tile_grid
from src.visualization.flow_color import flow_tile, largest_motion
from src.visualization.overlay import WRONG_COLOR, error_map, overlay
from src.visualization.palette import Palette


@dataclass(frozen=True)
class PropagatedLabel:
    """Label of a key frame propagated by one flow estimator.

    Attributes:
        flow: (2, H, W) backward flow, pixels.
        label: (H, W) int64, warped from the key frame; ``IGNORE_INDEX`` where it is void.
        disoccluded: (H, W) bool, pixels without a source in the key frame.
        criterion: description of the disoccluded pixels, which follows their percentage.
    """

    flow: Tensor
    label: Tensor
    disoccluded: Tensor
    criterion: str


def flow_panel(
    key_image: Tensor,
    nonkey_image: Tensor,
    key_label: Tensor,
    nonkey_label: Tensor,
    methods: Mapping[str, PropagatedLabel],
    palette: Palette,
    offset: int,
) -> Tensor:
    """Draw the pair, then a row for each method: flow, propagated label, errors, disoccluded pixels.

    All flows have the same color scale. ``offset`` is the number of frames from the key frame to the non-key frame.

    Returns:
        (3, height, width) uint8 RGB with even sides.
    """
    rows = [
        [
            Tile(f"key frame, {offset} frames before", key_image),
            Tile("label", overlay(key_image, key_label, palette)),
            Tile("non-key frame", nonkey_image),
            Tile("label", overlay(nonkey_image, nonkey_label, palette)),
        ]
    ]
    # At least one pixel, so that noise in a static pair stays pale; below the maximum, which may be a single outlier.
    lengths = torch.cat([torch.linalg.vector_norm(one.flow, dim=0).flatten() for one in methods.values()]).cpu().numpy()
    scale = max(round(min(largest_motion(*(one.flow for one in methods.values())), 1.5 * float(np.quantile(lengths, 0.99)))), 1)
    for name, one in methods.items():
        reference = nonkey_label.masked_fill(one.label == IGNORE_INDEX, IGNORE_INDEX)
        wrong = (one.label != reference)[reference != IGNORE_INDEX].float().mean().item()
        share = one.disoccluded.float().mean().item()
        marked = draw_segmentation_masks(nonkey_image, one.disoccluded, 0.75, WRONG_COLOR)
        rows.append(
            [
                flow_tile(f"{name}: flow", one.flow, scale),
                Tile(f"{name}: propagated label", overlay(nonkey_image, one.label, palette)),
                Tile(f"{name}: errors, {100 * wrong:.1f} % wrong", error_map(one.label, reference)),
                Tile(f"{name}: {100 * share:.1f} % {one.criterion}", marked),
            ]
        )
    return tile_grid(rows, max_width=360)
