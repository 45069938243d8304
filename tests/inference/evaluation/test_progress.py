import io

import pytest
from rich.console import Console

from src.inference.evaluation import progress as progress_module
from src.inference.evaluation.progress import ProgressBars, advance, counted, heartbeat


def test_the_callback_advances_only_its_bar() -> None:
    with ProgressBars(Console(file=io.StringIO())) as progress:
        first, second = (progress.add_task(name, total=None) for name in "ab")
        advance(progress, first)(3, 8)
        bars = {task.id: task for task in progress.tasks}
        assert (bars[first].completed, bars[first].total) == (3, 8)
        assert (bars[second].completed, bars[second].total) == (0, None)


def test_each_item_is_reported_after_its_work() -> None:
    events: list[object] = []
    for item in counted("ab", lambda done, total: events.append((done, total))):
        events.append(item)
    assert events == ["a", (1, 2), "b", (2, 2)]


def lines(monkeypatch: pytest.MonkeyPatch, seconds: float, quiet: bool = False) -> list[str]:
    """Return what 4 of 8 frames print without a terminal, one frame taking ``seconds``."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    page = io.StringIO()
    with ProgressBars(Console(file=page, quiet=quiet)) as progress:
        progress.get_time = lambda: now[0]
        count = advance(progress, progress.add_task("2 of 9: copy, fixed, k=5 [x]", total=None))
        for done in range(1, 5):
            now[0] += seconds
            count(done, 8)
    assert "\r" not in page.getvalue() and "\x1b" not in page.getvalue()
    return page.getvalue().splitlines()


def test_without_a_terminal_a_line_is_printed_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = lines(monkeypatch, 6.0)
    assert slow[0] == "2 of 9: copy, fixed, k=5 [x]: 1 of 8 frames"
    assert slow[3] == "2 of 9: copy, fixed, k=5 [x]: 4 of 8 frames, 0.167 frames/s, 0:00:24 left"
    assert len(lines(monkeypatch, 3.0)) == 2
    assert lines(monkeypatch, 1.0) == []


def test_other_processes_print_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 9.0, quiet=True) == []


def test_work_without_counts_has_lines_too(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(progress_module, "_LINE_INTERVAL", 0.01)
    monkeypatch.setattr(progress_module.sys, "stdout", io.StringIO())
    with heartbeat("measuring speed"):
        while len(caplog.messages) < 2:
            pass
    assert caplog.messages[0] == "measuring speed" and caplog.messages[1].startswith("measuring speed: 0 s")
