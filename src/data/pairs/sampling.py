"""Choice of the frames of a training pair, or of a triplet: a labelled frame between two key frames.

All draws are keyed by ``(seed, number)``: pair ``n`` of a run is the same in any process and after any restart.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from src.data.samples import FramePair
from src.ops.random_streams import RandomStream
from src.structures import Clip

log = logging.getLogger(__name__)


class PairSampling(ABC):
    """Visits every labelled frame once per pass, in a new random order, and pairs it with another frame."""

    # No dataclasses: Hydra turns dataclass objects within extra_train into configs, which lack the methods.

    triplets: bool = False
    """True if the sampling gives a key frame on either side of the labelled frame."""

    def __init__(self) -> None:
        self._clips: Sequence[Clip] | None = None
        self._visited: NDArray[np.int64] = np.empty((0, 2), np.int64)

    def sample(self, clips: Sequence[Clip], number: int, seed: int) -> FramePair:
        """Return pair ``number`` of the run with ``seed``.

        Args:
            clips: the videos to draw from; must not change between calls.
            number: 0, 1, 2, ...; each pass of as many numbers as there are labelled frames visits all of them.
            seed: 0 or more.

        Raises:
            ValueError: if no frame of the clips is labelled.
        """
        if self._clips is not clips:
            self._visited = self._visited_frames(clips)
            self._clips = clips
        count = len(self._visited)
        clip, frame = (int(value) for value in self._visited[_visit_order(count, seed, number // count)[number % count]])
        return self._pair(clip, clips[clip], frame, np.random.default_rng((seed, RandomStream.PAIR_PARTNER, number)))

    def _visited_frames(self, clips: Sequence[Clip]) -> NDArray[np.int64]:
        """Return (N, 2): clip and frame of every label."""
        frames = [(index, frame) for index, clip in enumerate(clips) for frame in clip.labelled_frames]
        if not frames:
            names = ", ".join(clip.name for clip in clips[:3])
            raise ValueError(f"none of the {len(clips)} clips ({names}, ...) has a labelled frame; expected at least one")
        return np.array(frames, np.int64)

    @abstractmethod
    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        """Pair ``frame`` with another one."""


class _NearbySampling(PairSampling):
    """Pair of frames up to ``max_offset`` (at least 1) apart."""

    def __init__(self, max_offset: int) -> None:
        super().__init__()
        if max_offset < 1:
            raise ValueError(f"max_offset={max_offset}; expected at least 1 (frame)")
        self.max_offset = max_offset


class UniformSampling(_NearbySampling):
    """Labelled frame and one up to ``max_offset`` frames away: the earlier is key, the later (labelled) non-key (paper 4.1).

    The partner is uniform over the earlier frames and the labelled later ones. Without any (a clip of one frame), the frame is
    paired with itself.
    """

    def __init__(self, max_offset: int = 10) -> None:
        super().__init__(max_offset)

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        earlier = range(max(frame - self.max_offset, 0), frame)
        later = range(frame + 1, min(frame + self.max_offset + 1, len(clip)))
        partners = [*earlier, *(f for f in later if clip.labels[f] is not None)]
        partner = partners[rng.integers(len(partners))] if partners else frame
        return FramePair(index, key=min(frame, partner), nonkey=max(frame, partner))


class FixedOffsetSampling(PairSampling):
    """Every labelled frame with the frame at a fixed offset: ``key = nonkey + offset``.

    With a negative offset, the key frame is the earlier one. Near the ends of the clip, it is clamped to the first or last frame.
    """

    def __init__(self, offset: int = -3) -> None:
        super().__init__()
        self.offset = offset

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        return FramePair(index, key=min(max(frame + self.offset, 0), len(clip) - 1), nonkey=frame)


class SingleFrameSampling(PairSampling):
    """Every labelled frame with itself: per-frame training, and synthetic motion.

    Args:
        triplets: also as the key frame after itself, so that synthetic motion generates triplets.
    """

    def __init__(self, triplets: bool = False) -> None:
        super().__init__()
        self.triplets = triplets

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        return FramePair(index, key=frame, nonkey=frame, after=frame if self.triplets else None)


class TripletSampling(PairSampling):
    """Every labelled frame inside an interval of 2 to ``max_interval`` frames, between the key frames at its two ends.

    Length and place of the interval are uniform within the clip. The first and last frame of a clip are not between two frames
    and are left out; clips without a labelled frame between two frames are named in a warning.
    """

    triplets = True

    def __init__(self, max_interval: int = 10) -> None:
        super().__init__()
        if max_interval < 2:
            raise ValueError(f"max_interval={max_interval}; expected at least 2 (frames)")
        self.max_interval = max_interval

    def _visited_frames(self, clips: Sequence[Clip]) -> NDArray[np.int64]:
        frames = super()._visited_frames(clips)
        last = np.array([len(clip) - 1 for clip in clips])[frames[:, 0]]
        inside = frames[(frames[:, 1] > 0) & (frames[:, 1] < last)]
        left_out = [clips[index].name for index in sorted({*frames[:, 0].tolist()} - {*inside[:, 0].tolist()})]
        names = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
        if not len(inside):
            raise ValueError(
                f"no labelled frame of clips {names} is between two frames; expected a frame before and one after it"
            )
        if left_out:
            log.warning("clips without a labelled frame between two frames are left out: %s", names)
        return inside

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        last = len(clip) - 1
        interval = int(rng.integers(2, min(self.max_interval, last) + 1))
        key = int(rng.integers(max(frame - interval + 1, 0), min(frame - 1, last - interval) + 1))
        return FramePair(index, key=key, nonkey=frame, after=key + interval)


class FrameSampling(_NearbySampling):
    """Every frame, labelled or not, as non-key frame, with a key frame up to ``max_offset`` frames before or after it.

    For unlabelled videos: motion and pseudo-labels can be learned from any two frames.
    """

    def __init__(self, max_offset: int = 5) -> None:
        super().__init__(max_offset)

    def _visited_frames(self, clips: Sequence[Clip]) -> NDArray[np.int64]:
        return np.array([(index, frame) for index, clip in enumerate(clips) for frame in range(len(clip))], np.int64)

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        first, last = max(frame - self.max_offset, 0), min(frame + self.max_offset, len(clip) - 1)
        partners = [other for other in range(first, last + 1) if other != frame]
        return FramePair(index, key=partners[rng.integers(len(partners))] if partners else frame, nonkey=frame)


# A loader that prefetches reads from two passes at once, for training and for validation.
@lru_cache(maxsize=8)
def _visit_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, RandomStream.VISIT_ORDER, epoch)).permutation(count)
