"""Choice of the frames of a training pair, of a triplet (a labelled frame between two key frames) or of a clip.

All draws are keyed by ``(seed, number)``: pair ``n`` of a run is the same in any process and after any restart.
"""

from __future__ import annotations

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
    frames_between: int = 0
    """Frames between key and labelled frame: more than 0 for clips."""

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

    def for_validation(self) -> PairSampling:
        """Return the sampling of validation samples."""
        return self

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
        frames_between: also as so many frames between, so that synthetic motion generates clips.
    """

    def __init__(self, triplets: bool = False, frames_between: int = 0) -> None:
        super().__init__()
        self.triplets = triplets
        self.frames_between = frames_between

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        after = frame if self.triplets else None
        return FramePair(index, key=frame, nonkey=frame, after=after, between=(frame,) * self.frames_between)


class ClipSampling(PairSampling):
    """Every video once per pass: a labelled frame and its references at fixed distances, forward or backward in time (MRCFA).

    A backward clip has its references after the labelled frame, oldest first in reversed time. The labelled frame is uniform
    among those with room for the references; without any in the drawn direction, the other direction is taken. Videos without
    such a frame are left out and named in a warning.

    Args:
        offsets: distances of the references from the labelled frame, in frames, oldest first; negative.
        reversed_probability: share of backward clips.
    """

    def __init__(self, offsets: Sequence[int] = (-9, -6, -3), reversed_probability: float = 0.5) -> None:
        super().__init__()
        if not offsets or list(offsets) != sorted(set(offsets)) or offsets[-1] >= 0:
            raise ValueError(f"offsets are {list(offsets)}; expected negative, rising numbers of frames, such as [-9, -6, -3]")
        if not 0 <= reversed_probability <= 1:
            raise ValueError(f"reversed_probability is {reversed_probability}; expected 0..1")
        self.offsets = tuple(offsets)
        self.reversed_probability = reversed_probability
        self.frames_between = len(offsets) - 1

    def _visited_frames(self, clips: Sequence[Clip]) -> NDArray[np.int64]:
        labelled = super()._visited_frames(clips)[:, 0]
        found = [index for index in sorted({*labelled.tolist()}) if any(self._targets(clips[index], sign) for sign in (1, -1))]
        what = f"has its references {[-offset for offset in self.offsets]} frames before or after"
        _leave_out(clips, {*range(len(clips))} - {*found}, what, everything=not found)
        return np.array([(index, 0) for index in found], np.int64)

    def for_validation(self) -> ClipSampling:
        """Return the sampling of forward clips only, as in a stream."""
        return ClipSampling(self.offsets, reversed_probability=0.0)

    def _targets(self, clip: Clip, sign: int) -> list[int]:
        """Return the labelled frames whose references are in the clip: before them for sign 1, after them for -1."""
        return [frame for frame in clip.labelled_frames if 0 <= frame + sign * self.offsets[0] < len(clip)]

    def _pair(self, index: int, clip: Clip, frame: int, rng: np.random.Generator) -> FramePair:
        sign = -1 if rng.random() < self.reversed_probability else 1
        targets = self._targets(clip, sign)
        if not targets:
            sign = -sign
            targets = self._targets(clip, sign)
        target = targets[rng.integers(len(targets))]
        key, *between = (target + sign * offset for offset in self.offsets)
        return FramePair(index, key=key, nonkey=target, between=tuple(between))


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
        _leave_out(
            clips, {*frames[:, 0].tolist()} - {*inside[:, 0].tolist()}, "is between two frames", everything=not len(inside)
        )
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


def _leave_out(clips: Sequence[Clip], left_out: set[int], what: str, everything: bool) -> None:
    """Warn of clips without a labelled frame of a property; if no clip has one (``everything``), raise ``ValueError``."""
    names = ", ".join([clips[index].name for index in sorted(left_out)][:3])
    names += f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
    if everything:
        raise ValueError(f"no labelled frame of clips {names} {what}; expected one that does; choose another sampling of frames")
    if left_out:
        log.warning("none of the labelled frames of some clips %s; left out: %s", what, names)


# A loader that prefetches reads from two passes at once, for training and for validation.
@lru_cache(maxsize=8)
def _visit_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, RandomStream.VISIT_ORDER, epoch)).permutation(count)
