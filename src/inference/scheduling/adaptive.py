"""Key frames where the picture asks for them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from src.inference.scheduling.change import ChangeState, restored, update_change
from src.inference.scheduling.rejection import Distrust
from src.inference.scheduling.scheduler import Decision
from src.inference.scheduling.signals import thumbnail_multiply_adds
from src.structures import FlowPrediction, KeyFrameState, KeyReason, MaskPrediction, Size


@dataclass(frozen=True)
class Adaptive:
    """A key frame at every scene cut, where enough has changed since the last one, and where a propagation is not to be trusted.

    Cut and change are seen on thumbnails before anything else is computed for a frame. In a stream of even motion without cuts
    this is :class:`~src.inference.scheduling.scheduler.FixedInterval`, which is then as good as any: the loss grows with distance
    about
    evenly, and what grows evenly is least at equal intervals.

    Args:
        key_interval: frames of typical change from key frame to key frame.
        floor: no two key frames lie closer than this, frames; a cut within it waits.
        ceiling: no two lie further apart; ``None``: three times ``key_interval``.
        weight: of what is seen against what has passed, 0..1; see :func:`src.inference.scheduling.change.update_change`.
        cut_similarity: neighbouring frames whose thumbnails correlate less than this are a scene cut; -1 sees no cut.
        distrust: when a finished propagation is thrown away; ``None``: never.
        interval_shift: share of an interval that the first one is shortened by, 0..1. Scores averaged over several have no luck
            in the position of the key frames.

    Raises:
        ValueError: if a value is out of range.
    """

    key_interval: float = 5.0
    floor: int = 1
    ceiling: int | None = None
    weight: float = 0.3
    cut_similarity: float = 0.65
    distrust: Distrust | None = None
    interval_shift: float = 0.0

    def __post_init__(self) -> None:
        if not self.key_interval >= 1:
            raise ValueError(f"key_interval is {self.key_interval}, expected at least 1")
        if self.floor < 1 or self.longest < self.floor:
            raise ValueError(f"floor is {self.floor} and ceiling {self.longest}, expected 1 <= floor <= ceiling")
        check_change_options(self.weight, self.cut_similarity, self.interval_shift)

    @property
    def longest(self) -> int:
        """The ceiling in frames."""
        return max(self.floor, round(3 * self.key_interval)) if self.ceiling is None else self.ceiling

    def signal_gflops(self, size: Size) -> float:
        """What looking at a frame of (H, W) costs; pixelwise work on finished masks counts nothing, as everywhere."""
        return thumbnail_multiply_adds(size) / 1e9

    def before(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """A key frame at a cut, after enough change, or at the ceiling."""
        seen = update_change(image, restored(state), self.weight, self.cut_similarity, self.interval_shift * self.key_interval)
        reason = None if state is None else self._reason(seen, state.age + 1)
        return Decision("first", seen) if state is None else Decision(reason, seen if reason is None else seen.key())

    def after(
        self, image: Tensor, state: KeyFrameState, decision: Decision, prediction: MaskPrediction, flow: FlowPrediction
    ) -> Decision:
        """A key frame where the propagation is distrusted, unless the floor forbids it."""
        seen = decision.schedule
        assert isinstance(seen, ChangeState)
        if self.distrust is None or state.age + 1 < self.floor:
            return decision
        if not self.distrust.exceeded(seen, state.prediction, prediction, flow):
            return decision
        return Decision("distrust", seen.key())

    def _reason(self, seen: ChangeState, age: int) -> KeyReason | None:
        if age < self.floor:
            return None
        if seen.cut:
            return "cut"
        # To the nearest frame: even motion counts 1 a frame up to rounding.
        if seen.change >= self.key_interval - 0.5:
            return "change"
        return "ceiling" if age >= self.longest else None


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
