"""Schedulers of an evaluation: their construction for each row, and the cost of the row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from src.files.tables import Row
from src.inference.evaluation.comparison import Job, MethodResult, SchedulerMaker
from src.inference.evaluation.table import result_row
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import KeyFrameScheduler
from src.inference.scheduling.signals import thumbnail_multiply_adds
from src.inference.scheduling.step_costs import StepCosts
from src.structures import Size

SCHEDULERS = ("fixed", "adaptive", "budget")


def check_schedulers(names: Sequence[str], interval_shifts: int, allowances: Sequence[float | None]) -> None:
    """Check names, number of runs and configured budget allowances (``None``: each row has its own) before a model is loaded."""
    if not names or interval_shifts < 1 or not set(names) <= set(SCHEDULERS):
        raise ValueError(
            f"schedulers={list(names)}, interval_shifts={interval_shifts}; expected some of {', '.join(SCHEDULERS)}, "
            "and at least 1"
        )
    if "budget" in names and any(allowance is not None for allowance in allowances):
        raise ValueError(
            f"budget.gflops and budget.ms are {list(allowances)}; expected null: a row's allowance is its fixed interval's cost"
        )


def scheduler_makers(
    names: Sequence[str],
    make_adaptive: Callable[..., Adaptive],
    make_budget: Callable[..., Budget],
    costs: Mapping[str, StepCosts],
    size: Size,
) -> dict[str, SchedulerMaker | None]:
    """Return the factories of a row's scheduler: adaptive at the row's key interval, budget at the cost of its fixed interval.

    Args:
        names: some of ``SCHEDULERS``.
        make_adaptive: constructor with ``key_interval`` and ``interval_shift``.
        make_budget: constructor with ``gflops`` and ``interval_shift``.
        costs: GFLOPs of the methods, without the signals of the schedulers.
        size: (H, W) of the network's input.
    """

    def adaptive(job: Job, interval_shift: float) -> KeyFrameScheduler:
        return make_adaptive(key_interval=float(job.key_interval), interval_shift=interval_shift)

    def budget(job: Job, interval_shift: float) -> KeyFrameScheduler:
        cost = costs[job.method]
        allowance = cost.mean(keys=1, nonkeys=job.key_interval - 1)
        return make_budget(gflops=allowance, interval_shift=interval_shift).with_costs(_with_signals(cost, size))

    makers: dict[str, SchedulerMaker | None] = {"fixed": None, "adaptive": adaptive, "budget": budget}
    return {name: makers[name] for name in names}


def scheduled_row(one: MethodResult, cost: StepCosts, size: Size, classes: Sequence[str]) -> Row:
    """Build a row with its measured cost: the key and non-key frames (``cost``), and the scheduler's signals of every frame."""
    result, interval = one.result, one.key_interval or 1
    fixed = one.scheduler == "fixed"
    spent = cost if fixed else _with_signals(cost, size)
    measured = spent.mean(result.key_times.frames, result.nonkey_times.frames)
    gflops = cost.mean(keys=1, nonkeys=interval - 1) if fixed else measured
    return result_row(one.method, interval, result, classes, gflops, one.scheduler, measured)


def _with_signals(cost: StepCosts, size: Size) -> StepCosts:
    signals = thumbnail_multiply_adds(size) / 1e9
    return replace(cost, key=cost.key + signals, nonkey=cost.nonkey + signals)
