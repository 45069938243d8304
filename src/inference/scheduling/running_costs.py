"""Running median of the latencies of a stream's frames."""

from dataclasses import dataclass, replace
from statistics import median_low
from typing import Self

from src.inference.scheduling.step_costs import StepCosts

_WINDOW = 9  # frames of a kind: four stalled frames do not move the median, five slower ones do


@dataclass(frozen=True)
class RunningCosts:
    """Latencies of the most recent frames of each kind, milliseconds, the latest last.

    Disturbances only ever slow a frame down, so the cost is the median (the lower of two middle values): warm-up and stalled
    frames are outvoted. The estimate made before the stream counts as one frame of each kind.
    """

    key: tuple[float, ...]
    nonkey: tuple[float, ...]

    @classmethod
    def starting_at(cls, costs: StepCosts) -> Self:
        """Start from an estimate."""
        return cls((costs.key,), (costs.nonkey,))

    def with_frame(self, is_key: bool, milliseconds: float) -> Self:
        """Add the latency of a frame."""
        if is_key:
            return replace(self, key=(*self.key, milliseconds)[-_WINDOW:])
        return replace(self, nonkey=(*self.nonkey, milliseconds)[-_WINDOW:])

    @property
    def costs(self) -> StepCosts:
        """Current cost of both kinds of frames, milliseconds."""
        return StepCosts(median_low(self.key), median_low(self.nonkey))
