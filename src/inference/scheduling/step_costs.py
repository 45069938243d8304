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

    @classmethod
    def of_parts(
        cls, key: float, propagate: float, post: float, signal: float = 0.0, sources: int = 1, sources_of_key: int = 0
    ) -> StepCosts:
        """Add up the parts of both kinds of frames.

        Args:
            key: segmentor.
            propagate: flow and warp from one key frame.
            post: post-processing of the prediction of one key frame.
            signal: change signal, on every frame.
            sources: key frames that a non-key frame is propagated from.
            sources_of_key: key frames whose masks are carried to a key frame, to be fused with its own.
        """
        carried = propagate + post
        return cls(key=key + post + sources_of_key * carried + signal, nonkey=sources * carried + signal)

    def mean(self, keys: int, nonkeys: int) -> float:
        """Return the mean cost per frame over a number of key and propagated frames; NaN for none."""
        frames = keys + nonkeys
        return (keys * self.key + nonkeys * self.nonkey) / frames if frames else float("nan")
