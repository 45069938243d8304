"""Which frames of a stream are key frames: what a scheduler is, and the fixed interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from src.structures import KeyFrameState, KeyReason


@dataclass(frozen=True)
class Decision:
    """What a scheduler says about one frame.

    Attributes:
        reason: why the frame is to be segmented; ``None``: it is to be propagated.
        schedule: what the scheduler remembers of the stream from now on; it becomes ``KeyFrameState.schedule``.
    """

    reason: KeyReason | None
    schedule: object | None = None


class KeyFrameScheduler(Protocol):
    """Decides, frame by frame, between segmenting and propagating.

    It remembers nothing: what it knows of a stream goes in with the state and comes out with the decision, so that one object
    serves any number of streams.
    """

    def before(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """Decide before anything is computed for a frame.

        Args:
            image: (B, 3, H, W), RGB 0..255, the frame after ``state.index`` as the network sees it.
            state: what the stream remembers, its ``index`` and ``age`` those of the frame before; ``None`` at the start of a
                stream, whose first frame is always a key frame.
        """
        ...


@runtime_checkable
class LearningScheduler(KeyFrameScheduler, Protocol):
    """One that wants to know what its frames took."""

    def record_latency(self, state: KeyFrameState, milliseconds: float) -> object | None:
        """What to remember once it is known how long a frame took.

        Args:
            state: behind that frame.
            milliseconds: from the decoded frame to its label map.

        Returns:
            The new ``KeyFrameState.schedule``.
        """
        ...


@dataclass(frozen=True)
class FixedInterval:
    """A key frame at index 0 and at every index with ``(index - phase) % key_interval == 0`` (paper: interval 5, phase 0).

    Args:
        key_interval: frames from one key frame to the next; 1 segments every frame.
        phase: 0 .. key_interval - 1, index of the first key frame after frame 0 (0 means ``key_interval`` itself). Averaging a
            score over all phases takes the luck of the key frames' positions out of it.

    Raises:
        ValueError: if a value is out of range.
    """

    key_interval: int = 5
    phase: int = 0

    def __post_init__(self) -> None:
        for name, value in (("key_interval", self.key_interval), ("phase", self.phase)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{name} is {value!r}, expected a whole number")
        if self.key_interval < 1:
            raise ValueError(f"key_interval is {self.key_interval}, expected at least 1")
        if not 0 <= self.phase < self.key_interval:
            raise ValueError(f"phase is {self.phase}, expected 0..{self.key_interval - 1} for key_interval {self.key_interval}")

    def before(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """A key frame where its turn has come; the image itself is not read."""
        if state is None:
            return Decision("first")
        return Decision("interval" if (state.index + 1 - self.phase) % self.key_interval == 0 else None)
