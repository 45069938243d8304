"""Tasks handed out one by one to the workers that come free, the costliest first."""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol

log = logging.getLogger(__name__)

Work = Callable[[Any], Any]
"""Function of one task; what it loads once per worker is in its closure."""
Build = Callable[[], Work]
"""Function that loads the work in its worker; it is sent to workers by its name, so that they import it."""

_POLL = 0.5  # seconds between looks at the stop event


class WorkerDiedError(ConnectionError):
    """Raised if the process of a worker has ended before its task."""


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Treatment of the tasks of one run.

    Attributes:
        cost: expected cost of a task, any unit.
        failed: whether a result is a failure, which another worker may not have.
        lost: called with a task whose worker died, before it is handed out again.
        stop: once set, running tasks are ended and no further one is started.
    """

    cost: Callable[[Any], float] = lambda task: 0.0
    failed: Callable[[Any], bool] = lambda result: False
    lost: Callable[[Any], None] = lambda task: None
    stop: threading.Event = field(default_factory=threading.Event)


class Session(Protocol):
    """Workers that are ready to run tasks."""

    def run(self, tasks: Sequence[Any], options: TaskOptions) -> Iterator[tuple[Any, Any]]:
        """Yield every finished task with its result, or with the exception that it ended with, in any order."""


class LocalSession:
    """This process as the only worker; tasks run in their order, and their exceptions are raised."""

    def __init__(self, build: Build) -> None:
        self._work = build()

    def run(self, tasks: Sequence[Any], options: TaskOptions) -> Iterator[tuple[Any, Any]]:
        """Run tasks until ``options.stop``."""
        for task in tasks:
            if options.stop.is_set():
                return
            yield task, self._work(task)


class Cluster(Protocol):
    """Processes that run tasks; workers and tickets are opaque.

    Attributes:
        workers: maximum number of workers.
    """

    workers: int

    def start(self) -> tuple[Hashable, Hashable]:
        """Start a worker, and return it with the ticket of its loading."""

    def submit(self, worker: Any, task: Any) -> Hashable:
        """Give a worker one task and return its ticket."""

    def wait(self, tickets: Sequence[Any], seconds: float) -> Sequence[Any]:
        """Return tickets that are done, after at most that time."""

    def result(self, ticket: Any) -> Any:
        """Return the result of a ticket that is done, or raise its exception; :class:`WorkerDiedError` without a worker."""

    def kill(self, worker: Any) -> None:
        """End a worker at once."""


@dataclass
class _Attempts:
    task: Any
    count: int = 0
    tried: list[Hashable] = field(default_factory=list)


class TaskQueue:
    """Session of the workers of a cluster, which live until the cluster ends.

    Args:
        cluster: processes.
        retries: number of further attempts of a task that failed, on other workers if there are others.
    """

    def __init__(self, cluster: Cluster, retries: int) -> None:
        self._cluster, self._retries = cluster, retries
        self._idle: list[Hashable] = []
        self._busy: dict[Hashable, tuple[Hashable, _Attempts | None]] = {}
        self._failed_starts = 0

    def run(self, tasks: Sequence[Any], options: TaskOptions) -> Iterator[tuple[Any, Any]]:
        """Run tasks; those of a worker that died, and failed ones, are repeated.

        Raises:
            WorkerDiedError: if workers die again and again before they are ready.
        """
        waiting = [_Attempts(task) for task in sorted(tasks, key=options.cost, reverse=True)]
        try:
            while (waiting or any(attempts for _, attempts in self._busy.values())) and not options.stop.is_set():
                self._hand_out(waiting)
                for ticket in self._cluster.wait(list(self._busy), _POLL):
                    worker, attempts = self._busy.pop(ticket)
                    result = self._result(ticket, worker, attempts, options)
                    if attempts is None:
                        continue
                    attempts.count += 1
                    attempts.tried.append(worker)
                    failed = isinstance(result, Exception) or options.failed(result)
                    if failed and attempts.count <= self._retries:
                        log.warning("%s failed and is tried again: %s", attempts.task, result)
                        waiting.append(attempts)
                    else:
                        yield attempts.task, result
        finally:
            self._end_running(options)

    def _hand_out(self, waiting: list[_Attempts]) -> None:
        tasks = len(waiting) + sum(attempts is not None for _, attempts in self._busy.values())
        for _ in range(min(self._cluster.workers, tasks) - len(self._idle) - len(self._busy)):
            worker, ticket = self._cluster.start()
            self._busy[ticket] = (worker, None)
        for worker in list(self._idle):
            attempts = next((one for one in waiting if worker not in one.tried or self._is_tried_by_all(one)), None)
            if attempts is not None:
                waiting.remove(attempts)
                self._idle.remove(worker)
                self._busy[self._cluster.submit(worker, attempts.task)] = (worker, attempts)

    def _is_tried_by_all(self, attempts: _Attempts) -> bool:
        return all(worker in attempts.tried for worker in chain(self._idle, (worker for worker, _ in self._busy.values())))

    def _result(self, ticket: Hashable, worker: Hashable, attempts: _Attempts | None, options: TaskOptions) -> Any:
        try:
            result = self._cluster.result(ticket)
        except WorkerDiedError as error:
            if attempts is not None:
                options.lost(attempts.task)
                return error
            self._failed_starts += 1
            if self._failed_starts > self._retries:
                raise
            log.warning("a worker ended while it loaded, another is started: %s", error)
            return error
        except Exception as error:
            # What one worker cannot load, none can.
            if attempts is None:
                raise
            self._idle.append(worker)
            return error
        self._failed_starts = 0
        self._idle.append(worker)
        return result

    def _end_running(self, options: TaskOptions) -> None:
        """End the workers whose tasks are of no use any more."""
        ended = {ticket: one for ticket, one in self._busy.items() if one[1] is not None}
        for worker, _ in ended.values():
            self._cluster.kill(worker)
        for ticket, (_, attempts) in ended.items():
            del self._busy[ticket]
            self._cluster.wait([ticket], _POLL)
            with suppress(OSError):  # of a process that has not ended yet; the next run removes what it left
                options.lost(attempts.task if attempts else None)
