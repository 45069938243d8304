"""Video consistency: do predictions hold still where the labels do?"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from src.metrics.label_maps import check_label_maps
from src.structures import IGNORE_INDEX

VideoConsistencyProtocol = Literal["official", "strict"]


class VideoConsistency(Metric):
    """mVC_n of VSPW: over windows of n frames, the share of pixels with a constant label whose prediction is right as well.

    ``official`` follows the scripts in common use: void counts as a label, the last window of a clip is left out, and
    "right" only means constant: **a constant wrong map scores 1**, so report it beside mIoU only. ``strict``: void pixels are
    left out, every window counts, and the prediction must equal the label throughout the window.

    Windows without any pixel of constant label count nowhere; clips too short for a window (official: of ``window`` frames or
    fewer; strict: of fewer) neither.

    Args:
        window: n, in frames.
        protocol: ``official`` or ``strict``.

    Raises:
        ValueError: if the protocol is unknown or the window is empty.
    """

    full_state_update = False
    higher_is_better = True
    total: Tensor
    windows: Tensor

    def __init__(self, window: int, protocol: VideoConsistencyProtocol = "official") -> None:
        super().__init__()
        if protocol not in get_args(VideoConsistencyProtocol) or window < 1:
            raise ValueError(
                f"window={window}, protocol={protocol!r}; expected at least 1 and one of {get_args(VideoConsistencyProtocol)}"
            )
        self.window = window
        self.protocol = protocol
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("windows", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count the windows of one whole clip.

        Args:
            prediction: (T, H, W) int64, all frames of the clip in time order.
            label: (T, H, W) int64, classes or ``IGNORE_INDEX``.

        Raises:
            ValueError: if shapes or types differ, a value is out of range, or this is not one clip.
        """
        check_label_maps(prediction, label)
        if label.ndim != 3:
            raise ValueError(f"label {tuple(label.shape)}; expected (T, H, W) of one whole clip")
        # For how many frames up to this one a pixel has been constant (strict: and valid, and right): a window ends here in
        # which it is constant throughout iff that is at least n. Memory does not grow with the clip or the window.
        label_run = torch.zeros(label.shape[1:], dtype=torch.int32, device=label.device)
        prediction_run = torch.zeros_like(label_run)
        last_end = len(label) - (2 if self.protocol == "official" else 1)
        for frame in range(last_end + 1):
            label_run = _extend(label_run, label, frame)
            if self.protocol == "official":
                prediction_run = _extend(prediction_run, prediction, frame)
            else:
                label_run = label_run * (label[frame] != IGNORE_INDEX)
                prediction_run = (prediction_run + 1) * (prediction[frame] == label[frame])
            if frame >= self.window - 1:
                self._count(label_run >= self.window, prediction_run >= self.window)

    def _count(self, steady_label: Tensor, steady_prediction: Tensor) -> None:
        steady = steady_label.sum()
        share = (steady_label & steady_prediction).sum().double() / steady
        self.total += torch.where(steady > 0, share, 0.0)
        self.windows += steady > 0

    def compute(self) -> Tensor:
        """Mean over all windows of all clips, float64, 0..1; NaN where there was none."""
        return self.total / self.windows


def _extend(run: Tensor, values: Tensor, frame: int) -> Tensor:
    if frame == 0:
        return torch.ones_like(run)
    return run * (values[frame] == values[frame - 1]) + 1
