"""Browser sessions of the demo page: a folder of results and a stop event for each."""

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Session:
    """One prediction: the folder of its results, not created yet, and an event that ends it when set."""

    folder: Path
    stop: threading.Event


class Sessions:
    """Running predictions and their results, one for each browser session; the caller deletes ``workplace``."""

    def __init__(self, workplace: Path) -> None:
        self._workplace = workplace
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def begin(self, session_id: str) -> Session:
        """Start a prediction and delete the results of the previous one of the same session."""
        self.end(session_id)
        # The browser's session id is untrusted and must not name a folder.
        session = Session(Path(tempfile.mkdtemp(prefix="session_", dir=self._workplace)) / "results", threading.Event())
        with self._lock:
            self._sessions[session_id] = session
        return session

    def stop(self, session_id: str) -> None:
        """Stop a session's prediction after the current frame and keep the results."""
        with self._lock:
            session = self._sessions.get(session_id)
        if session is not None:
            session.stop.set()

    def end(self, session_id: str) -> None:
        """Stop a session's prediction and delete the results."""
        self.stop(session_id)
        with self._lock:
            session = self._sessions.pop(session_id, None)
        if session is not None:
            shutil.rmtree(session.folder.parent, ignore_errors=True)

    def end_all(self) -> None:
        """End all sessions."""
        for session_id in list(self._sessions):
            self.end(session_id)
