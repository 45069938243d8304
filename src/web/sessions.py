"""Browser sessions of the demo page: the tabs of each, its uploads and its last prediction."""

import re
import shutil
import tempfile
import threading
import time
from pathlib import Path

from src.web.runs import Run

_STOP_SECONDS = 10.0  # time in which running predictions end with their frame
_UUID = re.compile("[0-9a-f-]{36}")


class Sessions:
    """Last predictions and uploads by browser session; the caller deletes ``workplace``.

    A session is named by the browser, which keeps the name while a page is loaded anew; every loading is another tab. Files of a
    running prediction are deleted when it has ended, so that it cannot write them once more.
    """

    def __init__(self, workplace: Path) -> None:
        self._workplace = workplace
        self._changed = threading.Condition()
        self._sessions: dict[str, Run] = {}
        self._running: set[Run] = set()
        self._uploads: dict[str, set[Path]] = {}
        self._tabs: dict[str, str] = {}
        self._left: dict[str, float] = {}

    def enter(self, session_id: str, tab: str) -> str:
        """Let a tab be one of a session and return the session's name: that of the tab if ``session_id`` is no UUID."""
        with self._changed:
            name = session_id if _UUID.fullmatch(session_id) else tab
            self._tabs[tab] = name
            self._left.pop(name, None)
        return name

    def of_tab(self, tab: str) -> str:
        """Return the name of a tab's session: that of the tab if it has not entered one."""
        with self._changed:
            return self._tabs.get(tab, tab)

    def leave(self, tab: str) -> None:
        """Note that a tab is closed or loaded anew; :meth:`sweep` ends a session without a tab."""
        with self._changed:
            name = self._tabs.pop(tab, tab)
            if name not in self._tabs.values():
                self._left[name] = time.monotonic()

    def current(self, session_id: str) -> Run | None:
        """Return the last prediction of a session; ``None``: there is none, or its results are deleted."""
        with self._changed:
            return self._sessions.get(session_id)

    def begin(self, session_id: str) -> Run:
        """Create a prediction and delete the results of the previous one of the same session."""
        # The browser's session id is untrusted and must not name a folder.
        run = Run(Path(tempfile.mkdtemp(prefix="session_", dir=self._workplace)) / "results")
        with self._changed:
            previous = self._sessions.get(session_id)
            self._sessions[session_id] = run
            self._running.add(run)
        self._retire(previous, [])
        return run

    def finish(self, run: Run) -> None:
        """Record that a prediction has ended; the results of one whose session has ended before are deleted."""
        with self._changed:
            self._running.discard(run)
            _delete(run.leftovers)
            self._changed.notify_all()

    def claim(self, session_id: str, upload: Path) -> None:
        """Let a session own an upload, ``<workplace>/<folder>/<name>``; other paths are ignored."""
        if upload.parent.parent == self._workplace and not upload.parent.name.startswith("session_"):
            with self._changed:
                self._uploads.setdefault(session_id, set()).add(upload.parent)

    def stop(self, session_id: str) -> None:
        """Stop a session's prediction after the current frame, or while it waits, and keep the results."""
        run = self.current(session_id)
        if run is not None:
            run.stop.set()

    def end(self, session_id: str) -> None:
        """Stop a session's prediction and delete its results and uploads."""
        with self._changed:
            run = self._sessions.pop(session_id, None)
            uploads = self._uploads.pop(session_id, set())
            self._left.pop(session_id, None)
        self._retire(run, list(uploads))

    def end_all(self) -> None:
        """End all sessions and wait for their predictions."""
        for session_id in {*self._sessions, *self._uploads}:
            self.end(session_id)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, _STOP_SECONDS)

    def sweep(self, seconds: float, away_seconds: float) -> None:
        """Delete what has been older than ``seconds``, except for the files of sessions with a running prediction.

        End the sessions that have had no tab for ``away_seconds``.
        """
        with self._changed:
            gone = [name for name, left in self._left.items() if time.monotonic() - left >= away_seconds]
        for name in gone:
            self.end(name)
        with self._changed:
            busy = [name for name, run in self._sessions.items() if run in self._running]
            kept = {run.folder.parent for run in self._running}.union(*(self._uploads.get(name, ()) for name in busy))
        oldest = time.time() - seconds
        for path in self._workplace.iterdir():
            if path not in kept and not path.name.startswith(".") and _changed_at(path) < oldest:
                _delete([path])
        with self._changed:
            self._sessions = {name: run for name, run in self._sessions.items() if run.folder.parent.exists()}

    def _retire(self, run: Run | None, uploads: list[Path]) -> None:
        if run is not None:
            run.stop.set()
            with self._changed:
                left = [run.folder.parent, *uploads]
                if run in self._running:
                    run.leftovers.extend(left)
                    return
            uploads = left
        _delete(uploads)


def _delete(paths: list[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _changed_at(path: Path) -> float:
    """Return the time of the last change of a file, or of anything in a folder, seconds since 1970; infinity where it is gone."""
    try:
        return max(found.lstat().st_ctime for found in (path, *path.rglob("*")))
    except FileNotFoundError:
        return float("inf")
