from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.video.prediction import PredictionProgress
from src.inference.video.sources import FrameSource, ImageFrames
from src.web.guard import Quota
from src.web.methods import Method
from src.web.order import Order, view
from src.web.predictor import ClipPrediction, ClipPredictor
from src.web.runs import Run
from src.web.schedules import Schedule
from tests.inference.tiny import FakeClips

FIXED = Schedule("every k-th frame", "k", "key_interval", FixedInterval, 1, 30, 5)
FIRST, SECOND = Method(FIXED, 5, "offline", "copy"), Method(None, 1, "online", "copy")
DATA = FakeClips((8,))
PLENTY = 2**40


class FakePredictor:
    """Predictor of 8 frames without a network; ``hook`` is called after each of them."""

    classes, palette = ("sky", "road"), ((0, 0, 0), (9, 9, 9))

    def __init__(self, hook: Callable[[int, int], None] = lambda method, frame: None) -> None:
        self.methods: list[Any] = []
        self._hook = hook

    def predict(
        self,
        source: FrameSource,
        scheduler: Any,
        flow: str,
        folder: Path,
        most: Any,
        mode: str,
        stop: Any,
        progress: Any,
        show: Any,
    ) -> ClipPrediction:
        self.methods.append((scheduler, flow, mode))
        done = PredictionProgress()
        for number in range(1, 9):
            if stop.is_set():
                break
            done = PredictionProgress(number, 1, number / DATA.fps, 1.0)
            progress(done)
            self._hook(len(self.methods), number)
        if not done.frames:
            raise ValueError("clip: stopped before the first frame")
        folder.mkdir(parents=True)
        files = [folder / name for name in ("overlay.mp4", "class_share.csv", "labels.zip")]
        for path in files:
            path.write_bytes(b"x")
        return ClipPrediction(*files, [0.5, 0.5], [], done, [], "cpu", [])


def predict(predictor: FakePredictor, run: Run, folder: Path, *methods: Method, max_stored: int = PLENTY, **options: Any) -> str:
    order = Order("clip", options.pop("source", lambda: ImageFrames.of_clip(DATA, "0")), methods, **options)
    return order.predict(run, cast(ClipPredictor, predictor), Quota(folder, PLENTY, max_stored))


def test_both_methods_are_predicted_and_share_the_progress(tmp_path: Path) -> None:
    run, seen = Run(tmp_path / "results"), list[tuple[float, str]]()
    predictor = FakePredictor(lambda method, frame: seen.append((run.share, run.note)))
    html = predict(predictor, run, tmp_path, FIRST, SECOND, max_frames=16)
    assert predictor.methods == [(FixedInterval(5), "copy", "offline"), (None, "copy", "online")]
    shares = [share for share, _ in seen]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] <= 1 and seen[0][1].startswith("method 1 of 2: 1 frames")
    assert html.count("<video") == 2 and "A: 8 frames" in html and "B: 8 frames" in html
    assert predict(FakePredictor(), Run(tmp_path / "again"), tmp_path, FIRST).count("<video") == 1


@pytest.mark.parametrize(("method", "text"), [(1, "The second method was not predicted"), (2, "B: 3 frames")])
def test_stop_keeps_what_is_predicted(tmp_path: Path, method: int, text: str) -> None:
    run = Run(tmp_path / "results")
    html = predict(FakePredictor(lambda *now: run.stop.set() if now == (method, 3) else None), run, tmp_path, FIRST, SECOND)
    assert text in html and html.count("<video") == method


def test_a_source_that_cannot_be_read_is_an_error_without_the_folder_of_the_upload(tmp_path: Path) -> None:
    def broken() -> FrameSource:
        raise ValueError(f"{tmp_path}/a.mp4 is <no> video")

    html = predict(FakePredictor(), Run(tmp_path / "results"), tmp_path, FIRST, SECOND, source=broken, hidden=f"{tmp_path}/")
    assert html == '<div class="message error">a.mp4 is &lt;no&gt; video</div>'


def test_a_run_stops_where_its_files_exceed_the_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large").write_bytes(b"x" * 1000)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def second_passes(method: int, frame: int) -> None:
        now[0] += 1

    html = predict(FakePredictor(second_passes), Run(tmp_path / "results"), tmp_path, FIRST, max_stored=999)
    assert "4 frames" in html and "The prediction was stopped: the files of the page exceed" in html and "<video" in html
    html = predict(FakePredictor(second_passes), Run(tmp_path / "again"), tmp_path, FIRST)
    assert "8 frames" in html and "stopped" not in html


def test_a_view_shows_place_progress_and_result() -> None:
    run = Run(Path("a"))
    assert "waiting for 2 predictions" in view(run, 2, "LEGEND") and "waiting for 1 prediction<" in view(run, 1, "LEGEND")
    assert "starting" in view(run, 0, "LEGEND") and "<img" not in view(run, 0, "LEGEND")
    run.state, run.share, run.note, run.picture = "running", 0.5, "8 frames", b"jpeg"
    assert all(part in view(run, 0, "LEGEND") for part in ('value="0.500"', "8 frames", "<img", "LEGEND"))
    run.stop.set()
    assert "stopping after the current frame" in view(run, 0, "LEGEND")
    run.state, run.result = "ended", "RESULT"
    assert view(run, 0, "LEGEND") == "RESULT"
