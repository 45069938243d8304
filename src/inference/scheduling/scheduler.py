"""Interface of key-frame schedulers, and the fixed interval."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from src.structures import KeyFrameState, KeyReason


@dataclass(frozen=True)
class Decision:
    """Decision of a scheduler about one frame.

    Attributes:
        reason: reason to segment the frame; ``None``: propagate.
        schedule: state of the scheduler after the frame, to become ``KeyFrameState.schedule``.
    """

    reason: KeyReason | None
    schedule: object | None = None


class KeyFrameScheduler(Protocol):
    """Scheduler that decides frame by frame between segmentation and propagation.

    A scheduler is stateless: its state enters with the stream's state and leaves with the decision, so that one object serves
    any number of streams.
    """

    def decide(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """Decide about the next frame, before any network runs.

        Args:
            image: (B, 3, H, W), RGB 0..255, frame ``state.index + 1`` at the input size of the network.
            state: state of the stream after the previous frame; ``None`` at the start, where the frame is always a key frame.
        """
        ...


@runtime_checkable
class LatencyAwareScheduler(KeyFrameScheduler, Protocol):
    """Scheduler that adapts to the measured latency of frames."""

    def record_latency(self, state: KeyFrameState, milliseconds: float) -> object | None:
        """Update the scheduler's state by the latency of a frame.

        Args:
            state: state of the stream after that frame.
            milliseconds: from the decoded frame to its label map.

        Returns:
            New ``KeyFrameState.schedule``.
        """
        ...


@dataclass(frozen=True)
class FixedInterval:
    """Key frames at index 0 and wherever ``(index - phase) % key_interval == 0`` (paper: interval 5, phase 0).

    Args:
        key_interval: frames between key frames; 1 segments every frame.
        phase: 0 .. key_interval - 1, index of the first key frame after frame 0 (0 means ``key_interval``). A score averaged over
            all phases does not depend on the position of the key frames.

    Raises:
        ValueError: if a value is out of range.
    """

    key_interval: int = 5
    phase: int = 0

    def __post_init__(self) -> None:
        for name, value in (("key_interval", self.key_interval), ("phase", self.phase)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{name} is {value!r}; expected a whole number")
        if self.key_interval < 1:
            raise ValueError(f"key_interval is {self.key_interval}; expected at least 1")
        if not 0 <= self.phase < self.key_interval:
            raise ValueError(f"phase is {self.phase}; expected 0..{self.key_interval - 1} for key_interval {self.key_interval}")

    def decide(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """Decide by the frame's index; the image is not read."""
        if state is None:
            return Decision("first")
        return Decision("interval" if (state.index + 1 - self.phase) % self.key_interval == 0 else None)
