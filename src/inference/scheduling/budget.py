"""Budget scheduler: key frames at a fixed mean cost per frame, in GFLOPs, milliseconds or percent of segmenting every frame."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import Tensor

from src.inference.scheduling.change import ChangeSettings, ChangeState, restored
from src.inference.scheduling.running_costs import RunningCosts
from src.inference.scheduling.scheduler import Decision
from src.inference.scheduling.step_costs import StepCosts
from src.structures import KeyFrameState, KeyReason

Unit = Literal["gflops", "ms"]

_MAX_INTERVAL = 100
"""Frames between key frames on a machine that is too slow for its budget in milliseconds."""


@dataclass(frozen=True)
class BudgetState:
    """State of a budget in one stream.

    Attributes:
        change: image change of the stream.
        credit: unspent budget of all frames so far, in the budget's unit; negative if overdrawn.
        latencies: measured latencies; ``None`` for a budget in GFLOPs, and before the first measurement.
    """

    change: ChangeState
    credit: float
    latencies: RunningCosts | None = None


@dataclass(frozen=True)
class Budget(ChangeSettings):
    """Key frames at a fixed mean cost per frame, decided causally.

    Every frame adds the budget per frame to a credit and subtracts its own cost. A key frame is due when the change since the
    last one reaches the interval that the budget pays for in a stream of even motion; the threshold rises while the credit is
    negative and falls while it is positive.

    Law: any n consecutive frames cost at most ``n * per_frame + 2 * key_excess + max_credit``, and the first n frames of a
    stream at most ``n * per_frame + 2 * key_excess`` (plus the initial credit of ``interval_shift``), where ``key_excess`` is the
    cost of a key frame beyond the budget per frame. The mean cost of a long stream is therefore within the budget, whatever it
    shows. The credit is at least ``-2 * key_excess`` (one key frame on credit, and a second one at a cut) and at most
    ``max_credit``: one key excess, or the unspent part of a propagated frame if that is more. A cut that cannot be paid waits.

    A budget in milliseconds uses the measured latencies of the stream (:meth:`record_latency`), with ``costs`` as the first
    estimate. When costs change, the credit keeps its value in key excesses: a key frame on credit stays one key frame.

    Args:
        gflops: budget per frame in GFLOPs, or ``None``.
        ms: budget per frame in milliseconds of this machine, or ``None``; held for typical (median) latencies.
        percent: budget in percent of the GFLOPs of a key frame, 0 < percent <= 100, or ``None``.
        costs: cost of both kinds of frames, in the budget's unit; see :meth:`with_costs`.
        weight, cut_similarity: see :class:`~src.inference.scheduling.change.ChangeSettings`.
        interval_shift: see :class:`~src.inference.scheduling.change.ChangeSettings`; also the initial credit in key excesses.

    Raises:
        ValueError: unless exactly one of ``gflops``, ``ms`` and ``percent`` is given, and it pays for a propagated frame.
    """

    gflops: float | None = None
    ms: float | None = None
    percent: float | None = None
    costs: StepCosts | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [value for value in (self.gflops, self.ms, self.percent) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                f"gflops is {self.gflops}, ms is {self.ms} and percent is {self.percent}; expected exactly one of them, above 0"
            )
        if self.percent is not None and self.percent > 100:
            raise ValueError(f"percent is {self.percent}; expected at most 100, which segments every frame")
        if self.costs is not None and self.costs.key <= self.costs.nonkey:
            raise ValueError(f"{self.costs}; expected a more expensive key frame; segment every frame instead")
        if self.costs is not None and self.per_frame <= self.costs.nonkey:
            raise ValueError(
                f"the budget is {self.per_frame:.4g} {self.unit} a frame; expected more than the {self.costs.nonkey:.4g} of a "
                f"propagated frame (a key frame costs {self.costs.key:.4g})"
            )

    @property
    def unit(self) -> Unit:
        """Unit of the budget."""
        return "gflops" if self.ms is None else "ms"

    @property
    def per_frame(self) -> float:
        """Budget per frame; of a budget in percent only with known costs."""
        if self.percent is not None:
            return self.percent / 100 * self._known_costs().key
        return self.gflops if self.gflops is not None else self.ms or 0.0

    def with_costs(self, costs: StepCosts) -> Self:
        """Return the same budget with known costs."""
        return replace(self, costs=costs)

    @property
    def key_interval(self) -> float:
        """Frames between key frames that the budget pays for in a stream of even motion."""
        costs = self._known_costs()
        return max(1.0, (costs.key - costs.nonkey) / (self.per_frame - costs.nonkey))

    @property
    def key_excess(self) -> float:
        """Cost of a key frame beyond the budget per frame."""
        return max(0.0, self._known_costs().key - self.per_frame)

    @property
    def max_credit(self) -> float:
        """Upper bound of the credit."""
        return max(self.key_excess, self.per_frame - self._known_costs().nonkey) if self.key_excess else 0.0

    def decide(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """Decide for a key frame at a cut or after enough change, if the credit allows it."""
        old = restored(state, BudgetState)
        start = self.interval_shift * self.key_interval
        change = self.update_change(image, None if old is None else old.change, start)
        new = BudgetState(change, self.interval_shift * self.key_excess) if old is None else replace(old, change=change)
        current = self._with_latencies(new.latencies)
        costs = current._known_costs()
        reason = "first" if state is None else current._reason(new)
        cost = costs.nonkey if reason is None else costs.key
        credit = min(new.credit + self.per_frame - cost, current.max_credit)
        return Decision(reason, replace(new, change=change if reason is None else change.reset(), credit=credit))

    def record_latency(self, state: KeyFrameState, milliseconds: float) -> object | None:
        """Update the costs of a budget in milliseconds by the latency of a frame; a budget in GFLOPs is not changed."""
        old = restored(state, BudgetState)
        if self.unit != "ms" or old is None:
            return old
        latencies = old.latencies or RunningCosts.starting_at(self._known_costs())
        latencies = latencies.with_frame(state.reason is not None, milliseconds)
        before, after = self._with_latencies(old.latencies).key_excess, self._with_latencies(latencies).key_excess
        return replace(old, latencies=latencies, credit=old.credit * after / before if before else 0.0)

    def _with_latencies(self, latencies: RunningCosts | None) -> Self:
        """Return the budget at measured costs, limited to costs at which it can be held."""
        if latencies is None:
            return self
        costs = latencies.costs
        if costs.key <= max(costs.nonkey, self.per_frame):
            # Every frame is segmented, so the cost of propagation has no effect.
            return replace(self, costs=StepCosts(key=self.per_frame, nonkey=self.per_frame / 2))
        highest = max(0.0, self.per_frame - (costs.key - self.per_frame) / (_MAX_INTERVAL - 1))
        return replace(self, costs=replace(costs, nonkey=min(costs.nonkey, highest)))

    def _reason(self, state: BudgetState) -> KeyReason | None:
        if self.key_excess == 0:
            return "change"
        credit = state.credit / self.key_excess
        if state.change.cut and credit >= -1:
            return "cut"
        # Half a frame of tolerance, as in Adaptive.
        due = state.change.change >= self.key_interval * (1 - credit) - 0.5
        return "change" if due and credit >= -0.5 else None

    def _known_costs(self) -> StepCosts:
        if self.costs is None:
            raise ValueError("the costs of the budget are missing; expected a scheduler returned by with_costs")
        return self.costs
