"""Laws of batches: each video has complete results or none, and is predicted once."""

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from src.files.results.owned_folder import Scratch, output_lock, remove_leftovers
from src.inference.engines.tasks import LocalSession, TaskOptions
from src.inference.video.batch import BatchPredictor, Video, VideoOutcome, predict_videos
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


def predict_all(
    videos: dict[str, Path],
    output: Path,
    predict: FakePredictor,
    settings: dict[str, object],
    stop: threading.Event | None = None,
    **options: Any,
) -> list[VideoOutcome]:
    predictor, tasks = BatchPredictor(output, predict, settings, **options), TaskOptions(stop=stop or threading.Event())
    return predict_videos(videos, output, lambda listed: LocalSession(lambda: predictor).run(listed, tasks))


def statuses(outcomes: list[VideoOutcome]) -> dict[str, str]:
    return {one.video: one.status for one in outcomes}


def test_a_bad_video_does_not_stop_the_others_and_finished_ones_are_skipped(videos: Path, tmp_path: Path) -> None:
    output, first, second = tmp_path / "out", FakePredictor(), FakePredictor()
    outcomes = predict_all(listed(videos), output, first, SETTINGS)
    expected = {"a9": "damaged", "a10": "done", "deep/b": "done", "c": "failed", "d": "failed"}
    assert statuses(outcomes) == expected and {one.video for one in outcomes if one.needs_attention} == {"a9", "c", "d"}
    assert {path.name for path in output.iterdir()} == {"a9", "a10", "deep", "summary.json"}
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["videos"], summary["done"], summary["damaged"], summary["failed"], summary["frames"]) == (5, 2, 1, 2, 8)
    again = predict_all(listed(videos), output, second, SETTINGS)
    assert sorted(second.seen) == ["c.avi", "d.mov"]
    # The errors of a skipped video are reported again.
    assert statuses(again)["a9"] == "skipped" and next(one for one in again if one.video == "a9").needs_attention


def test_results_of_a_killed_run_are_replaced(videos: Path, tmp_path: Path) -> None:
    (videos / "a10.mp4").write_text("killed")
    with pytest.raises(KeyboardInterrupt):
        predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a9"], "the unfinished result is removed"
    (videos / "a10.mp4").write_text("fine")
    assert statuses(predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS))["a10"] == "done"


def test_after_a_signal_the_remaining_videos_are_interrupted(videos: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    outcomes = predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, stop)
    assert set(statuses(outcomes).values()) == {"interrupted"} and all(one.needs_attention for one in outcomes)
    (videos / "a10.mp4").write_text("stopped")
    assert statuses(predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS))["a10"] == "interrupted"
    assert not (tmp_path / "out" / "a10").exists()


def test_results_of_other_settings_and_foreign_folders_are_not_skipped(videos: Path, tmp_path: Path) -> None:
    predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS)
    (tmp_path / "out" / "c").mkdir()
    (tmp_path / "out" / "c" / "precious").touch()
    changed = SETTINGS | {"labels": False}
    outcomes = {one.video: one for one in predict_all(listed(videos), tmp_path / "out", FakePredictor(), changed)}
    assert "has results of another labels; choose another output" in outcomes["a10"].errors[0]
    assert (
        "c exists without a finished.json of this project" in outcomes["c"].errors[0]
        and (tmp_path / "out" / "c" / "precious").exists()
    )
    replaced = predict_all(listed(videos), tmp_path / "out", FakePredictor(), changed, overwrite=True)
    assert statuses(replaced)["a10"] == "done"


def test_an_exception_is_the_outcome_of_its_video_and_a_video_without_outcome_is_interrupted(
    videos: Path, tmp_path: Path
) -> None:
    outcomes = predict_videos(listed(videos), tmp_path / "out", lambda some: [(some[0], RuntimeError("a bug"))])
    assert outcomes[0] == VideoOutcome("a9", "failed", 0, ["a bug"])
    assert [one.status for one in outcomes[1:]] == ["interrupted"] * 4


def only(videos: Path, output: Path, **changes: object) -> VideoOutcome:
    (outcome,) = predict_all({"a10": videos / "a10.mp4"}, output, FakePredictor(), SETTINGS | changes)
    return outcome


def test_another_video_or_other_weights_under_the_same_path_are_not_skipped(videos: Path, tmp_path: Path) -> None:
    weights = {"bytes": 3, "sha256": "abc"}
    assert only(videos, tmp_path / "out", weights=weights).status == "done"
    assert only(videos, tmp_path / "out", weights=weights).status == "skipped"
    video, times = videos / "a10.mp4", (videos / "a10.mp4").stat()
    outcome = only(videos, tmp_path / "out", weights=weights | {"sha256": "abd"})
    assert outcome.status == "failed" and "has results of another weights; choose another output" in outcome.errors[0]
    video.write_text("FINE")
    os.utime(video, ns=(times.st_atime_ns, times.st_mtime_ns))
    outcome = only(videos, tmp_path / "out", weights=weights)
    assert outcome.status == "failed" and "has results of another video content" in outcome.errors[0]


