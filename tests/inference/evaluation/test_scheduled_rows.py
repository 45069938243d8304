"""Laws of schedulers in an evaluation: a budget gets the cost of its row's fixed interval, and rows state the measured cost."""

from dataclasses import replace
from functools import partial

import pytest

from src.inference.evaluation.comparison import Job, MethodResult
from src.inference.evaluation.fusing import FrameKind, Fusing
from src.inference.evaluation.scheduled_rows import check_schedulers, scheduled_row, scheduler_makers
from src.inference.evaluation.scores import StepTimes
from src.inference.scheduling.adaptive import Adaptive
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.signals import thumbnail_multiply_adds
from tests.inference.evaluation.test_table import RESULT

SIZE = (64, 96)


def cost(method: str, fusing: Fusing, kind: FrameKind) -> float:
    return 10 * kind.is_key + kind.flows


CLASSES = ("sky", "road")


def test_a_budget_has_the_cost_of_the_fixed_interval() -> None:
    makers = scheduler_makers(("fixed", "adaptive", "budget"), Adaptive, Budget, cost, SIZE)
    assert makers["fixed"] is None and makers["adaptive"] is not None and makers["budget"] is not None
    adaptive, budget = (makers[name](Job("dis", name, 4), 0.25) for name in ("adaptive", "budget"))  # type: ignore[misc]
    assert isinstance(adaptive, Adaptive) and (adaptive.key_interval, adaptive.interval_shift) == (4, 0.25)
    assert isinstance(budget, Budget) and budget.gflops == pytest.approx((10 + 3 * 1) / 4)


def test_a_fixed_row_states_its_interval_and_others_the_frames_that_were_run() -> None:
    result = replace(
        RESULT,
        key_times=StepTimes(1.0, 1.0, 1.0, 2),
        nonkey_times=StepTimes(1.0, 1.0, 1.0, 6),
        frames_by_kind={FrameKind(True, 0, 1): 2, FrameKind(False, 1, 1): 6},
    )
    row = partial(scheduled_row, gflops=cost, size=SIZE, classes=CLASSES)
    fixed = row(MethodResult("dis", 5, result))
    assert fixed["gflops"] == pytest.approx((10 + 4) / 5) and fixed["gflops_measured"] == pytest.approx((2 * 10 + 6) / 8)
    adaptive = row(MethodResult("dis", 5, result, "adaptive"))
    signals = thumbnail_multiply_adds(SIZE) / 1e9
    assert adaptive["gflops"] == adaptive["gflops_measured"] == pytest.approx((2 * 10 + 6) / 8 + signals)


def test_a_fused_row_counts_every_carried_key_frame() -> None:
    counts = {(True, 0, 1): 1, (True, 1, 2): 1, (True, 2, 3): 4, (False, 2, 2): 20, (False, 1, 1): 3}
    frames = {FrameKind(*kind): count for kind, count in counts.items()}
    both = MethodResult("dis", 5, replace(RESULT, frames_by_kind=frames), fusing=Fusing("offline", "linear", True))
    row, signals = scheduled_row(both, cost, SIZE, CLASSES), thumbnail_multiply_adds(SIZE) / 1e9
    assert row["gflops"] == pytest.approx((10 + 2 + 4 * 2) / 5 + signals)
    assert row["gflops_measured"] == pytest.approx((6 * 10 + 1 + 8 + 40 + 3) / 29 + signals)
    assert (row["mode"], row["fusion"], row["fuse_keys"]) == ("offline", "linear", True)
    assert (both.title, both.key) == ("dis, offline, linear, fused keys, k=5", "dis_offline_linear_fused_keys_k5")
    online = Fusing("online", "linear", True)
    assert scheduled_row(replace(both, fusing=online), cost, SIZE, CLASSES)["gflops"] == pytest.approx((11 + 4) / 5 + signals)
    make = scheduler_makers(("budget",), Adaptive, Budget, cost, SIZE)["budget"]
    assert make is not None
    budget = make(Job("dis", "budget", 5, both.fusing), 0.0)
    assert isinstance(budget, Budget) and budget.gflops == pytest.approx(row["gflops"]) and budget.costs is not None
    assert budget.costs.nonkey == pytest.approx(2 + 2 * signals)


@pytest.mark.parametrize(
    "names, shifts, allowance, message",
    [
        ([], 1, None, "expected some of fixed"),
        (["some"], 1, None, "expected some of fixed"),
        (["fixed"], 0, None, "at least 1"),
        (["budget"], 1, 2.0, "expected null"),
    ],
)
def test_impossible_schedulers_are_refused(names: list[str], shifts: int, allowance: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_schedulers(names, shifts, (allowance, None))


def test_a_budget_in_percent_is_that_share_of_segmenting_every_frame() -> None:
    make = scheduler_makers(("budget",), Adaptive, Budget, cost, SIZE, percent=40)["budget"]
    assert make is not None
    budget = make(Job("dis", "budget", 5), 0.0)
    assert isinstance(budget, Budget) and budget.costs is not None and budget.per_frame == 0.4 * budget.costs.key
    check_schedulers(["fixed", "budget"], 1, (None, None), 40, [1, 5])
    with pytest.raises(ValueError, match=r"budget.percent=40 gives the same row at each of key_intervals=\[2, 5\]"):
        check_schedulers(["budget"], 1, (None, None), 40, [2, 5])
