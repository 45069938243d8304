"""Flicker: change of classes from frame to frame, at the same pixel or at the same point of the scene."""

import torch
from jaxtyping import Int64
from torch import Tensor
from torchmetrics import Metric

from src.metrics.temporal_consistency import agreement
from src.structures import IGNORE_INDEX

FLICKER = ("flicker_other", "flicker_key", "flicker_other_label", "flicker_key_label")
"""Names of the figures of :class:`Flicker`."""


class Flicker(Metric):
    """Share of pixels whose class differs from the frame before, on key frames and on other frames.

    The same share of the labels is the change that the scene itself has; void pixels of either frame are left out there. A
    prediction that jumps at key frames has a larger ``flicker_key`` than ``flicker_other``, while those of the labels are equal.
    Labels are not compared with predictions: **a constant wrong map scores 0**, so report it only beside mIoU.

    Args:
        num_classes: K; for K = 1, ``IGNORE_INDEX`` is the background and counts.
    """

    full_state_update = False
    higher_is_better = False
    changed: Tensor
    pixels: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name in ("changed", "pixels"):
            self.add_state(name, torch.zeros(len(FLICKER), dtype=torch.int64), dist_reduce_fx="sum")
        self._previous: tuple[Tensor, Tensor | None] | None = None

    def update(self, prediction: Int64[Tensor, "H W"], label: Int64[Tensor, "h w"] | None, is_key: bool) -> None:
        """Add the next frame of a clip; ``label`` is ``None`` for an unlabelled frame."""
        if self._previous is not None:
            self._count(int(is_key), self._previous[0], prediction, void=None)
            if label is not None and self._previous[1] is not None:
                self._count(2 + is_key, self._previous[1], label, void=IGNORE_INDEX if self.num_classes > 1 else None)
        self._previous = (prediction, label)

    def end_clip(self) -> None:
        """End a clip, across which nothing is compared."""
        self._previous = None

    def compute(self) -> dict[str, Tensor]:
        """Compute the shares, float64, 0..1; NaN without pairs of frames."""
        return dict(zip(FLICKER, self.changed.double() / self.pixels, strict=True))

    def _count(self, kind: int, earlier: Tensor, later: Tensor, void: int | None) -> None:
        counted = torch.ones_like(later, dtype=torch.bool) if void is None else (earlier != void) & (later != void)
        self.changed[kind] += ((earlier != later) & counted).sum()
        self.pixels[kind] += counted.sum()


def motion_flicker(previous: Tensor, current: Tensor, backward_flow: Tensor, forward_flow: Tensor) -> float | None:
    """Return the share of visible pixels whose class differs from that of the same point one frame earlier, 0..1.

    The previous map is warped to the current frame by the backward flow, nearest pixel. Pixels without a source are left out:
    those whose flow leaves the image or fails the forward-backward check of Sundaram, Brox and Keutzer (ECCV 2010), see
    :func:`src.ops.occlusion.forward_backward_consistent`. This is 1 minus the
    :class:`~src.metrics.temporal_consistency.TemporalConsistency` of one pair of frames.

    Maps are (H, W) of one integer type, flows (2, H, W) in pixels: the backward flow is stored at the current frame and points
    into the previous one, the forward flow is the reverse. The result is ``None`` without a visible pixel.
    """
    agreeing, visible = (int(count) for count in agreement(previous, current, backward_flow, forward_flow))
    return 1 - agreeing / visible if visible else None
