"""Key frames where the picture asks for them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from src.inference.scheduling.change import ChangeState, restored, update_change
from src.inference.scheduling.scheduler import Decision
from src.inference.scheduling.signals import thumbnail_multiply_adds
from src.structures import KeyFrameState, KeyReason, Size


@dataclass(frozen=True)
class Adaptive:
    """A key frame at every scene cut, where enough has changed since the last one.

    Cut and change are seen on thumbnails before anything else is computed for a frame. In a stream of even motion without cuts
    this is :class:`~src.inference.scheduling.scheduler.FixedInterval`, which is then as good as any: the loss grows with distance
    about
    evenly, and what grows evenly is least at equal intervals.

    Args:
        key_interval: frames of typical change from key frame to key frame.
        min_interval: no two key frames lie closer than this, frames; a cut within it waits.
        max_interval: no two lie further apart; ``None``: three times ``key_interval``.
        weight: of what is seen against what has passed, 0..1; see :func:`src.inference.scheduling.change.update_change`.
        cut_similarity: neighbouring frames whose thumbnails correlate less than this are a scene cut; -1 sees no cut.
        interval_shift: share of an interval that the first one is shortened by, 0..1. Scores averaged over several have no luck
            in the position of the key frames.

    Raises:
        ValueError: if a value is out of range.
    """

    key_interval: float = 5.0
    min_interval: int = 1
    max_interval: int | None = None
    weight: float = 0.3
    cut_similarity: float = 0.65
    interval_shift: float = 0.0

    def __post_init__(self) -> None:
        if not self.key_interval >= 1:
            raise ValueError(f"key_interval is {self.key_interval}, expected at least 1")
        if self.min_interval < 1 or self.longest < self.min_interval:
            raise ValueError(
                f"min_interval is {self.min_interval}, max_interval {self.longest}; expected 1 <= min_interval <= max_interval"
            )
        check_change_options(self.weight, self.cut_similarity, self.interval_shift)

    @property
    def longest(self) -> int:
        """The max_interval in frames."""
        return max(self.min_interval, round(3 * self.key_interval)) if self.max_interval is None else self.max_interval

    def signal_gflops(self, size: Size) -> float:
        """What looking at a frame of (H, W) costs; pixelwise work on finished masks counts nothing, as everywhere."""
        return thumbnail_multiply_adds(size) / 1e9

    def before(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """A key frame at a cut, after enough change, or at the max_interval."""
        seen = update_change(image, restored(state), self.weight, self.cut_similarity, self.interval_shift * self.key_interval)
        reason = None if state is None else self._reason(seen, state.age + 1)
        return Decision("first", seen) if state is None else Decision(reason, seen if reason is None else seen.key())

    def _reason(self, seen: ChangeState, age: int) -> KeyReason | None:
        if age < self.min_interval:
            return None
        if seen.cut:
            return "cut"
        # To the nearest frame: even motion counts 1 a frame up to rounding.
        if seen.change >= self.key_interval - 0.5:
            return "change"
        return "max_interval" if age >= self.longest else None


def check_change_options(weight: float, cut_similarity: float, interval_shift: float) -> None:
    """Refuse what :func:`src.inference.scheduling.change.update_change` cannot use.

    Raises:
        ValueError: names the value.
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}, expected 0..1")
    if not -1 <= cut_similarity <= 1:
        raise ValueError(f"cut_similarity is {cut_similarity}, expected -1..1")
    if not 0 <= interval_shift < 1:
        raise ValueError(f"interval_shift is {interval_shift}, expected 0 <= interval_shift < 1")
