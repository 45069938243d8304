"""Temporal consistency by warping: does the prediction move with the image?"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from src.metrics.label_maps import check_label_maps
from src.ops.occlusion import forward_backward_consistent


class TemporalConsistency(Metric):
    """Share of pixels whose class is that of the same point one frame earlier, over all visible pixels of all frame pairs.

    The previous label map is warped to the current frame by optical flow, nearest pixel, and compared with the current one;
    pixels that fail :func:`src.ops.occlusion.forward_backward_consistent` are left out. Labels are not
    asked: like mVC, **a constant wrong map scores 1**, so report it beside mIoU only. Comparing with the flow-warped previous
    prediction follows Varghese et al., "Unsupervised Temporal Consistency Metric for Video Segmentation in Highly-Automated
    Driving" (CVPR Workshops 2020), who take the mean IoU of the two maps where this is the share of pixels; figures depend on
    the flow, so compare only those of one flow method.
    """

    full_state_update = False
    higher_is_better = True
    agreeing: Tensor
    visible: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("agreeing", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("visible", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, previous: Tensor, current: Tensor, backward_flow: Tensor, forward_flow: Tensor) -> None:
        """Count the pixels of two neighbouring frames.

        Args:
            previous: (H, W) int64, predicted classes of the earlier frame.
            current: (H, W) int64, of the later one.
            backward_flow: (2, H, W) pixels: stored at the later frame's pixel, pointing to its source in the earlier frame.
            forward_flow: (2, H, W) pixels: stored at the earlier frame's pixel, pointing into the later frame.

        Raises:
            ValueError: if shapes or types do not belong together.
        """
        check_label_maps(previous, current)
        if current.ndim != 2 or not backward_flow.shape == forward_flow.shape == (2, *current.shape):
            raise ValueError(
                f"maps {tuple(current.shape)}, flows {tuple(backward_flow.shape)} and {tuple(forward_flow.shape)}; "
                "expected (H, W) and two (2, H, W)"
            )
        visible = forward_backward_consistent(backward_flow[None], forward_flow[None])[0]
        height, width = current.shape
        # Hidden pixels may point anywhere; they are read somewhere and not counted.
        dx, dy = torch.where(visible, backward_flow, 0.0)
        columns = (torch.arange(width, device=dx.device) + dx).round().long().clamp(0, width - 1)
        rows = (torch.arange(height, device=dx.device)[:, None] + dy).round().long().clamp(0, height - 1)
        self.agreeing += ((previous[rows, columns] == current) & visible).sum()
        self.visible += visible.sum()

    def compute(self) -> Tensor:
        """The share, float64, 0..1; NaN where no pixel was visible in two frames."""
        return self.agreeing.double() / self.visible
