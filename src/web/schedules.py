"""Key-frame schedulers that the demo page offers, each with one setting for a slider."""

from collections.abc import Callable
from dataclasses import dataclass

from src.inference.scheduling.scheduler import KeyFrameScheduler


@dataclass(frozen=True)
class Schedule:
    """Kind of scheduler with the range of its setting.

    Attributes:
        title: name on the page.
        setting: name and unit of the setting on the page.
        argument: name of the setting in the scheduler's constructor.
        make: constructor of the scheduler.
        value: initial value of the slider, between ``minimum`` and ``maximum``.
        step: step of the slider; for a step of 1 the scheduler gets an integer.
        about: explanation of the schedule on the page.
    """

    title: str
    setting: str
    argument: str
    make: Callable[..., KeyFrameScheduler]
    minimum: float
    maximum: float
    value: float
    step: float = 1
    about: str = ""

    def __post_init__(self) -> None:
        if not self.minimum <= self.value <= self.maximum or self.step <= 0:
            raise ValueError(
                f"{self.title}: {self.setting} is {self.value} with step {self.step}; "
                f"expected {self.minimum}..{self.maximum} and a positive step"
            )

    def scheduler(self, value: float) -> KeyFrameScheduler:
        """Return the scheduler for a value of the slider."""
        whole = float(self.step).is_integer() and float(value).is_integer()
        return self.make(**{self.argument: int(value) if whole else float(value)})
