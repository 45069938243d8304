"""What a key frame and a propagated frame cost a stream."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepCosts:
    """Everything that is done for one frame, signals and post-processing included; in one unit, GFLOPs or milliseconds.

    Attributes:
        key: of a key frame.
        nonkey: of a propagated frame.
        rejection: what a key frame takes more where a propagation was computed first and thrown away: the segmentor on top of
            what a propagated frame has cost.

    Raises:
        ValueError: if a cost is negative.
    """

    key: float
    nonkey: float
    rejection: float

    def __post_init__(self) -> None:
        if min(self.key, self.nonkey, self.rejection) < 0:
            raise ValueError(f"{self}: expected no negative cost")

    @classmethod
    def of_parts(cls, key: float, propagate: float, every: float) -> StepCosts:
        """From the segmentor on a key frame, flow and warp on a propagated one, and what every frame takes besides."""
        return cls(key=key + every, nonkey=propagate + every, rejection=key)

    def mean(self, keys: int, rejected: int, nonkeys: int) -> float:
        """Per frame, over so many frames of each kind; those rejected are among the keys."""
        frames = keys + nonkeys
        spent = (keys - rejected) * self.key + rejected * (self.nonkey + self.rejection) + nonkeys * self.nonkey
        return spent / frames if frames else float("nan")
