"""Laws of batches: each video has complete results or none, and is predicted once."""

import json
import threading
from pathlib import Path

import pytest

from src.inference.distributed import SINGLE, World
from src.inference.video.batch import VideoOutcome, predict_videos
from src.inference.video.prediction import PredictionProgress
from src.inference.video.predictor import VideoPrediction
from src.inference.video.video_list import list_videos

SETTINGS = {"checkpoint": "model", "labels": True}


def result(frames: int = 3, errors: list[str] | None = None, stop_signal: int | None = None) -> VideoPrediction:
    return VideoPrediction(PredictionProgress(frames, 1, 1.0, 1.0), errors or [], stop_signal)


class FakePredictor:
    """Writes one file; the content of a video selects the result."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, video: Path, folder: Path) -> VideoPrediction:
        self.seen.append(video.name)
        (folder / "overlay.mp4").write_text(video.read_text())
        match video.read_text():
            case "damaged":
                return result(2, ["frame 3 is damaged"])
            case "unreadable":
                raise ValueError(f"{video} is no video")
            case "empty":
                return result(0)
            case "killed":
                raise KeyboardInterrupt
            case "stopped":
                return result(1, stop_signal=15)
        return result()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name, text in {
        "a10.mp4": "fine",
        "a9.mp4": "damaged",
        "deep/b.MKV": "fine",
        "c.avi": "unreadable",
        "d.mov": "empty",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "notes.md").touch()
    (folder / ".hidden.mp4").touch()
    return folder


def listed(folder: Path) -> dict[str, Path]:
    found = list_videos(folder)
    assert found is not None
    return found


def statuses(outcomes: list[VideoOutcome]) -> dict[str, str]:
    return {one.video: one.status for one in outcomes}


def test_a_bad_video_does_not_stop_the_others_and_finished_ones_are_skipped(videos: Path, tmp_path: Path) -> None:
    output, first, second = tmp_path / "out", FakePredictor(), FakePredictor()
    outcomes = predict_videos(listed(videos), output, first, SETTINGS, SINGLE)
    expected = {"a9": "damaged", "a10": "done", "deep/b": "done", "c": "failed", "d": "failed"}
    assert statuses(outcomes) == expected and {one.video for one in outcomes if one.needs_attention} == {"a9", "c", "d"}
    assert {path.name for path in output.iterdir()} == {"a9", "a10", "deep", "summary.json"}
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["videos"], summary["done"], summary["damaged"], summary["failed"], summary["frames"]) == (5, 2, 1, 2, 8)
    again = predict_videos(listed(videos), output, second, SETTINGS, SINGLE)
    assert sorted(second.seen) == ["c.avi", "d.mov"]
    # The errors of a skipped video are reported again.
    assert statuses(again)["a9"] == "skipped" and next(one for one in again if one.video == "a9").needs_attention


def test_results_of_a_killed_run_are_replaced(videos: Path, tmp_path: Path) -> None:
    (videos / "a10.mp4").write_text("killed")
    with pytest.raises(KeyboardInterrupt):
        predict_videos(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, SINGLE)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a9"], "the unfinished result is removed"
    (videos / "a10.mp4").write_text("fine")
    assert statuses(predict_videos(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, SINGLE))["a10"] == "done"


def test_after_a_signal_the_remaining_videos_are_interrupted(videos: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    outcomes = predict_videos(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, SINGLE, stop)
    assert set(statuses(outcomes).values()) == {"interrupted"} and all(one.needs_attention for one in outcomes)
    (videos / "a10.mp4").write_text("stopped")
    assert statuses(predict_videos(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, SINGLE))["a10"] == "interrupted"
    assert not (tmp_path / "out" / "a10").exists()


def test_results_of_other_settings_and_foreign_folders_are_not_skipped(videos: Path, tmp_path: Path) -> None:
    predict_videos(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, SINGLE)
    (tmp_path / "out" / "c").mkdir()
    (tmp_path / "out" / "c" / "precious").touch()
    changed = SETTINGS | {"labels": False}
    outcomes = {one.video: one for one in predict_videos(listed(videos), tmp_path / "out", FakePredictor(), changed, SINGLE)}
    assert "has results of another labels; choose another output" in outcomes["a10"].errors[0]
    assert (
        "c exists without a finished.json of this project" in outcomes["c"].errors[0]
        and (tmp_path / "out" / "c" / "precious").exists()
    )
    replaced = predict_videos(listed(videos), tmp_path / "out", FakePredictor(), changed, SINGLE, overwrite=True)
    assert statuses(replaced)["a10"] == "done"


def test_processes_share_the_videos(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "gather", lambda self, value: [value])
    seen = []
    for index in range(2):
        predictor = FakePredictor()
        predict_videos(listed(videos), tmp_path / "out", predictor, SETTINGS, World(index, 2))
        seen.append(set(predictor.seen))
    assert seen[0] | seen[1] == {"a9.mp4", "a10.mp4", "b.MKV", "c.avi", "d.mov"} and not seen[0] & seen[1]
