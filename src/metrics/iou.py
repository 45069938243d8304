"""Intersection over union from one confusion matrix over all frames of all clips."""

from typing import Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor
from torchmetrics import Metric

from src.metrics.label_maps import check_label_maps
from src.structures import IGNORE_INDEX

IoUProtocol = Literal["present_in_label", "reference"]


class MeanIoU(Metric):
    """Mean, frequency-weighted and per-class IoU (Long, Shelhamer and Darrell, CVPR 2015, section 5).

    Void pixels are dropped; for K = 1 they are the background, and count.

    Args:
        num_classes: K.
        protocol: ``present_in_label``: mean over the classes present in the labels, as in the VSPW scripts in common use.
            ``reference``: mean over the classes present in labels or predictions, as in MPVSS's published code.
    """

    full_state_update = False
    higher_is_better = True
    confusion: Tensor

    def __init__(self, num_classes: int, protocol: IoUProtocol = "present_in_label") -> None:
        super().__init__()
        check_iou_arguments(num_classes, protocol)
        self.num_classes = num_classes
        self.protocol = protocol
        self.add_state(
            "confusion", torch.zeros(num_classes, num_classes if num_classes > 1 else 3, dtype=torch.int64), dist_reduce_fx="sum"
        )

    def update(self, prediction: Int64[Tensor, "*batch H W"], label: Int64[Tensor, "*batch H W"]) -> None:
        """Count the pixels of predictions, 0..K-1 (for K = 1 also the background), and labels, 0..K-1 or ``IGNORE_INDEX``."""
        check_label_maps(prediction, label, self.num_classes)
        self.confusion += count_pixels(prediction, label, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """Compute ``miou``, ``wiou`` and ``iou_per_class`` (K,) as float64, 0..1; NaN for absent classes."""
        return iou_figures(self.confusion, self.protocol)


def count_pixels(
    prediction: Int64[Tensor, "*batch H W"], label: Int64[Tensor, "*batch H W"], num_classes: int
) -> Int64[Tensor, "{num_classes} _"]:
    """Compute the confusion matrix of two label maps: row = label, column = prediction; void labels are dropped.

    For K = 1, ``IGNORE_INDEX`` is the background in both maps. The columns are then the pixels of the class that are found, those
    that are missed, and the background that is taken for the class.
    """
    if num_classes == 1:
        labelled, found = label != IGNORE_INDEX, prediction != IGNORE_INDEX
        return torch.stack([(labelled & found).sum(), (labelled & ~found).sum(), (~labelled & found).sum()])[None]
    valid = label != IGNORE_INDEX
    pairs = label[valid] * num_classes + prediction[valid]
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_figures(confusion: Int64[Tensor, "K _"], protocol: IoUProtocol) -> dict[str, Tensor]:
    """Compute the figures of :meth:`MeanIoU.compute` from a result of :func:`count_pixels`."""
    intersection = confusion.diagonal()
    if len(confusion) == 1:
        in_label, in_prediction = confusion[:, :2].sum(1), confusion[:, 0] + confusion[:, 2]
    else:
        in_label, in_prediction = confusion.sum(1), confusion.sum(0)
    union = in_label + in_prediction - intersection
    counted = in_label > 0 if protocol == "present_in_label" else union > 0
    iou = torch.where(counted, intersection.double() / union, torch.nan)
    weighted = (torch.where(in_label > 0, iou, 0.0) * in_label).sum() / in_label.sum()
    return {"miou": iou.nanmean(), "wiou": weighted, "iou_per_class": iou}


def check_iou_arguments(num_classes: int, protocol: str) -> None:
    """Check the constructor arguments of metrics on confusion matrices."""
    if protocol not in get_args(IoUProtocol):
        raise ValueError(f"protocol={protocol!r}; expected one of {get_args(IoUProtocol)}")
    if not 1 <= num_classes <= IGNORE_INDEX:
        raise ValueError(f"num_classes={num_classes}; expected 1..{IGNORE_INDEX}")
