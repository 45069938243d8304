"""Queue of the demo page: predictions run one at a time, in order, in one thread."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Run:
    """One prediction of the page, from the queue to its result.

    Attributes:
        folder: folder of its results, not created yet.
        stop: ends the prediction when set, also while it waits.
        leftovers: paths to delete as soon as the prediction has ended.
        state: ``waiting``, ``running`` or ``ended``.
        share: predicted part, 0..1.
        note: progress in words.
        picture: small JPEG of the last labelled frame.
        result: HTML of the outcome of an ended run.
    """

    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    leftovers: list[Path] = field(default_factory=list)
    state: Literal["waiting", "running", "ended"] = "waiting"
    share: float = 0.0
    note: str = ""
    picture: bytes | None = None
    result: str = ""


class RunQueue:
    """Queue of runs and the thread that predicts them.

    Args:
        limit: maximum number of waiting runs.
        cancelled: result of a run that is stopped while it waits.
        failed: result of a run that raised an unexpected exception, which is logged.
        finish: called when a run has ended, before its state changes.
    """

    def __init__(self, limit: int, cancelled: str, failed: str, finish: Callable[[Run], None]) -> None:
        self._limit, self._cancelled, self._failed, self._finish = limit, cancelled, failed, finish
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Run, Callable[[Run], str]]] = deque()
        self._running: Run | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, run: Run, predict: Callable[[Run], str]) -> None:
        """Append a run; ``predict`` returns its result.

        Raises:
            ValueError: if too many runs wait.
        """
        with self._changed:
            self._drop_stopped()
            if len(self._waiting) >= self._limit:
                raise ValueError(f"{self._limit} predictions wait already; try again later")
            self._waiting.append((run, predict))
            self._changed.notify()

    def ahead(self, run: Run) -> int:
        """Return the number of runs that end before a waiting one starts. Runs stopped while they wait leave the queue."""
        with self._changed:
            self._drop_stopped()
            waiting = [other for other, _ in self._waiting]
            return waiting.index(run) + (self._running is not None) if run in waiting else 0

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                run, predict = self._waiting.popleft()
                self._running = run
            if run.stop.is_set():
                self._end(run, self._cancelled)
            else:
                run.state = "running"
                try:
                    result = predict(run)
                except Exception:
                    log.exception("a prediction failed")
                    result = self._failed
                self._end(run, result)
            with self._changed:
                self._running = None

    def _drop_stopped(self) -> None:
        for entry in [entry for entry in self._waiting if entry[0].stop.is_set()]:
            self._waiting.remove(entry)
            self._end(entry[0], self._cancelled)

    def _end(self, run: Run, result: str) -> None:
        run.result = result
        self._finish(run)
        run.state = "ended"
