"""Panel that compares flow estimators on a pair: flow, propagated labels, errors, disoccluded pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from src.structures import IGNORE_INDEX
from src.visualization.canvas import Tile, tile_grid
from src.visualization.flow_color import flow_to_color, largest_motion
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

    All flows have the same color scale.

    Args:
        key_image: (3, H, W) uint8 RGB.
        nonkey_image: (3, H, W) uint8 RGB.
        key_label: (H, W) int64.
        nonkey_label: (H, W) int64.
        methods: propagated labels, by the name of the method.
        palette: K colors.
        offset: frames between the two.

    Returns:
        (3, height, width) uint8 with even sides.
    """
    rows = [
        [
            Tile(f"key frame, {offset} frames before", key_image),
            Tile("its label", overlay(key_image, key_label, palette)),
            Tile("non-key frame", nonkey_image),
            Tile("its label", overlay(nonkey_image, nonkey_label, palette)),
        ]
    ]
    # At least one pixel, so that noise in a static pair stays pale; below the maximum, which may be a single outlier.
    lengths = torch.cat([torch.linalg.vector_norm(one.flow, dim=0).flatten() for one in methods.values()])
    scale = max(min(largest_motion(*(one.flow for one in methods.values())), 1.5 * _quantile(lengths, 0.99)), 1.0)
    for name, one in methods.items():
        judged = nonkey_label.masked_fill(one.label == IGNORE_INDEX, IGNORE_INDEX)
        wrong = (one.label != judged)[judged != IGNORE_INDEX].float().mean().item()
        share = one.disoccluded.float().mean().item()
        rows.append(
            [
                Tile(f"{name}: flow, full color at {scale:.0f} px", flow_to_color(one.flow, scale)),
                Tile(f"{name}: propagated label", overlay(nonkey_image, one.label, palette)),
                Tile(f"{name}: errors, {100 * wrong:.1f} % wrong", error_map(one.label, judged)),
                Tile(f"{name}: {100 * share:.1f} % {one.criterion}", _marked(nonkey_image, one.disoccluded)),
            ]
        )
    return tile_grid(rows, max_width=360)


def _quantile(values: Tensor, share: float) -> float:
    # torch.quantile refuses more than 16 million values; interpolation is not needed.
    return values.kthvalue(max(1, round(share * values.numel()))).values.item()


def _marked(image: Tensor, mask: Tensor) -> Tensor:
    color = torch.tensor(WRONG_COLOR, dtype=torch.float32).view(3, 1, 1)
    return torch.where(mask, torch.lerp(image.float(), color, 0.75), image.float()).round().to(torch.uint8)
