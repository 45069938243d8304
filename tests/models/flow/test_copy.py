"""Laws of the zero flow."""

import torch

from src.models.flow.copy import CopyFlow
from src.ops.warp import resize_flow, warp_segments


def test_copying_leaves_every_mask_unchanged() -> None:
    images = torch.zeros(2, 3, 50, 70, dtype=torch.uint8)
    flow = CopyFlow()(images, images, torch.zeros(2, 4, 8))
    assert flow.padded_size == (64, 96)
    masks = torch.randn(1, 2, 4, 16, 24)
    assert torch.equal(warp_segments(masks, resize_flow(flow.segment_flow, (16, 24))), masks)
    assert CopyFlow(size_divisor=8)(images, images, torch.zeros(2, 4, 8)).padded_size == (56, 72)
