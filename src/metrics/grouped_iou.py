"""Mean IoU of groups of frames or pixels, each from one confusion matrix."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from src.metrics.iou import count_pixels, iou_figures


class GroupedIoU:
    """Confusion matrices of groups, each a kind and a number: ``("offset", 3)``. Counts are integers, exact in any order.

    Args:
        num_classes: K.

    Attributes:
        frames: number of frames added to each group.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.frames: Counter[tuple[str, int]] = Counter()
        self._confusions: dict[tuple[str, int], Tensor] = {}

    def add(self, kind: str, number: int, prediction: Tensor, label: Tensor, region: Tensor | None = None) -> None:
        """Count the pixels of one frame, label maps (H, W) as of :func:`count_pixels`, where ``region`` (H, W) bool is true."""
        if region is not None:
            prediction, label = prediction[region][None], label[region][None]
        self._confusions[kind, number] = self._confusions.get((kind, number), 0) + count_pixels(
            prediction, label, self.num_classes
        )
        self.frames[kind, number] += 1

    def sum_up(self, parts: Sequence["GroupedIoU"]) -> None:
        """Replace all counts by the sums of several parts."""
        self.frames = sum((part.frames for part in parts), Counter())
        self._confusions = {
            group: torch.stack([part._confusions[group] for part in parts if group in part._confusions]).sum(0)
            for group in self.frames
        }

    def miou(self, kind: str) -> dict[int, float]:
        """Compute the mIoU 0..1 over the classes present in the labels, by number of the kind in ascending order."""
        return {
            number: float(iou_figures(self._confusions[one, number], "present_in_label")["miou"])
            for one, number in sorted(self._confusions)
            if one == kind
        }

    def frame_counts(self, kind: str) -> dict[int, int]:
        """Return the number of frames, by number of the kind in ascending order."""
        return {number: self.frames[one, number] for one, number in sorted(self._confusions) if one == kind}
