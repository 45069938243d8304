"""Cross-entropy of the predictions of a clip: of each frame by itself, and of the target from its references (MRCFA)."""

from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from src.structures import IGNORE_INDEX

LabelledFrames = Literal["all", "target"]
"""Frames whose own predictions have a loss: all of a clip, or the target for data with few labels."""


class ClipSegmentationLoss(nn.Module):
    """Weighted cross-entropies, each averaged over all pixels of all maps, pixels without a class included.

    Args:
        frame_weight: weight of the predictions of single frames, for their own labels.
        clip_weight: weight of the predictions of the target from its references, for the target's label.
        frames: see :data:`LabelledFrames`.
    """

    def __init__(self, frame_weight: float = 0.5, clip_weight: float = 1.0, frames: LabelledFrames = "all") -> None:
        super().__init__()
        if frames not in get_args(LabelledFrames):
            raise ValueError(f"frames is {frames!r}; expected one of {', '.join(get_args(LabelledFrames))}")
        self.frame_weight = frame_weight
        self.clip_weight = clip_weight
        self.frames = frames

    def forward(
        self,
        frame_logits: Float[Tensor, "B T K _ _"],
        clip_logits: Float[Tensor, "B M K _ _"],
        labels: Int64[Tensor, "B T H W"],
    ) -> dict[str, Float[Tensor, ""]]:
        """Compute ``frames`` and ``clip``, weighted.

        Args:
            frame_logits: class logits of each frame by itself, references first, on any grid.
            clip_logits: M predictions of the target.
            labels: of every frame, the target last; ``IGNORE_INDEX`` where unknown.
        """
        if self.frames == "target":
            frame_logits, own = frame_logits[:, -1:], labels[:, -1:]
        else:
            own = labels
        target = labels[:, -1:].expand(-1, clip_logits.shape[1], -1, -1)
        return {
            "frames": self.frame_weight * _cross_entropy(frame_logits, own),
            "clip": self.clip_weight * _cross_entropy(clip_logits, target),
        }


def _cross_entropy(logits: Float[Tensor, "B M K _ _"], labels: Int64[Tensor, "B M H W"]) -> Float[Tensor, ""]:
    """Average over all pixels; those of ``IGNORE_INDEX`` count with 0, so that a map's weight grows with its labelled area."""
    size = (labels.shape[-2], labels.shape[-1])
    resized = F.interpolate(logits.flatten(0, 1).float(), size=size, mode="bilinear", align_corners=False)
    return F.cross_entropy(resized, labels.flatten(0, 1), ignore_index=IGNORE_INDEX, reduction="sum") / labels.numel()
