"""Browser sessions of the demo page: the uploads of each, a folder of results and a stop event."""

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

_STOP_SECONDS = 10.0  # time in which running predictions end with their frame


@dataclass(frozen=True, eq=False)
class Session:
    """One prediction: the folder of its results, not created yet, and an event that ends it when set."""

    folder: Path
    stop: threading.Event
    leftovers: list[Path] = field(default_factory=list)
    """Paths to delete as soon as the prediction has ended."""


class Sessions:
    """Running predictions, their results and uploads, by browser session; the caller deletes ``workplace``.

    Files of a running prediction are deleted when it has ended, so that it cannot write them once more.
    """

    def __init__(self, workplace: Path) -> None:
        self._workplace = workplace
        self._changed = threading.Condition()
        self._sessions: dict[str, Session] = {}
        self._running: set[Session] = set()
        self._uploads: dict[str, set[Path]] = {}

    def begin(self, session_id: str) -> Session:
        """Start a prediction and delete the results of the previous one of the same session."""
        # The browser's session id is untrusted and must not name a folder.
        session = Session(Path(tempfile.mkdtemp(prefix="session_", dir=self._workplace)) / "results", threading.Event())
        with self._changed:
            previous = self._sessions.get(session_id)
            self._sessions[session_id] = session
            self._running.add(session)
        self._retire(previous, [])
        return session

    def finish(self, session: Session) -> bool:
        """Record that a prediction has ended, and return whether its results are kept: not of a session that has ended before."""
        with self._changed:
            self._running.discard(session)
            _delete(session.leftovers)
            self._changed.notify_all()
        return not session.leftovers

    def claim(self, session_id: str, upload: Path) -> None:
        """Let a session own an upload, ``<workplace>/<folder>/<name>``; other paths are ignored."""
        if upload.parent.parent == self._workplace and not upload.parent.name.startswith("session_"):
            with self._changed:
                self._uploads.setdefault(session_id, set()).add(upload.parent)

    def stop(self, session_id: str) -> None:
        """Stop a session's prediction after the current frame and keep the results."""
        with self._changed:
            session = self._sessions.get(session_id)
        if session is not None:
            session.stop.set()

    def end(self, session_id: str) -> None:
        """Stop a session's prediction and delete its results and uploads."""
        with self._changed:
            session = self._sessions.pop(session_id, None)
            uploads = self._uploads.pop(session_id, set())
        self._retire(session, list(uploads))

    def end_all(self) -> None:
        """End all sessions and wait for their predictions."""
        for session_id in {*self._sessions, *self._uploads}:
            self.end(session_id)
        with self._changed:
            self._changed.wait_for(lambda: not self._running, _STOP_SECONDS)

    def sweep(self, seconds: float) -> None:
        """Delete what has been older than ``seconds``, except for the files of sessions with a running prediction."""
        with self._changed:
            busy = [name for name, session in self._sessions.items() if session in self._running]
            kept = {session.folder.parent for session in self._running}.union(*(self._uploads.get(name, ()) for name in busy))
        oldest = time.time() - seconds
        for path in self._workplace.iterdir():
            if path not in kept and not path.name.startswith(".") and _changed_at(path) < oldest:
                _delete([path])

    def _retire(self, session: Session | None, uploads: list[Path]) -> None:
        if session is not None:
            session.stop.set()
            with self._changed:
                left = [session.folder.parent, *uploads]
                if session in self._running:
                    session.leftovers.extend(left)
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
