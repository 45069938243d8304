import io

from rich.console import Console

from src.inference.evaluation.progress import ProgressBars, advance, counted


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
