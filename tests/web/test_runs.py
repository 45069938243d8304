import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.web.runs import Run, RunQueue


class Waiter:
    """Prediction that ends when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, run: Run) -> str:
        self.begun.set()
        assert self.go.wait(60)
        return "result"


def ended(run: Run) -> bool:
    for _ in range(3000):
        if run.state == "ended":
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def finished() -> list[Run]:
    return []


@pytest.fixture
def queue(finished: list[Run]) -> RunQueue:
    return RunQueue(2, "cancelled", "failed", finished.append)


@pytest.fixture
def first(queue: RunQueue) -> Iterator[tuple[Run, Waiter]]:
    run, work = Run(Path("a")), Waiter()
    queue.add(run, work)
    assert work.begun.wait(60)
    yield run, work
    work.go.set()
    assert ended(run)


def test_runs_are_predicted_in_order_one_at_a_time(queue: RunQueue, first: tuple[Run, Waiter], finished: list[Run]) -> None:
    others, order = [Run(Path(name)) for name in "bc"], list[str]()
    for other in others:
        queue.add(other, lambda run: order.append(run.folder.name) or "")  # type: ignore[func-returns-value]
    assert [queue.ahead(run) for run in (first[0], *others)] == [0, 1, 2]
    assert [run.state for run in (first[0], *others)] == ["running", "waiting", "waiting"]
    with pytest.raises(ValueError, match="2 predictions wait already; try again later"):
        queue.add(Run(Path("d")), lambda run: "")
    first[1].go.set()
    assert all(map(ended, others)) and order == ["b", "c"] and first[0].result == "result"
    assert finished == [first[0], *others]


def test_a_run_that_is_stopped_leaves_the_queue_at_once(queue: RunQueue, first: tuple[Run, Waiter], finished: list[Run]) -> None:
    stopped, other = Run(Path("b")), Run(Path("c"))
    for run in (stopped, other):
        queue.add(run, lambda run: "predicted")
    stopped.stop.set()
    assert queue.ahead(other) == 1 and (stopped.state, stopped.result) == ("ended", "cancelled") and finished == [stopped]
    queue.add(Run(Path("d")), lambda run: "")
    first[1].go.set()
    assert ended(other) and other.result == "predicted"


def test_an_error_ends_one_run_and_not_the_queue(queue: RunQueue, caplog: pytest.LogCaptureFixture) -> None:
    broken, other = Run(Path("a")), Run(Path("b"))
    queue.add(broken, lambda run: str(1 / 0))
    queue.add(other, lambda run: "predicted")
    assert ended(broken) and broken.result == "failed" and ended(other) and other.result == "predicted"
    assert "ZeroDivisionError" in caplog.text
