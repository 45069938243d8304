from pathlib import Path

from src.web.sessions import Sessions


def test_a_session_has_one_result_which_is_deleted_with_it(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    first = sessions.begin("a")
    assert not first.folder.exists()
    first.folder.mkdir()
    other = sessions.begin("../../b")
    assert other.folder.parent.parent == tmp_path
    second = sessions.begin("a")
    assert first.stop.is_set() and not first.folder.parent.exists() and not second.stop.is_set()
    sessions.end("a")
    assert second.stop.is_set() and not other.stop.is_set() and list(tmp_path.iterdir()) == [other.folder.parent]
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
