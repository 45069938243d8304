"""Laws of many videos: each is whole or not there, and is done once."""

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from src.inference.distributed import SINGLE, World
from src.inference.video.batch import Outcome, label_videos, list_videos

SETTINGS = {"checkpoint": "model", "labels": True}


@dataclass
class Result:
    frames: int = 3
    faults: list[str] = field(default_factory=list)
    stopped: int | None = None


class Labeller:
    """Writes a file; what a video's content says goes wrong."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, video: Path, folder: Path) -> Result:
        self.seen.append(video.name)
        (folder / "overlay.mp4").write_text(video.read_text())
        match video.read_text():
            case "broken":
                return Result(2, ["frame 3 is damaged"])
            case "unreadable":
                raise ValueError(f"{video} is no video")
            case "empty":
                return Result(0)
            case "killed":
                raise KeyboardInterrupt
            case "stopped":
                return Result(1, stopped=15)
        return Result()


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name, text in {
        "a10.mp4": "fine",
        "a9.mp4": "broken",
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


def endings(outcomes: list[Outcome]) -> dict[str, str]:
    return {one.video: one.ending for one in outcomes}


def test_a_folder_of_videos_is_told_from_one_of_frames(videos: Path, tmp_path: Path) -> None:
    assert list(listed(videos)) == ["a9", "a10", "deep/b", "c", "d"], "numbers as numbers"
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.jpg").touch()
    (frames / "0.mp4").touch()
    assert list_videos(frames) is None and list_videos(videos / "a9.mp4") is None and list_videos(tmp_path / "nowhere") is None


def test_a_list_names_paths_beside_it(videos: Path) -> None:
    path = videos / "list.txt"
    path.write_text("# two of them\n\na9.mp4\ndeep/b.MKV\n")
    assert listed(path) == {"a9": videos / "a9.mp4", "b": videos / "deep" / "b.MKV"}
    path.write_text("a9.mp4\nnone.mp4\n")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4 does not exist \(1 of 2\)"):
        list_videos(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="it names no video"):
        list_videos(path)


def test_two_videos_of_one_name_are_refused(videos: Path) -> None:
    (videos / "a9.avi").touch()
    with pytest.raises(ValueError, match="would both go to a9"):
        list_videos(videos)


def test_one_bad_video_stops_nothing_and_done_ones_are_skipped(videos: Path, tmp_path: Path) -> None:
    output, first, second = tmp_path / "out", Labeller(), Labeller()
    outcomes = label_videos(listed(videos), output, first, SETTINGS, SINGLE)
    expected = {"a9": "broken", "a10": "done", "deep/b": "done", "c": "failed", "d": "failed"}
    assert endings(outcomes) == expected and {one.video for one in outcomes if one.is_bad} == {"a9", "c", "d"}
    assert {path.name for path in output.iterdir()} == {"a9", "a10", "deep", "summary.json"}
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["videos"], summary["done"], summary["broken"], summary["failed"], summary["frames"]) == (5, 2, 1, 2, 8)
    again = label_videos(listed(videos), output, second, SETTINGS, SINGLE)
    assert sorted(second.seen) == ["c.avi", "d.mov"]
    # A broken one stays on the list of what somebody should look at.
    assert endings(again)["a9"] == "skipped" and next(one for one in again if one.video == "a9").is_bad


def test_what_a_killed_run_left_is_made_anew(videos: Path, tmp_path: Path) -> None:
    (videos / "a10.mp4").write_text("killed")
    with pytest.raises(KeyboardInterrupt):
        label_videos(listed(videos), tmp_path / "out", Labeller(), SETTINGS, SINGLE)
    assert not (tmp_path / "out" / "a10").exists() and (tmp_path / "out" / ".a10.partial" / "overlay.mp4").exists()
    (videos / "a10.mp4").write_text("fine")
    assert endings(label_videos(listed(videos), tmp_path / "out", Labeller(), SETTINGS, SINGLE))["a10"] == "done"
    assert not (tmp_path / "out" / ".a10.partial").exists()


def test_after_a_signal_the_rest_is_left(videos: Path, tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    outcomes = label_videos(listed(videos), tmp_path / "out", Labeller(), SETTINGS, SINGLE, stop)
    assert set(endings(outcomes).values()) == {"left"} and all(one.is_bad for one in outcomes)
    (videos / "a10.mp4").write_text("stopped")
    assert endings(label_videos(listed(videos), tmp_path / "out", Labeller(), SETTINGS, SINGLE))["a10"] == "left"
    assert not (tmp_path / "out" / "a10").exists()


def test_other_settings_and_foreign_folders_are_not_taken_for_done(videos: Path, tmp_path: Path) -> None:
    label_videos(listed(videos), tmp_path / "out", Labeller(), SETTINGS, SINGLE)
    (tmp_path / "out" / "c").mkdir()
    (tmp_path / "out" / "c" / "precious").touch()
    changed = SETTINGS | {"labels": False}
    outcomes = {one.video: one for one in label_videos(listed(videos), tmp_path / "out", Labeller(), changed, SINGLE)}
    assert "made with another labels: name another output" in outcomes["a10"].faults[0]
    assert "c exists and holds no finished.json" in outcomes["c"].faults[0] and (tmp_path / "out" / "c" / "precious").exists()
    replaced = label_videos(listed(videos), tmp_path / "out", Labeller(), changed, SINGLE, overwrite=True)
    assert endings(replaced)["a10"] == "done"


def test_processes_share_the_videos(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "gather", lambda self, value: [value])
    seen = []
    for index in range(2):
        labeller = Labeller()
        label_videos(listed(videos), tmp_path / "out", labeller, SETTINGS, World(index, 2))
        seen.append(set(labeller.seen))
    assert seen[0] | seen[1] == {"a9.mp4", "a10.mp4", "b.MKV", "c.avi", "d.mov"} and not seen[0] & seen[1]
