"""What frames of a stream have lately taken, as prices that follow the machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median_low
from typing import Self

from src.inference.scheduling.step_costs import StepCosts

_WINDOW = 9  # frames of a kind: four that the machine stood still at change nothing, five that it is slower at do


@dataclass(frozen=True)
class RunningCosts:
    """The last few times of each kind of frame.

    A cost is their median (the lower one of two): what delays a frame makes it slower and never faster, so that a warm-up, or a
    frame that the machine stood still at, is outvoted. What was measured before the stream counts as one frame of each kind.

    Attributes:
        key: milliseconds of key frames, the latest last.
        nonkey: of propagated frames.
    """

    key: tuple[float, ...]
    nonkey: tuple[float, ...]

    @classmethod
    def starting_at(cls, costs: StepCosts) -> Self:
        """With nothing but what was measured before."""
        return cls((costs.key,), (costs.nonkey,))

    def with_frame(self, is_key: bool, milliseconds: float) -> Self:
        """One more frame was timed."""
        if is_key:
            return replace(self, key=(*self.key, milliseconds)[-_WINDOW:])
        return replace(self, nonkey=(*self.nonkey, milliseconds)[-_WINDOW:])

    @property
    def costs(self) -> StepCosts:
        """The prices as they are now."""
        return StepCosts(median_low(self.key), median_low(self.nonkey))
