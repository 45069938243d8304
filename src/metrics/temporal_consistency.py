"""Temporal consistency: agreement of predictions with flow-warped earlier predictions."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchmetrics import Metric

from src.metrics.label_maps import check_label_maps
from src.ops.occlusion import forward_backward_consistent


class TemporalConsistency(Metric):
    """Share of pixels with the class of the same point one frame earlier, over all visible pixels of all frame pairs.

    The previous label map is warped to the current frame by optical flow, nearest pixel, and compared with the current one;
    pixels that fail :func:`src.ops.occlusion.forward_backward_consistent` are left out. Labels are not used: as with mVC, **a
    constant wrong map scores 1**, so report it only beside mIoU. The comparison follows Varghese et al., "Unsupervised Temporal
    Consistency Metric for Video Segmentation in Highly-Automated Driving" (CVPR Workshops 2020), who compute the mean IoU of the
    two maps instead of the share of pixels. Figures depend on the flow, so compare only those of one flow method.
    """

    full_state_update = False
    higher_is_better = True
    agreeing: Tensor
    visible: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("agreeing", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("visible", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        previous: Int64[Tensor, "H W"],
        current: Int64[Tensor, "H W"],
        backward_flow: Float[Tensor, "2 H W"],
        forward_flow: Float[Tensor, "2 H W"],
    ) -> None:
        """Add the pixels of two neighbouring frames.

        Args:
            previous: predicted classes of the earlier frame.
            current: predicted classes of the later frame.
            backward_flow: pixels; stored at the later frame's pixel, pointing to its source in the earlier frame.
            forward_flow: pixels; stored at the earlier frame's pixel, pointing into the later frame.
        """
        check_label_maps(previous, current)
        if current.ndim != 2 or not backward_flow.shape == forward_flow.shape == (2, *current.shape):
            raise ValueError(
                f"maps {tuple(current.shape)}, flows {tuple(backward_flow.shape)} and {tuple(forward_flow.shape)}; "
                "expected (H, W) and two (2, H, W)"
            )
        agreeing, visible = agreement(previous, current, backward_flow, forward_flow)
        self.agreeing += agreeing
        self.visible += visible

    def compute(self) -> Tensor:
        """Compute the share, float64, 0..1; NaN without visible pixels."""
        return self.agreeing.double() / self.visible


def agreement(previous: Tensor, current: Tensor, backward_flow: Tensor, forward_flow: Tensor) -> tuple[Tensor, Tensor]:
    """Count the visible pixels that have the class of their source, and all visible pixels; see :class:`TemporalConsistency`."""
    visible = forward_backward_consistent(backward_flow[None], forward_flow[None])[0]
    height, width = current.shape
    # Occluded pixels may point anywhere; they are read at a clamped place and not counted.
    dx, dy = torch.where(visible, backward_flow, 0.0)
    columns = (torch.arange(width, device=dx.device) + dx).round().long().clamp(0, width - 1)
    rows = (torch.arange(height, device=dx.device)[:, None] + dy).round().long().clamp(0, height - 1)
    return ((previous[rows, columns] == current) & visible).sum(), visible.sum()
