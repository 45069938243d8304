"""Which frames of a stream are key frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from src.structures import KeyFrameState


class KeyFrameScheduler(Protocol):
    """Decides, frame by frame, between segmenting and propagating. The first frame of a stream is always a key frame."""

    def is_key(self, image: Tensor, state: KeyFrameState) -> bool:
        """Whether ``image``, the frame after ``state.index``, is to be segmented anew.

        Args:
            image: (B, 3, H, W), RGB 0..255.
            state: what the stream remembers; its ``index`` and ``age`` are those of the frame before.
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

    def is_key(self, image: Tensor, state: KeyFrameState) -> bool:
        """Whether the frame after ``state.index`` is a key frame; the image itself is not read."""
        return (state.index + 1 - self.phase) % self.key_interval == 0
