"""One pair of frames as several flows see it: the motion, the labels that it carries, their errors, what it cannot explain."""

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
class CarriedLabel:
    """What one method made of a pair.

    Attributes:
        flow: (2, H, W) backward flow, pixels.
        label: (H, W) int64, carried from the key frame; ``IGNORE_INDEX`` where void was.
        disoccluded: (H, W) bool, pixels marked as having no source in the key frame.
        marked_as: by what they were marked, in the words for "so many percent ...".
    """

    flow: Tensor
    label: Tensor
    disoccluded: Tensor
    marked_as: str


def flow_panel(
    key_image: Tensor,
    nonkey_image: Tensor,
    key_label: Tensor,
    nonkey_label: Tensor,
    methods: Mapping[str, CarriedLabel],
    palette: Palette,
    offset: int,
) -> Tensor:
    """The pair on top, then a row for each method: flow, carried labels, errors, disoccluded pixels.

    All flows share one scale of colors.

    Args:
        key_image: (3, H, W) uint8 RGB.
        nonkey_image: (3, H, W) uint8 RGB.
        key_label: (H, W) int64.
        nonkey_label: (H, W) int64.
        methods: what each made of it, by its name.
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
    # At least one pixel, so that the noise of a still pair stays pale; not the largest of all, which one wild vector sets.
    lengths = torch.cat([torch.linalg.vector_norm(one.flow, dim=0).flatten() for one in methods.values()])
    scale = max(min(largest_motion(*(one.flow for one in methods.values())), 1.5 * _quantile(lengths, 0.99)), 1.0)
    for name, one in methods.items():
        judged = nonkey_label.masked_fill(one.label == IGNORE_INDEX, IGNORE_INDEX)
        wrong = (one.label != judged)[judged != IGNORE_INDEX].float().mean().item()
        share = one.disoccluded.float().mean().item()
        rows.append(
            [
                Tile(f"{name}: flow, full color at {scale:.0f} px", flow_to_color(one.flow, scale)),
                Tile(f"{name}: key label carried", overlay(nonkey_image, one.label, palette)),
                Tile(f"{name}: errors, {100 * wrong:.1f} % wrong", error_map(one.label, judged)),
                Tile(f"{name}: {100 * share:.1f} % {one.marked_as}", _marked(nonkey_image, one.disoccluded)),
            ]
        )
    return tile_grid(rows, max_width=360)


def _quantile(values: Tensor, share: float) -> float:
    # torch.quantile refuses more than 16 million values, and no value between two is needed.
    return values.kthvalue(max(1, round(share * values.numel()))).values.item()


def _marked(image: Tensor, mask: Tensor) -> Tensor:
    color = torch.tensor(WRONG_COLOR, dtype=torch.float32).view(3, 1, 1)
    return torch.where(mask, torch.lerp(image.float(), color, 0.75), image.float()).round().to(torch.uint8)
