"""Schedulers of an evaluation: their construction for each row, and the cost of the row."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import nan

from src.files.tables import Row
from src.inference.evaluation.comparison import Job, MethodResult, SchedulerMaker
from src.inference.evaluation.fusing import FrameKind, Fusing
from src.inference.evaluation.table import result_row
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.scheduling.signals import thumbnail_multiply_adds
from src.inference.scheduling.step_costs import StepCosts
from src.structures import Size

SCHEDULERS = ("fixed", "adaptive", "budget")

FrameGflops = Callable[[str, Fusing, FrameKind], float]
"""GFLOPs of a kind of frame of a method and fusion."""


def check_schedulers(
    names: Sequence[str],
    interval_shifts: int,
    allowances: Sequence[float | None],
    percent: float | None = None,
    key_intervals: Sequence[int] = (),
) -> None:
    """Check names, number of runs and configured budgets (``None``: each row has its own) before a model is loaded."""
    if not names or interval_shifts < 1 or not set(names) <= set(SCHEDULERS):
        raise ValueError(
            f"schedulers={list(names)}, interval_shifts={interval_shifts}; expected some of {', '.join(SCHEDULERS)}, "
            "and at least 1"
        )
    if "budget" in names and any(allowance is not None for allowance in allowances):
        raise ValueError(
            f"budget.gflops and budget.ms are {list(allowances)}; expected null: a row's allowance is its fixed interval's cost; "
            "budget.percent sets another one"
        )
    if "budget" in names and percent is not None and sum(interval > 1 for interval in key_intervals) > 1:
        raise ValueError(
            f"budget.percent={percent:g} gives the same row at each of key_intervals={list(key_intervals)}; "
            "expected one key interval"
        )


def scheduler_makers(
    names: Sequence[str],
    make_adaptive: Callable[..., Adaptive],
    make_budget: Callable[..., Budget],
    gflops: FrameGflops,
    size: Size,
    percent: float | None = None,
) -> dict[str, SchedulerMaker | None]:
    """Return the factories of a row's scheduler: adaptive at the row's key interval, budget at the cost of its fixed interval.

    Args:
        names: some of ``SCHEDULERS``.
        make_adaptive: constructor with ``key_interval`` and ``interval_shift``.
        make_budget: constructor with ``gflops`` and ``interval_shift``.
        gflops: cost of the methods, without the signals of the schedulers.
        size: (H, W) of the network's input.
        percent: budget of all rows in percent of segmenting every frame, in place of the cost of their fixed intervals.
    """

    def adaptive(job: Job, interval_shift: float) -> KeyFrameScheduler:
        return make_adaptive(key_interval=float(job.key_interval), interval_shift=interval_shift)

    def budget(job: Job, interval_shift: float) -> KeyFrameScheduler:
        cost = _step_costs(job.method, job.fusing, gflops, size)
        allowance = cost.mean(keys=1, nonkeys=job.key_interval - 1)
        signals = thumbnail_multiply_adds(size) / 1e9
        known = replace(cost, key=cost.key + signals, nonkey=cost.nonkey + signals)
        amount = {"gflops": allowance} if percent is None else {"percent": percent}
        return make_budget(**amount, interval_shift=interval_shift).with_costs(known)

    makers: dict[str, SchedulerMaker | None] = {"fixed": None, "adaptive": adaptive, "budget": budget}
    return {name: makers[name] for name in names}


def scheduled_row(one: MethodResult, gflops: FrameGflops, size: Size, classes: Sequence[str]) -> Row:
    """Build a row with its measured cost: that of the frames run, and the signals of the scheduler and of cut detection."""
    result, interval, fixed = one.result, one.key_interval or 1, one.scheduler == "fixed"
    spent = sum(count * gflops(one.method, one.fusing, kind) for kind, count in result.frames_by_kind.items())
    frames = sum(result.frames_by_kind.values())
    measured = spent / frames + _signals(one.fusing, size, scheduled=not fixed) if frames else nan
    nominal = _step_costs(one.method, one.fusing, gflops, size).mean(keys=1, nonkeys=interval - 1) if fixed else measured
    return {**result_row(one.method, interval, result, classes, nominal, one.scheduler, measured), **one.fusing.columns}


def _step_costs(method: str, fusing: Fusing, gflops: FrameGflops, size: Size) -> StepCosts:
    """Return the cost of frames whose neighboring key frames are there."""
    signals = _signals(fusing, size, scheduled=False)
    return StepCosts(*(gflops(method, fusing, kind) + signals for kind in fusing.kinds))


def _signals(fusing: Fusing, size: Size, scheduled: bool) -> float:
    return (scheduled + (fusing.fusion is not None)) * thumbnail_multiply_adds(size) / 1e9
