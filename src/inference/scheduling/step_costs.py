"""Cost of a key frame and of a propagated frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepCosts:
    """Total cost of a key and of a propagated frame, change signals and post-processing included, in GFLOPs or milliseconds."""

    key: float
    nonkey: float

    def __post_init__(self) -> None:
        if min(self.key, self.nonkey) < 0:
            raise ValueError(f"costs are {self.key} and {self.nonkey}; expected no negative cost")

    def mean(self, keys: int, nonkeys: int) -> float:
        """Return the mean cost per frame over a number of key and propagated frames; NaN for none."""
        frames = keys + nonkeys
        return (keys * self.key + nonkeys * self.nonkey) / frames if frames else float("nan")
