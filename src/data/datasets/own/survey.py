"""Training settings that the frames of the user's own dataset suggest."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from src.data.clips import ClipDataset
from src.files.images.readers import image_size
from src.structures import Clip, Size

MotionSource = Literal["stills", "frames"]
"""Motion of training pairs: rendered from a labelled still, or also that between two frames of a video."""

CLOSE = 0.2
"""Seconds between frames that pair: the pairs of VIPSeg, 5 frames per second, are the farthest that models here train on."""
_LARGEST_CROP = 320
"""Pixels: a batch of lite0 trains in seconds on two CPU cores."""
_LIMIT = 200
"""Videos whose first frame is measured."""


@dataclass(frozen=True)
class Survey:
    """Counts of training frames.

    Attributes:
        labelled: frames with a label.
        paired: those with a frame at most ``CLOSE`` seconds before them.
        smallest: smallest height and smallest width of the first frames of the videos.
    """

    labelled: int
    paired: int
    smallest: Size

    @property
    def motion_from(self) -> MotionSource:
        """``frames`` if at least half of the labelled frames pair with a frame before them."""
        return "frames" if 2 * self.paired >= max(self.labelled, 1) else "stills"

    @property
    def crop_size(self) -> Size:
        """Training crop (H, W): multiples of 32 within the frames, at most 320 on each side, at least 32."""
        height, width = (max(min(side, _LARGEST_CROP) // 32 * 32, 32) for side in self.smallest)
        return height, width


def survey(dataset: ClipDataset) -> Survey:
    """Count the labelled frames of a dataset and measure its frames; errors as of :func:`image_size`."""
    paired = sum(_paired(clip, dataset.fps) for clip in dataset.clips)
    step = max(len(dataset.clips) // _LIMIT, 1)
    sizes = [image_size(clip.images[0]) for clip in dataset.clips[::step]]
    smallest = min(height for height, _ in sizes), min(width for _, width in sizes)
    return Survey(sum(len(clip.labelled_frames) for clip in dataset.clips), paired, smallest)


def _paired(clip: Clip, fps: float) -> int:
    numbers = _numbers(clip)
    return sum(frame > 0 and (numbers[frame] - numbers[frame - 1]) / fps <= CLOSE for frame in clip.labelled_frames)


def _numbers(clip: Clip) -> Sequence[int]:
    """Return the last number in each frame's name, or the positions of the frames where one has none."""
    found = [re.findall(r"\d+", path.stem) for path in clip.images]
    return [int(numbers[-1]) for numbers in found] if all(found) else range(len(clip))
