"""Adaptive scheduler: key frames at scene cuts and after enough image change."""

from dataclasses import dataclass

from torch import Tensor

from src.inference.scheduling.change import ChangeSettings, ChangeState, restored
from src.inference.scheduling.scheduler import Decision
from src.structures import KeyFrameState, KeyReason


@dataclass(frozen=True)
class Adaptive(ChangeSettings):
    """Key frames at every scene cut, and where the image has changed enough since the last key frame.

    In a stream of even motion without cuts the result is :class:`~src.inference.scheduling.scheduler.FixedInterval`, which is
    close to optimal if the error grows linearly with the age of the key frame (``docs/scheduling.md``).

    Args:
        key_interval: frames of typical change between key frames.
        min_interval: minimum number of frames between key frames; a cut detected earlier is acted on at the minimum.
        max_interval: maximum number of frames between key frames; ``None``: three times ``key_interval``.
        weight, cut_similarity, interval_shift: see :class:`~src.inference.scheduling.change.ChangeSettings`.

    Raises:
        ValueError: if a value is out of range.
    """

    key_interval: float = 5.0
    min_interval: int = 1
    max_interval: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.key_interval >= 1:
            raise ValueError(f"key_interval is {self.key_interval}; expected at least 1")
        if not 1 <= self.min_interval <= self._longest:
            raise ValueError(
                f"min_interval is {self.min_interval}, max_interval {self._longest}; expected 1 <= min_interval <= max_interval"
            )

    def decide(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """Decide for a key frame at a cut, after enough change, or at the longest interval."""
        change = self.update_change(image, restored(state, ChangeState), self.interval_shift * self.key_interval)
        if state is None:
            return Decision("first", change)
        reason = self._reason(change, state.age + 1)
        return Decision(reason, change if reason is None else change.reset())

    @property
    def _longest(self) -> int:
        return max(self.min_interval, round(3 * self.key_interval)) if self.max_interval is None else self.max_interval

    def _reason(self, change: ChangeState, age: int) -> KeyReason | None:
        if age < self.min_interval:
            return None
        if change.cut:
            return "cut"
        # Half a frame of tolerance: even motion adds 1 a frame only up to rounding.
        if change.change >= self.key_interval - 0.5:
            return "change"
        return "max_interval" if age >= self._longest else None
