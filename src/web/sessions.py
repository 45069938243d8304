"""What the page keeps for each visitor: a folder of results and a way to stop, until the visitor leaves."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Visit:
    """One labelling.

    Attributes:
        folder: for its results; not made yet.
        stop: set when it shall end.
    """

    folder: Path
    stop: threading.Event


class Visits:
    """The labellings under way and their results, one for each visitor.

    Args:
        workplace: where the folders go; whoever made it deletes it.
    """

    def __init__(self, workplace: Path) -> None:
        self._workplace = workplace
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}

    def begin(self, visitor: str) -> Visit:
        """A new labelling; the results of the visitor's last one are deleted."""
        self.end(visitor)
        # Named here: what a browser calls itself is no name for a folder.
        visit = Visit(Path(tempfile.mkdtemp(prefix="visit_", dir=self._workplace)) / "results", threading.Event())
        with self._lock:
            self._visits[visitor] = visit
        return visit

    def stop(self, visitor: str) -> None:
        """End a visitor's labelling with the frame at hand; what was labelled stays."""
        with self._lock:
            visit = self._visits.get(visitor)
        if visit is not None:
            visit.stop.set()

    def end(self, visitor: str) -> None:
        """The visitor is gone: end the labelling and delete its results."""
        self.stop(visitor)
        with self._lock:
            visit = self._visits.pop(visitor, None)
        if visit is not None:
            shutil.rmtree(visit.folder.parent, ignore_errors=True)

    def end_all(self) -> None:
        """:meth:`end` for everybody."""
        for visitor in list(self._visits):
            self.end(visitor)
