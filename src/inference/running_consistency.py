"""Video consistency of clips that come frame by frame and may be of any length."""

from __future__ import annotations

import torch
from torch import Tensor

from src.metrics.video_consistency import VideoConsistency


class RunningConsistency:
    """:class:`VideoConsistency`, protocol ``official``, in memory that does not grow with the clips.

    Args:
        window: n, in frames; at most 2 n frames are held.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._metric = VideoConsistency(window, protocol="official")
        self._frames: list[tuple[Tensor, Tensor]] = []

    def add(self, semantic_map: Tensor, label: Tensor) -> None:
        """The next frame of the clip, (H, W) each; values as :class:`VideoConsistency` wants them."""
        # Two bytes a pixel instead of int64's eight.
        self._frames.append((semantic_map.to(torch.int16), label.to(torch.int16)))
        if len(self._frames) == 2 * self.window:
            self._count()
            # The official protocol leaves out the last window of what it is given; the next part starts with that window.
            del self._frames[: -self.window]

    def end_clip(self) -> None:
        """No window reaches beyond the frames added so far."""
        self._count()
        self._frames.clear()

    def compute(self) -> Tensor:
        """Mean over all windows so far, float64, 0..1; NaN where there was none."""
        # torchmetrics warns where nothing was added.
        return self._metric.compute() if self._metric.update_called else torch.tensor(float("nan"), dtype=torch.float64)

    def _count(self) -> None:
        if len(self._frames) > self.window:
            maps, labels = (torch.stack(tensors).long() for tensors in zip(*self._frames, strict=True))
            self._metric.update(maps, labels)
