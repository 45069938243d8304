import os
import threading
from pathlib import Path

import pytest

from src.web.sessions import Sessions


def test_a_session_has_one_result_which_is_deleted_with_it(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    first = sessions.begin("a")
    assert not first.folder.exists()
    first.folder.mkdir()
    other = sessions.begin("../../b")
    assert other.folder.parent.parent == tmp_path
    second = sessions.begin("a")
    assert first.stop.is_set() and not second.stop.is_set()
    sessions.finish(first)
    assert not first.folder.parent.exists()
    sessions.end("a")
    sessions.finish(second)
    assert second.stop.is_set() and not other.stop.is_set() and list(tmp_path.iterdir()) == [other.folder.parent]
    sessions.finish(other)
    sessions.end_all()
    assert other.stop.is_set() and not list(tmp_path.iterdir())


def test_stopping_keeps_the_results_and_unknown_sessions_are_ignored(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    session = sessions.begin("a")
    sessions.stop("unknown")
    sessions.end("unknown")
    assert not session.stop.is_set()
    sessions.stop("a")
    assert session.stop.is_set() and session.folder.parent.exists()


def upload(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name / "a.mp4"
    path.parent.mkdir()
    path.write_bytes(b"x")
    return path


def test_files_of_a_running_prediction_are_deleted_when_it_has_ended(tmp_path: Path) -> None:
    """A prediction that still runs creates its folder once more, so deleting earlier would leave it."""
    sessions = Sessions(tmp_path)
    video = upload(tmp_path, "1f")
    sessions.claim("a", video)
    session = sessions.begin("a")
    sessions.end("a")
    assert session.stop.is_set() and video.exists()
    session.folder.mkdir(parents=True)
    sessions.finish(session)
    assert not list(tmp_path.iterdir()) and sessions.current("a") is None
    again = sessions.begin("a")
    sessions.finish(again)
    assert sessions.current("a") is again and again.folder.parent.exists()


def test_uploads_end_with_their_session(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path / "page")
    (tmp_path / "page").mkdir()
    mine, other = upload(tmp_path / "page", "1f"), upload(tmp_path / "page", "2f")
    foreign = upload(tmp_path, "mine")
    result = sessions.begin("b").folder
    result.mkdir()
    for path in (mine, foreign, result / "overlay.mp4", tmp_path / "page", Path("/"), result):
        sessions.claim("a", path)
    sessions.claim("b", other)
    sessions.end("a")
    assert not mine.parent.exists() and other.exists() and foreign.exists() and result.exists()


def test_the_end_waits_for_running_predictions(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    session = sessions.begin("a")

    def work() -> None:
        session.stop.wait()
        session.folder.mkdir()
        sessions.finish(session)

    thread = threading.Thread(target=work)
    thread.start()
    sessions.end_all()
    assert not list(tmp_path.iterdir())
    thread.join()


def test_what_is_old_is_deleted_unless_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(tmp_path)
    left, used = upload(tmp_path, "1f"), upload(tmp_path, "2f")
    (tmp_path / "tmpx").write_bytes(b"")
    (tmp_path / ".lock").write_bytes(b"")
    done, session = sessions.begin("b"), sessions.begin("a")
    sessions.finish(done)
    sessions.claim("a", used)
    sessions.sweep(3600, 30)
    assert left.exists() and done.folder.parent.exists()
    now = os.stat(tmp_path).st_ctime
    monkeypatch.setattr("time.time", lambda: now + 3700)
    sessions.sweep(3600, 30)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / ".lock", used.parent, session.folder.parent])
    sessions.finish(session)
    sessions.sweep(3600, 30)
    assert list(tmp_path.iterdir()) == [tmp_path / ".lock"]
    assert sessions.current("a") is sessions.current("b") is None


NAME = "12345678-1234-1234-1234-123456789abc"


def test_a_session_lives_while_its_page_is_loaded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    sessions = Sessions(tmp_path)
    assert sessions.enter(NAME, "tab 1") == NAME == sessions.of_tab("tab 1")
    run = sessions.begin(NAME)
    sessions.finish(run)
    # The new tab may come before the old one goes, or after.
    for before, after in (("tab 1", "tab 2"), ("tab 2", "tab 3")):
        if after == "tab 2":
            sessions.enter(NAME, after)
        sessions.leave(before)
        if after == "tab 3":
            now[0] += 29
            sessions.sweep(3600, 30)
            sessions.enter(NAME, after)
        now[0] += 100
        sessions.sweep(3600, 30)
        assert sessions.current(sessions.of_tab(after)) is run and run.folder.parent.exists()
    sessions.leave("tab 3")
    now[0] += 30
    sessions.sweep(3600, 30)
    assert sessions.current(NAME) is None and run.stop.is_set() and not list(tmp_path.iterdir())


def test_names_of_sessions_are_long_or_those_of_their_tab(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for name in ("", "a", "../../b", NAME[1:], NAME + "a", NAME.upper()):
        assert sessions.enter(name, "tab") == "tab" == sessions.of_tab("tab")
    assert sessions.of_tab("unknown") == "unknown"
