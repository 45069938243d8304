"""The ways to place key frames that the page offers, each with the one number that a slider sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.scheduling.step_costs import StepCosts


@dataclass(frozen=True)
class BudgetShare:
    """A budget that is told as a share, because what a frame costs is known only with the clip.

    Attributes:
        percent: of the GFLOPs that segmenting every frame takes.
    """

    percent: float = 40.0

    def of(self, costs: StepCosts) -> Budget:
        """The budget, in GFLOPs.

        Raises:
            ValueError: if it does not even pay for propagation.
        """
        return Budget(gflops=self.percent / 100 * costs.key).with_costs(costs)


@dataclass(frozen=True)
class Schedule:
    """A kind of scheduler and the range of its setting.

    Args:
        title: what the page calls it.
        setting: what the slider sets, with its unit.
        argument: the scheduler's own name for that.
        make: builds the scheduler from it.
        minimum: of the slider.
        maximum: of the slider.
        value: where the slider stands at first.
        step: of the slider; with a step of 1 the scheduler gets whole numbers.

    Raises:
        ValueError: if the value is not within the range.
    """

    title: str
    setting: str
    argument: str
    make: Callable[..., KeyFrameScheduler | BudgetShare]
    minimum: float
    maximum: float
    value: float
    step: float = 1

    def __post_init__(self) -> None:
        if not self.minimum <= self.value <= self.maximum or self.step <= 0:
            raise ValueError(
                f"{self.title}: the {self.setting} is {self.value} in steps of {self.step}, "
                f"expected {self.minimum}..{self.maximum} and a positive step"
            )

    def scheduler(self, value: float) -> KeyFrameScheduler | BudgetShare:
        """The scheduler at a position of the slider.

        Raises:
            ValueError: if the scheduler refuses the value.
        """
        whole = float(self.step).is_integer() and float(value).is_integer()
        return self.make(**{self.argument: int(value) if whole else float(value)})
