"""Key frames within a budget: so many GFLOPs, or milliseconds, per frame on average."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from torch import Tensor

from src.inference.scheduling.adaptive import check_change_options
from src.inference.scheduling.change import ChangeState, update_change
from src.inference.scheduling.running_costs import RunningCosts
from src.inference.scheduling.scheduler import Decision
from src.inference.scheduling.signals import thumbnail_multiply_adds
from src.inference.scheduling.step_costs import StepCosts
from src.structures import KeyFrameState, KeyReason, Size

Unit = Literal["gflops", "ms"]

_LONGEST = 100
"""Frames from key frame to key frame, where a machine is too slow for its milliseconds: no mask lives for ever."""


@dataclass(frozen=True)
class Account:
    """What a budget remembers of a stream.

    Attributes:
        watched: what was seen.
        credit: what is left of the allowances of all frames so far, in the budget's unit; negative: borrowed.
        measured: what frames took so far; ``None`` where costs are counted, or nobody has told.
    """

    watched: ChangeState
    credit: float
    measured: RunningCosts | None = None


@dataclass(frozen=True)
class Budget:
    """Key frames where they pay, at a fixed average cost per frame; causal: a frame is decided for when it comes.

    Every frame earns the allowance and pays what is done for it; what a key frame costs beyond the allowance is its *surcharge*.
    The change since the key frame (see :class:`src.inference.scheduling.adaptive.Adaptive`) has to reach the interval that the
    budget pays
    for in a stream of even motion, more while the account is overdrawn, less while it is in credit: a threshold that adapts to
    what the stream has spent.

    Law: any n frames in a row cost at most ``n * allowance + 2 * surcharge + reserve``, and the first n of a stream at most
    ``n * allowance + 2 * surcharge`` (more by the head start). So the average of a long run is within the budget, whatever the
    stream shows. The account is never overdrawn by more than two surcharges (one key frame on credit; a second one at
    a cut) and never saves more than the reserve: a surcharge, or what one propagated frame leaves over
    where that is more. A cut that cannot be paid waits.

    Milliseconds are priced by what the frames of the stream take while it runs (:meth:`learn`), with ``costs`` as a first guess.
    Where a price changes, the account keeps its balance in surcharges: what was borrowed for one key frame stays one key frame.

    Args:
        gflops: allowance per frame; or else
        ms: allowance per frame, on this machine; kept for the time that frames usually take (medians).
        weight: see :class:`src.inference.scheduling.adaptive.Adaptive`.
        cut_similarity: see :class:`src.inference.scheduling.adaptive.Adaptive`.
        interval_shift: share of an interval that the first one is shortened by, 0..1, and share of a surcharge that the account
            starts with.
        costs: what the two kinds of frames cost; see :meth:`with_costs`.

    Raises:
        ValueError: if not exactly one allowance is given, or it does not even pay for propagation.
    """

    gflops: float | None = None
    ms: float | None = None
    weight: float = 0.3
    cut_similarity: float = 0.65
    interval_shift: float = 0.0
    costs: StepCosts | None = None

    def __post_init__(self) -> None:
        if (self.gflops is None) == (self.ms is None) or not self.allowance > 0:
            raise ValueError(f"gflops is {self.gflops} and ms {self.ms}: expected one of them, and that more than 0")
        check_change_options(self.weight, self.cut_similarity, self.interval_shift)
        if self.costs is not None and self.costs.key <= self.costs.nonkey:
            raise ValueError(f"{self.costs}: a budget has nothing to choose where propagating costs no less than segmenting")
        if self.costs is not None and self.allowance <= self.costs.nonkey:
            raise ValueError(
                f"a budget of {self.allowance:.4g} {self.unit} a frame cannot be held: a propagated frame alone takes "
                f"{self.costs.nonkey:.4g}, a key frame {self.costs.key:.4g}"
            )

    @property
    def unit(self) -> Unit:
        """What the allowance is counted in."""
        return "ms" if self.gflops is None else "gflops"

    @property
    def allowance(self) -> float:
        """Per frame."""
        return self.gflops if self.gflops is not None else self.ms or 0.0

    def with_costs(self, costs: StepCosts) -> Self:
        """The same budget, knowing what frames cost, in its unit.

        Raises:
            ValueError: see the class.
        """
        return replace(self, costs=costs)

    def signal_gflops(self, size: Size) -> float:
        """What looking at a frame of (H, W) costs; pixelwise work on finished masks counts nothing, as everywhere."""
        return thumbnail_multiply_adds(size) / 1e9

    @property
    def key_interval(self) -> float:
        """Frames from key frame to key frame that the allowance pays for in a stream of even motion."""
        costs = self._known_costs()
        return max(1.0, (costs.key - costs.nonkey) / (self.allowance - costs.nonkey))

    @property
    def surcharge(self) -> float:
        """What a key frame costs beyond the allowance."""
        return max(0.0, self._known_costs().key - self.allowance)

    @property
    def reserve(self) -> float:
        """What the account saves at most."""
        return max(self.surcharge, self.allowance - self._known_costs().nonkey) if self.surcharge else 0.0

    def before(self, image: Tensor, state: KeyFrameState | None) -> Decision:
        """A key frame at a cut or after enough change, where the account has the means."""
        old = self._account(state)
        start = self.interval_shift * self.key_interval
        seen = update_change(image, None if old is None else old.watched, self.weight, self.cut_similarity, start)
        account = Account(seen, self.interval_shift * self.surcharge) if old is None else replace(old, watched=seen)
        priced = self._priced(account.measured)
        reason = "first" if state is None else priced._reason(account)
        if reason is None:
            return Decision(None, priced._paid(account, priced._known_costs().nonkey))
        return Decision(reason, priced._paid(replace(account, watched=seen.key()), priced._known_costs().key))

    def record_latency(self, state: KeyFrameState, milliseconds: float) -> object | None:
        """Correct the prices by the time that a frame took; a budget of GFLOPs, which are counted, has nothing to learn."""
        account = self._account(state)
        if self.unit != "ms" or account is None:
            return account
        known = account.measured or RunningCosts.starting_at(self._known_costs())
        measured = known.with_frame(state.reason is not None, milliseconds)
        before, after = self._priced(account.measured).surcharge, self._priced(measured).surcharge
        return replace(account, measured=measured, credit=account.credit * after / before if before else 0.0)

    def _priced(self, measured: RunningCosts | None) -> Self:
        """The budget at what frames take now, as near to that as it can be held."""
        if measured is None:
            return self
        costs = measured.costs
        if costs.key <= max(costs.nonkey, self.allowance):
            # Every frame is segmented; what propagating would cost is not asked.
            return replace(self, costs=replace(costs, key=self.allowance, nonkey=self.allowance / 2))
        most = max(0.0, self.allowance - (costs.key - self.allowance) / (_LONGEST - 1))
        return replace(self, costs=replace(costs, nonkey=min(costs.nonkey, most)))

    def _reason(self, account: Account) -> KeyReason | None:
        surcharge, seen = self.surcharge, account.watched
        if surcharge == 0:
            return "change"
        held = account.credit / surcharge
        if seen.cut and held >= -1:
            return "cut"
        # Half a frame: to the nearest one, as in Adaptive.
        enough = seen.change >= self.key_interval * (1 - held) - 0.5
        return "change" if enough and held >= -0.5 else None

    def _paid(self, account: Account, cost: float) -> Account:
        return replace(account, credit=min(account.credit + self.allowance - cost, self.reserve))

    def _account(self, state: KeyFrameState | None) -> Account | None:
        found = None if state is None else state.schedule
        if found is not None and not isinstance(found, Account):
            raise ValueError(f"the stream's state comes from another scheduler ({type(found).__name__}): start a new stream")
        return found

    def _known_costs(self) -> StepCosts:
        if self.costs is None:
            raise ValueError("the budget does not know yet what a frame costs: use the scheduler that with_costs returns")
        return self.costs
