from pathlib import Path

from src.web.sessions import Visits


def test_a_visitor_keeps_one_result_and_takes_it_along(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    first = visits.begin("a")
    assert not first.folder.exists()
    first.folder.mkdir()
    other = visits.begin("../../b")
    assert other.folder.parent.parent == tmp_path
    second = visits.begin("a")
    assert first.stop.is_set() and not first.folder.parent.exists() and not second.stop.is_set()
    visits.end("a")
    assert second.stop.is_set() and not other.stop.is_set() and list(tmp_path.iterdir()) == [other.folder.parent]
    visits.end_all()
    assert other.stop.is_set() and not list(tmp_path.iterdir())


def test_stopping_keeps_the_results_and_strangers_are_nobody(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    visit = visits.begin("a")
    visits.stop("nobody")
    visits.end("nobody")
    assert not visit.stop.is_set()
    visits.stop("a")
    assert visit.stop.is_set() and visit.folder.parent.exists()