def test_results_that_lost_a_file_or_were_interrupted_are_not_skipped(videos: Path, tmp_path: Path) -> None:
    only(videos, tmp_path / "out")
    marker = tmp_path / "out" / "a10" / "finished.json"
    note = json.loads(marker.read_text())
    marker.write_text(json.dumps(note | {"complete": False}))
    assert "has incomplete results" in only(videos, tmp_path / "out").errors[0]
    marker.write_text(json.dumps(note))
    (tmp_path / "out" / "a10" / "overlay.mp4").unlink()
    assert "has incomplete results" in only(videos, tmp_path / "out").errors[0]


@pytest.mark.parametrize("errors", ["errors", "faults"])
def test_results_of_an_earlier_release_are_skipped_and_replaced_on_request(videos: Path, tmp_path: Path, errors: str) -> None:
    folder = tmp_path / "out" / "a10"
    (folder / "labels").mkdir(parents=True)
    for name in ("overlay.mp4", "labels/0.png", "labels/mine.png", "notes.txt"):
        (folder / name).write_text("earlier")
    (folder / "class_share.csv").write_text("frame,name\n0,0\n")
    note = {"video": "a10.mp4", "frames": 3, errors: [], "settings": SETTINGS}
    (folder / "finished.json").write_text(json.dumps(note))
    (tmp_path / "out" / "summary.json").write_text(json.dumps({"videos": 1, "frames": 3, "outcomes": []}))
    assert only(videos, tmp_path / "out", weights={"sha256": "abc"}).status == "skipped"
    predict_all({"a10": videos / "a10.mp4"}, tmp_path / "out", FakePredictor(), SETTINGS, overwrite=True)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "overlay.mp4", "finished.json", "labels/mine.png", "notes.txt",
    }  # fmt: skip
    assert (folder / "overlay.mp4").read_text() == "fine"


@pytest.mark.parametrize("content", ["{}", "mine", '{"videos": 3}', "[]"])
def test_a_users_summary_is_not_replaced(videos: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text(content)
    with pytest.raises(FileExistsError, match=r"summary\.json was not written by a prediction"):
        predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS, overwrite=True)
    assert (tmp_path / "out" / "summary.json").read_text() == content and len(list((tmp_path / "out").iterdir())) == 1


def test_a_second_run_to_the_same_output_is_refused(videos: Path, tmp_path: Path) -> None:
    with output_lock(tmp_path / "out"):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(OSError, match=f"out is in use by process {os.getpid()}"):
            predict_all(listed(videos), tmp_path / "out", FakePredictor(), SETTINGS)
        assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_process_left_of_one_video_is_removed_without_that_of_others(tmp_path: Path) -> None:
    with output_lock(tmp_path / "out"):
        left = [Scratch(tmp_path / "out", name) for name in ("deep/a", "b")]
        for scratch in left:
            scratch.__enter__()
            (scratch.new / "overlay.mp4").touch()
        remove_leftovers(tmp_path / "out", "deep/a")
        assert [scratch.new.exists() for scratch in left] == [False, True]
    with output_lock(tmp_path / "out"):
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".mpvss.lock"]


def test_files_of_the_user_in_a_result_folder_survive_and_are_never_replaced(videos: Path, tmp_path: Path) -> None:
    only(videos, tmp_path / "out")
    (tmp_path / "out" / "a10" / "mine.txt").write_text("mine")
    predict_all({"a10": videos / "a10.mp4"}, tmp_path / "out", FakePredictor(), SETTINGS, overwrite=True)
    assert (tmp_path / "out" / "a10" / "mine.txt").read_text() == "mine"
    (tmp_path / "out" / "a9").mkdir()
    (tmp_path / "out" / "a9" / "overlay.mp4").write_text("mine")
    predictor, names = FakePredictor(), ("overlay.mp4",)
    outcomes = predict_all({"a9": videos / "a9.mp4"}, tmp_path / "out", predictor, SETTINGS, overwrite=True, names=names)
    assert "overlay.mp4 exists and is not listed" in outcomes[0].errors[0] and not predictor.seen, (
        "refused before it is predicted"
    )
    assert (tmp_path / "out" / "a9" / "overlay.mp4").read_text() == "mine"


def test_an_index_links_to_the_reports_that_there_are(tmp_path: Path) -> None:
    reported = VideoOutcome("a", "done", 3, []), VideoOutcome("<b>", "failed", 0, ["no frame"])
    videos = {one.video: tmp_path / f"{one.video}.mp4" for one in reported}
    output = tmp_path / "out"
    (output / "a").mkdir(parents=True)
    (output / "a" / "report.html").touch()

    def predict(listed: Sequence[Video]) -> list[tuple[Video, VideoOutcome]]:
        return list(zip(listed, reported, strict=True))

    for _ in range(2):
        assert tuple(predict_videos(videos, output, predict, with_index=True)) == reported
    page = (output / "index.html").read_text(encoding="utf-8")
    assert page.count("<a href") == 1 and 'href="./a/report.html"' in page and "&lt;b&gt;" in page and "failed; no frame" in page
    (output / "index.html").write_text("mine")
    with pytest.raises(FileExistsError, match=r"index\.html was not written by a prediction; expected no file"):
        predict_videos(videos, output, predict, with_index=True)
    assert (output / "index.html").read_text() == "mine"
