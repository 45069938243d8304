from functools import partial
from typing import get_args

import pytest

from src.inference.methods import method_names
from src.inference.scheduling.budget import Budget
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Mode
from src.web.methods import EVERY_FRAME, FLOWS, MODES, NO_COMPARISON, Method, comparisons, second_method
from src.web.schedules import Schedule

FIXED = Schedule("every k-th frame", "k", "key_interval", FixedInterval, 1, 30, 5, about="Every k-th frame.")
BUDGET = Schedule("within a budget", "%", "percent", Budget, 5, 100, 40)
SCHEDULES, SETTINGS = (FIXED, BUDGET), {FIXED.title: 5.0, BUDGET.title: 60.0}
FIRST = Method(FIXED, 5, "offline", "query")
second = partial(second_method, first=FIRST, schedules=SCHEDULES, settings=SETTINGS)


def test_every_flow_and_mode_has_an_explanation() -> None:
    assert set(FLOWS) == {"own", *method_names()} - {"per_frame"} and set(MODES) == set(get_args(Mode))


def test_a_second_method_differs_in_one_choice() -> None:
    names = comparisons(SCHEDULES, {"query": "The paper's.", "copy": FLOWS["copy"]})
    assert list(names) == [
        NO_COMPARISON, EVERY_FRAME, "flow: query", "flow: copy", "mode: offline", "mode: online",
        "key frames: every k-th frame", "key frames: within a budget",
    ]  # fmt: skip
    assert names["flow: copy"].endswith(FLOWS["copy"]) and names["key frames: every k-th frame"].endswith("Every k-th frame.")
    assert second(NO_COMPARISON) is None
    assert second("flow: copy") == Method(FIXED, 5, "offline", "copy")
    assert second("mode: online") == Method(FIXED, 5, "online", "query")
    assert second("key frames: within a budget") == Method(BUDGET, 60, "offline", "query")
    for same in ("flow: query", "mode: offline", "key frames: every k-th frame"):
        with pytest.raises(ValueError, match="the second method is the first"):
            second(same)


def test_without_a_choice_there_is_nothing_to_compare() -> None:
    assert list(comparisons((FIXED,), {"dis": ""})) == [NO_COMPARISON, EVERY_FRAME, "mode: offline", "mode: online"]


def test_methods_have_names_and_schedulers() -> None:
    every = second(EVERY_FRAME)
    assert every is not None and (str(every), every.scheduler()) == (EVERY_FRAME, None)
    assert str(FIRST) == "every k-th frame (5), offline, flow query" and FIRST.scheduler() == FixedInterval(5)
