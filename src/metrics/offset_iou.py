"""Intersection over union by offset from the key frame, with mean and minimum over the offsets."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor
from torchmetrics import Metric

from src.metrics.iou import IoUProtocol, check_iou_arguments, count_pixels, iou_figures
from src.metrics.label_maps import check_label_maps


class IoUByOffset(Metric):
    """One confusion matrix per offset of a frame from its key frame, 0 .. D-1 frames.

    Cityscapes has one label per snippet. Evaluated at each of the offsets 0 .. k-1, the mean is the score of an average frame
    and the minimum that of the worst offset (Accel; Jain, Wang and Gonzalez, CVPR 2019).

    Args:
        num_classes: K.
        num_offsets: D; k where there is a key frame every k frames.
        protocol: see :class:`src.metrics.iou.MeanIoU`.

    Raises:
        ValueError: if the protocol is unknown or a number is out of range.
    """

    full_state_update = False
    higher_is_better = True
    confusion: Tensor
    frames: Tensor

    def __init__(self, num_classes: int, num_offsets: int, protocol: IoUProtocol = "present_in_label") -> None:
        super().__init__()
        check_iou_arguments(num_classes, protocol)
        if num_offsets < 1:
            raise ValueError(f"num_offsets={num_offsets}; expected at least 1")
        self.num_classes = num_classes
        self.num_offsets = num_offsets
        self.protocol = protocol
        confusion = torch.zeros(num_offsets, num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", confusion, dist_reduce_fx="sum")
        self.add_state("frames", torch.zeros(num_offsets, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Int64[Tensor, "H W"], label: Int64[Tensor, "H W"], offset: int) -> None:
        """Count the pixels of one frame.

        Args:
            prediction: classes 0..K-1.
            label: classes 0..K-1 or ``IGNORE_INDEX``.
            offset: frames since the key frame, 0..D-1.

        Raises:
            ValueError: if shapes or types differ or a value is out of range.
        """
        if not 0 <= offset < self.num_offsets:
            raise ValueError(f"offset={offset}; expected 0..{self.num_offsets - 1}")
        check_label_maps(prediction, label, self.num_classes)
        self.confusion[offset] += count_pixels(prediction, label, self.num_classes)
        self.frames[offset] += 1

    def compute(self) -> dict[str, Tensor]:
        """Compute the figures as float64, 0..1; NaN without pixels.

        Returns:
            ``miou_by_offset`` and ``wiou_by_offset`` (D,), ``iou_per_class_by_offset`` (D, K), and over the offsets with pixels
            ``miou_mean`` and ``miou_min``. (torchmetrics drops the dimensions of single values: where D is 1, (D,) is ().)
        """
        figures = [iou_figures(confusion, self.protocol) for confusion in self.confusion]
        miou = torch.stack([figure["miou"] for figure in figures])
        seen = miou[~miou.isnan()]
        return {
            "miou_by_offset": miou,
            "wiou_by_offset": torch.stack([figure["wiou"] for figure in figures]),
            "iou_per_class_by_offset": torch.stack([figure["iou_per_class"] for figure in figures]),
            "miou_mean": miou.nanmean(),
            "miou_min": seen.min() if len(seen) else miou.new_tensor(float("nan")),
        }
