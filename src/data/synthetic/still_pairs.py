"""Two-frame clips from labelled stills, to evaluate flow without test clips."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.data.clips import ClipDataset
from src.data.samples import PairSample
from src.data.synthetic.stills.motion import SyntheticMotion
from src.structures import Clip

KEY, NONKEY = 0, 1
"""Frame numbers: the rendered frame is first, the still second."""


class StillPairs(ClipDataset):
    """Clip of two labelled frames with known flow for each labelled frame of another data set.

    Args:
        stills: data set with labelled frames.
        motion: generator of the pairs.
        seed: with the number of a still, key of every draw for its pair.
    """

    def __init__(self, stills: ClipDataset, motion: SyntheticMotion, seed: int = 0) -> None:
        self.stills = stills
        self.motion = motion
        self.seed = seed
        self.classes: tuple[str, ...] = tuple(stills.classes)
        self.chosen_colors = stills.chosen_colors
        self.fps = 1.0
        self._frames = [(clip, frame) for clip, frames in enumerate(stills.clips) for frame in frames.labelled_frames]
        self.clips = [_clip(stills.clips[clip], frame) for clip, frame in self._frames]
        self._last: tuple[int, PairSample, Tensor] | None = None

    def read_image(self, clip: int, frame: int, interleaved: bool = False) -> Tensor:
        """Read one frame, (3, H, W) uint8 RGB."""
        pair, _ = self._pair(clip)
        return pair.key_image if frame == KEY else pair.nonkey_image

    def read_label(self, clip: int, frame: int, dtype: torch.dtype = torch.int64) -> Tensor:
        """Read a label, (H, W) of that type: classes 0..K-1 or ``IGNORE_INDEX``."""
        pair, key_label = self._pair(clip)
        return (key_label if frame == KEY else pair.nonkey_label).to(dtype)

    def read_flow(self, clip: int, nonkey: int, key: int) -> Tensor | None:
        """Return (2, H, W) from the still to the rendered frame, NaN where the source is hidden; ``None`` for the reverse."""
        return self._pair(clip)[0].flow if (nonkey, key) == (NONKEY, KEY) else None

    def _pair(self, clip: int) -> tuple[PairSample, Tensor]:
        # Both frames, both labels and the flow of a clip are read in a row.
        if self._last is None or self._last[0] != clip:
            image, label = (read(*self._frames[clip]) for read in (self.stills.read_image, self.stills.read_label))
            self._last = clip, *self.motion.with_key_label(image, label, np.random.default_rng((self.seed, clip)))
        return self._last[1:]


def _clip(stills: Clip, frame: int) -> Clip:
    path: Path = stills.images[frame]
    return Clip(f"{stills.name}_{path.stem}", (path, path), (stills.labels[frame],) * 2)
