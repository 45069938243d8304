"""Laws of the queue of tasks: every task ends once, the costliest first, whatever fails or dies."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from src.inference.engines.tasks import LocalSession, TaskOptions, TaskQueue, WorkerDiedError

Behavior = Callable[[int, Any], Any]


class Simulated:
    """Cluster on a clock of its own: a task takes its cost. ``behavior`` returns the result of a worker and a task, or raises."""

    def __init__(self, workers: int, cost: Callable[[Any], float], behavior: Behavior = lambda worker, task: task) -> None:
        self.workers, self.cost, self.behavior = workers, cost, behavior
        self.clock, self.started, self.ended = 0.0, 0, list[int]()
        self.runs: list[tuple[int, Any]] = []
        self._tickets: dict[int, tuple[float, int, Any]] = {}

    def start(self) -> tuple[int, int]:
        self.started += 1
        return self.started, self.submit(self.started, "load")

    def submit(self, worker: int, task: Any) -> int:
        ticket = len(self.runs)
        self.runs.append((worker, task))
        self._tickets[ticket] = (self.clock + (0 if task == "load" else self.cost(task)), worker, task)
        return ticket

    def wait(self, tickets: Sequence[int], seconds: float) -> Sequence[int]:
        first = min(tickets, key=lambda ticket: self._tickets[ticket][0])
        self.clock = max(self.clock, self._tickets[first][0])
        return [first]

    def result(self, ticket: int) -> Any:
        _, worker, task = self._tickets.pop(ticket)
        return self.behavior(worker, task)

    def kill(self, worker: int) -> None:
        self.ended.append(worker)


COSTS = [34, 1, 2, 2, 3, 4, 5, 7, 9, 14, 19, 30]
COST = TaskOptions(cost=float)


def run(cluster: Simulated, tasks: Sequence[Any], retries: int = 2, options: TaskOptions = COST) -> list[tuple[Any, Any]]:
    return list(TaskQueue(cluster, retries).run(tasks, options))


@pytest.mark.parametrize("workers", [1, 2, 3, 20])
def test_every_task_ends_once_and_the_last_worker_ends_soon_after_the_first(workers: int) -> None:
    cluster = Simulated(workers, float)
    assert sorted(run(cluster, COSTS)) == [(cost, cost) for cost in sorted(COSTS)]
    assert cluster.started == min(workers, len(COSTS))
    # The longest first: no worker exceeds the ideal by more than a late, short task.
    assert cluster.clock <= max(34, sum(COSTS) / workers + 2)


def dying(*deaths: Any) -> Behavior:
    """Die once at each of the tasks."""
    left = list(deaths)

    def behavior(worker: int, task: Any) -> Any:
        if task in left:
            left.remove(task)
            raise WorkerDiedError("killed")
        return task

    return behavior


def test_a_task_whose_worker_died_is_repeated_by_a_new_worker_after_what_it_left_is_removed() -> None:
    lost: list[int] = []
    cluster = Simulated(2, float, dying(34, 34, 1))
    found = run(cluster, COSTS, options=TaskOptions(cost=float, lost=lost.append))
    assert sorted(found) == [(cost, cost) for cost in sorted(COSTS)] and sorted(lost) == [1, 34, 34]
    assert len({worker for worker, task in cluster.runs if task == 34}) == 3


def test_a_task_that_fails_is_repeated_by_another_worker_and_then_its_failure_is_the_result() -> None:
    def behavior(worker: int, task: Any) -> Any:
        if task == 5:
            raise ValueError("broken")
        return -1 if task == 7 else task

    cluster = Simulated(2, float, behavior)
    found = dict(run(cluster, COSTS, retries=1, options=TaskOptions(cost=float, failed=lambda result: result == -1)))
    assert found.keys() == set(COSTS) and found[7] == -1 and str(found[5]) == "broken"
    for task in (5, 7):
        assert sorted(worker for worker, ran in cluster.runs if ran == task) == [1, 2]


def test_without_another_worker_the_same_one_repeats() -> None:
    cluster = Simulated(1, float, lambda worker, task: -1)
    assert run(cluster, [3], retries=2, options=TaskOptions(failed=lambda result: result == -1)) == [(3, -1)]
    assert [task for _, task in cluster.runs] == ["load", 3, 3, 3]


def test_workers_that_cannot_load_end_the_run() -> None:
    def refuse(worker: int, task: Any) -> Any:
        raise ValueError("no checkpoint")

    with pytest.raises(ValueError, match="no checkpoint"):
        run(Simulated(2, float, refuse), COSTS)
    cluster = Simulated(1, float, dying(*["load"] * 3))
    with pytest.raises(WorkerDiedError, match="killed"):
        run(cluster, COSTS, retries=2)
    assert len(run(Simulated(1, float, dying("load", "load")), COSTS, retries=2)) == len(COSTS)


def test_a_stop_ends_the_running_workers_and_starts_nothing_further() -> None:
    stop, lost, cluster = threading.Event(), list[int](), Simulated(2, float)
    options = TaskOptions(cost=float, lost=lost.append, stop=stop)
    done = []
    for task, _ in TaskQueue(cluster, 2).run(COSTS, options):
        done.append(task)
        stop.set()
    assert done == [30] and lost == [34] and cluster.ended == [1]


def test_workers_serve_several_runs_and_load_once() -> None:
    cluster = Simulated(2, float)
    queue = TaskQueue(cluster, 0)
    assert len(list(queue.run(COSTS, COST))) == len(list(queue.run(COSTS, COST))) == len(COSTS)
    assert cluster.started == 2


def test_this_process_runs_tasks_in_order_until_a_stop() -> None:
    stop = threading.Event()
    session = LocalSession(lambda: lambda task: stop.set() if task == 2 else task)
    assert list(session.run([1, 2, 3], TaskOptions(stop=stop))) == [(1, 1), (2, None)]
