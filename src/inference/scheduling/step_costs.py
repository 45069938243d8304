"""What a key frame and a propagated frame cost a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepCosts:
    """Everything that is done for one frame, signals and post-processing included; in one unit, GFLOPs or milliseconds.

    Attributes:
        key: of a key frame.
        nonkey: of a propagated frame.

    Raises:
        ValueError: if a cost is negative.
    """

    key: float
    nonkey: float

    def __post_init__(self) -> None:
        if min(self.key, self.nonkey) < 0:
            raise ValueError(f"{self}: expected no negative cost")

    @classmethod
    def of_parts(cls, key: float, propagate: float, every: float) -> StepCosts:
        """From the segmentor on a key frame, flow and warp on a propagated one, and what every frame takes besides."""
        return cls(key=key + every, nonkey=propagate + every)

    def mean(self, keys: int, nonkeys: int) -> float:
        """Return the mean cost per frame over a number of key and propagated frames; NaN for none."""
        frames = keys + nonkeys
        return (keys * self.key + nonkeys * self.nonkey) / frames if frames else float("nan")
