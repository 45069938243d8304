"""Video consistency of VSPW (mVC): constancy of predictions where the labels are constant."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor
from torchmetrics import Metric

from src.metrics.label_maps import check_label_maps
from src.structures import IGNORE_INDEX

VideoConsistencyProtocol = Literal["official", "strict"]

# A window's share is summed as an integer multiple of 2^-53, the resolution of a float64 below 1, in two parts that never
# overflow: integers have the same sum in any order, floating-point numbers do not.
_RESOLUTION = 53
_LOW_BITS = 26


@dataclass
class _OpenClip:
    """State of an unfinished clip; its size does not depend on the clip or the window.

    Attributes:
        prediction: (H, W), last frame.
        label: (H, W), last frame.
        prediction_run: (H, W) int32, number of frames up to the last one with a constant (strict: correct) prediction.
        label_run: (H, W) int32, number of frames up to the last one with a constant (strict: not void) label.
        frames: number of frames so far.
    """

    prediction: Tensor
    label: Tensor
    prediction_run: Tensor
    label_run: Tensor
    frames: int


class VideoConsistency(Metric):
    """mVC_n (Miao et al., "VSPW", CVPR 2021): over windows of n frames, the share of constant-label pixels predicted correctly.

    ``official`` follows the scripts in common use: void counts as a label, the last window of a clip is left out, and
    "correctly" means constantly: **a constant wrong map scores 1**, so report it only beside mIoU. ``strict``: void pixels are
    left out, every window counts, and the prediction must equal the label throughout the window.

    Windows without pixels of constant label do not count, nor do clips too short for a window (official: of ``window`` frames or
    fewer; strict: of fewer). The result is the same, bit for bit, however a clip is split into updates and however clips are
    distributed over ranks, provided that each clip stays on one rank and is added once.

    Args:
        window: n, frames.
        protocol: ``official`` or ``strict``.
    """

    full_state_update = False
    higher_is_better = True
    share_high: Tensor
    share_low: Tensor
    windows: Tensor

    def __init__(self, window: int, protocol: VideoConsistencyProtocol = "official") -> None:
        super().__init__()
        if protocol not in get_args(VideoConsistencyProtocol) or window < 1:
            raise ValueError(
                f"window={window}, protocol={protocol!r}; expected at least 1 and one of {get_args(VideoConsistencyProtocol)}"
            )
        self.window = window
        self.protocol = protocol
        for name in ("share_high", "share_low", "windows"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self._clip: _OpenClip | None = None

    def update(self, prediction: Int64[Tensor, "T H W"], label: Int64[Tensor, "T H W"], end_of_clip: bool = True) -> None:
        """Add the windows of one clip, whole or, as a stream, part by part.

        Args:
            prediction: frames of one clip in time order; T = 1 for a stream of frames.
            label: classes or ``IGNORE_INDEX``.
            end_of_clip: whether these are the clip's last frames; otherwise the next update continues it.

        Raises:
            ValueError: if shapes or types differ, a value is out of range, this is not one clip, or its size changes.
        """
        check_label_maps(prediction, label)
        if label.ndim != 3:
            raise ValueError(f"label {tuple(label.shape)}; expected (T, H, W) of one clip")
        if self._clip is not None and self._clip.label.shape != label.shape[1:]:
            before, now = tuple(self._clip.label.shape), tuple(label.shape[1:])
            raise ValueError(f"frames of {now} after frames of {before}; expected one size within a clip (end_clip() ends it)")
        for one_prediction, one_label in zip(prediction, label, strict=True):
            self._add_frame(one_prediction, one_label)
        if end_of_clip:
            self.end_clip()

    def end_clip(self) -> None:
        """End the clip: no window continues past the frames added so far."""
        self._clip = None

    def forward(self, prediction: Int64[Tensor, "T H W"], label: Int64[Tensor, "T H W"], end_of_clip: bool = True) -> Tensor:
        """:meth:`update`, and return the value of this clip.

        Raises:
            ValueError: if this is not a whole clip.
        """
        if self._clip is not None or not end_of_clip:
            raise ValueError(
                "forward() received a part of a clip, which has no value; expected a whole clip (update() accepts parts)"
            )
        value: Tensor = super().forward(prediction, label)
        return value

    def compute(self) -> Tensor:
        """Compute the mean over all windows of all clips, float64, 0..1; NaN without windows."""
        total, windows = (int(self.share_high) << _LOW_BITS) + int(self.share_low), int(self.windows)
        # Python's division of integers of any size is correctly rounded.
        mean = total / (windows << _RESOLUTION) if windows else float("nan")
        return torch.tensor(mean, dtype=torch.float64, device=self.windows.device)

    def reset(self) -> None:
        """Reset all counts and the unfinished clip."""
        super().reset()
        self._clip = None

    def _add_frame(self, prediction: Tensor, label: Tensor) -> None:
        clip = self._clip
        # The official protocol leaves out a clip's last window: a window counts when another frame follows it.
        if self.protocol == "official" and clip is not None and clip.frames >= self.window:
            self._count(clip)
        self._clip = clip = self._extend(clip, prediction, label)
        if self.protocol == "strict" and clip.frames >= self.window:
            self._count(clip)

    def _extend(self, clip: _OpenClip | None, prediction: Tensor, label: Tensor) -> _OpenClip:
        if clip is None:
            label_run = torch.ones(label.shape, dtype=torch.int32, device=label.device)
            prediction_run, frames = label_run, 1
        else:
            label_run = clip.label_run * (label == clip.label) + 1
            prediction_run = clip.prediction_run * (prediction == clip.prediction) + 1
            frames = clip.frames + 1
        if self.protocol == "strict":
            label_run = label_run * (label != IGNORE_INDEX)
            prediction_run = prediction_run * (prediction == label)
        return _OpenClip(prediction, label, prediction_run, label_run, frames)

    def _count(self, clip: _OpenClip) -> None:
        """Add the window that ends with the clip's last frame; a pixel is constant in it if its run is at least n frames."""
        constant = clip.label_run >= self.window
        consistent = (constant & (clip.prediction_run >= self.window)).sum()
        pixels = constant.sum()
        share = torch.where(pixels > 0, consistent.double() / pixels, 0.0)
        units = (share * 2.0**_RESOLUTION).round().long()
        self.share_high += units >> _LOW_BITS
        self.share_low += units & ((1 << _LOW_BITS) - 1)
        self.windows += pixels > 0
