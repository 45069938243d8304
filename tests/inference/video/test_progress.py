import io
from fractions import Fraction

import pytest
from rich.console import Console

from src.inference.video import progress as progress_module
from src.inference.video.prediction import PredictionProgress
from src.inference.video.progress import progress_bar
from src.inference.video.sources import ImageFrames, SourceInfo
from tests.inference.tiny import FakeClips

HALF = PredictionProgress(frames=30, key_frames=6, position=2.0, elapsed=1.5)


def source(name: str, seconds: float | None) -> ImageFrames:
    found = ImageFrames.of_clip(FakeClips((2,)), "0")
    found.info = SourceInfo(name, Fraction(15), Fraction(1, 15), seconds)
    return found


def test_a_terminal_shows_rate_key_frames_and_completion() -> None:
    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=150)
    with progress_bar(console, source("videos/clip [1].mp4", 4.0)) as show:
        show(HALF)
    assert all(text in page.getvalue() for text in ("clip [1].mp4", "50%", "30 frames, 20.0 fps, 20% key frames"))


@pytest.mark.parametrize(("seconds", "length"), [(4.0, "2.0 of 4.0 s"), (None, "2.0 s")])
def test_without_a_terminal_lines_are_logged(
    seconds: float | None, length: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    page = io.StringIO()
    with progress_bar(Console(file=page), source("a/clip.mp4", seconds)) as show:
        show(HALF)
        assert not caplog.text
        monkeypatch.setattr(progress_module, "_LOG_INTERVAL", 0.0)
        show(HALF)
    left = ", 0:00:02 left" if seconds else ""
    assert caplog.messages == [f"clip.mp4: {length}, {HALF}{left}"] and not page.getvalue().strip()


@pytest.mark.parametrize(
    ("seconds", "limit", "percent", "line"),
    [
        (40.0, 40, "75%", "30 of 40 frames, 20.0 fps, 20% key frames, 0:00:00 left"),
        (None, 60, "50%", "30 of 60 frames, 20.0 fps, 20% key frames, 0:00:02 left"),
        (4.0, 600, "50%", "2.0 of 4.0 s, 30 frames, 20.0 fps, 20% key frames, 0:00:02 left"),
        # The header is wrong.
        (1.0, 600, "100%", "2.0 of 1.0 s, 30 frames, 20.0 fps, 20% key frames, 0:00:00 left"),
    ],
)
def test_the_total_is_the_limit_of_frames_or_the_duration_whichever_ends_first(
    seconds: float | None, limit: int, percent: str, line: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(progress_module, "_LOG_INTERVAL", 0.0)
    page = io.StringIO()
    for console in (Console(file=page, force_terminal=True, width=150), Console(file=io.StringIO())):
        with progress_bar(console, source("clip.mp4", seconds), limit) as show:
            show(HALF)
    assert caplog.messages == [f"clip.mp4: {line}"]
    assert percent in page.getvalue() and line.partition(" s, ")[2].partition(", 0:")[0] in page.getvalue()
