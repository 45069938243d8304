"""Image change of a stream, measured on thumbnails: change since the key frame, and scene cuts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from src.inference.scheduling.signals import blend, difference_and_similarity, kept_share, thumbnail, thumbnail_multiply_adds
from src.structures import KeyFrameState, Size

StateT = TypeVar("StateT")

_MEMORY = 100  # frames: a stop at a red light must not become typical, a change of road must
_CUT_RATIO = 2.0  # times the typical difference: in darkness or fog, noise makes neighbouring frames dissimilar
_DISSOLVE = 0.9  # correlation of the changes to a frame and to the next one: 1 if the first is a mixture
_KEPT_SHARE = 0.15  # of the picture: more than that of another shot, less than beside a passing car or in a fast pan


@dataclass(frozen=True)
class ChangeState:
    """Image change of a stream up to its latest frame.

    Attributes:
        thumbnail: thumbnail of the latest frame.
        change: change since the key frame, in frames of typical change.
        difference_sum: fading sum of the differences of neighbouring frames, grey levels; sudden ones add twice the typical one.
        difference_weight: fading number of these differences; the ratio of both is the typical difference.
        cut: True after a scene cut since the key frame.
        before: thumbnail of the frame before the latest one; ``None`` at the start of a shot.
        sudden: whether the latest frame differed suddenly, without a cut.
    """

    thumbnail: Tensor
    change: float = 0.0
    difference_sum: float = 0.0
    difference_weight: float = 0.0
    cut: bool = False
    before: Tensor | None = None
    sudden: bool = False

    def reset(self) -> ChangeState:
        """Return the state with the latest frame as the key frame."""
        return replace(self, change=0.0, cut=False)


@dataclass(frozen=True, kw_only=True)
class ChangeSettings:
    """Settings of the schedulers that measure image change.

    Args:
        weight: weight of image change relative to elapsed frames, 0..1; see :meth:`update_change`.
        cut_similarity: correlation of neighbouring thumbnails below which a scene cut is detected, if hardly anything of the
            earlier picture is left; -1 detects none.
        interval_shift: shortening of the first interval as a fraction of an interval, 0 <= shift < 1. Scores averaged over
            several shifts do not depend on the position of the key frames.

    Raises:
        ValueError: if a value is out of range.
    """

    weight: float = 0.3
    cut_similarity: float = 0.65
    interval_shift: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise ValueError(f"weight is {self.weight}; expected 0..1")
        if not -1 <= self.cut_similarity <= 1:
            raise ValueError(f"cut_similarity is {self.cut_similarity}; expected -1..1")
        if not 0 <= self.interval_shift < 1:
            raise ValueError(f"interval_shift is {self.interval_shift}; expected 0 <= interval_shift < 1")

    def signal_gflops(self, size: Size) -> float:
        """Return the cost of measuring the change of a frame of (H, W), GFLOPs."""
        return thumbnail_multiply_adds(size) / 1e9

    def update_change(self, image: Tensor, previous: ChangeState | None, start: float = 0.0) -> ChangeState:
        """Add the next frame of a stream.

        Each frame adds ``1 - weight + weight * difference / typical difference`` to the change: exactly 1 in even motion, where
        the change counts frames since the key frame, and more where the image changes more than usual.

        Args:
            image: (1, 3, H, W), RGB 0..255.
            previous: state of the frame before; ``None`` at the start of a stream.
            start: initial change.

        Raises:
            ValueError: if the batch is not one stream.
        """
        if len(image) != 1:
            raise ValueError(f"the batch has {len(image)} streams; expected 1, as key frames differ by stream; use step_streams")
        current = thumbnail(image)
        if previous is None or previous.thumbnail.shape != current.shape:
            return ChangeState(current, start)
        difference, similarity = difference_and_similarity(previous.thumbnail, current)
        typical = previous.difference_sum / previous.difference_weight if previous.difference_weight else None
        sudden = similarity < self.cut_similarity and (typical is None or difference > _CUT_RATIO * typical)
        cut = (sudden and kept_share(previous.thumbnail, current) < _KEPT_SHARE) or (
            (sudden or previous.sudden) and self._is_dissolve(previous.before, previous.thumbnail, current)
        )
        # A sudden difference does not measure typical motion, but a stream of cuts has to become typical.
        counted = difference if not sudden else 0.0 if typical is None else _CUT_RATIO * typical
        fade = 1 - 1 / _MEMORY
        total = fade * previous.difference_sum + counted
        count = fade * previous.difference_weight + (counted > 0 or not sudden)
        # In a stream of equal frames the typical difference is 0, and so is every difference.
        step = 1.0 if cut else 1 - self.weight + self.weight * (difference / (total / count) if total > 0 else 0.0)
        before = None if cut else previous.thumbnail
        return ChangeState(current, previous.change + step, total, count, previous.cut or cut, before, sudden and not cut)

    def _is_dissolve(self, before: Tensor | None, mixed: Tensor, current: Tensor) -> bool:
        """Return whether a cut has one frame that mixes both shots, as conversions of the frame rate produce it."""
        return (
            before is not None
            and difference_and_similarity(before, current)[1] < self.cut_similarity
            and blend(before, mixed, current) > _DISSOLVE
            and kept_share(before, current) < _KEPT_SHARE
        )


CUTS = ChangeSettings()
"""Detection of the scene cuts across which no masks are fused."""


def next_change(image: Tensor, before: KeyFrameState | None) -> ChangeState:
    """Return the change of a stream's images with its next one, (1, 3, H, W); ``before`` is ``None`` at the start."""
    previous = None if before is None else before.change
    assert previous is None or isinstance(previous, ChangeState)
    return CUTS.update_change(image, previous)


def restored(state: KeyFrameState | None, kind: type[StateT]) -> StateT | None:
    """Return the scheduler's own state from a stream's state; ``None`` at the start of a stream.

    Raises:
        ValueError: if the state comes from another scheduler.
    """
    schedule = None if state is None else state.schedule
    if schedule is not None and not isinstance(schedule, kind):
        raise ValueError(
            f"the stream's state comes from another scheduler: it has a {type(schedule).__name__}; expected a {kind.__name__}; "
            "start a new stream"
        )
    return schedule
