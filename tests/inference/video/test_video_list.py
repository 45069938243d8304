import json
import os
from pathlib import Path

import pytest

from src.inference.video.video_list import list_videos


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    for name in ("a10.mp4", "a9.mp4", "deep/b.MKV", "c.avi", "d.mov", "notes.md", ".hidden.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def listed(folder: Path) -> dict[str, Path]:
    found = list_videos(folder)
    assert found is not None
    return found


def test_a_folder_of_videos_differs_from_a_folder_of_frames(videos: Path, tmp_path: Path) -> None:
    assert list(listed(videos)) == ["a9", "a10", "deep/b", "c", "d"], "numbers as numbers"
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "0.jpg").touch()
    assert list_videos(frames) is None and list_videos(videos / "a9.mp4") is None and list_videos(tmp_path / "nowhere") is None


def test_a_list_contains_paths_relative_to_itself(videos: Path) -> None:
    path = videos / "list.txt"
    path.write_text("# two of them\n\na9.mp4\ndeep/b.MKV\n")
    assert listed(path) == {"a9": videos / "a9.mp4", "b": videos / "deep" / "b.MKV"}
    path.write_text("a9.mp4\nnone.mp4\n")
    with pytest.raises(FileNotFoundError, match=r"none\.mp4 does not exist \(1 of 2 are missing\)"):
        list_videos(path)
    path.write_text("# nothing\n")
    with pytest.raises(ValueError, match="lists no video"):
        list_videos(path)


def test_two_videos_with_the_same_output_are_refused(videos: Path) -> None:
    (videos / "a9.avi").touch()
    with pytest.raises(ValueError, match="have the same output a9"):
        list_videos(videos)


def test_images_never_hide_videos_and_one_line_names_what_is_left_out(videos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (videos / "poster.jpg").touch()
    (videos / "origin").mkdir()
    (videos / "origin" / "0.png").touch()
    assert list(listed(videos)) == ["a9", "a10", "deep/b", "c", "d"]
    (line,) = caplog.messages
    assert (
        "(5) and everything else is left out: 2 images, 2 other files (.hidden.mp4, notes.md, origin/0.png, poster.jpg)" in line
    )


def test_links_are_listed_or_named(videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (videos / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (videos / "linked.mp4").symlink_to(videos / "c.avi")
    (videos / "folder").symlink_to(videos / "deep")
    os.mkfifo(videos / "pipe.mp4")
    assert list(listed(videos)) == ["a9", "a10", "deep/b", "c", "d", "gone", "linked"]
    assert "folder, notes.md, pipe.mp4" in caplog.text


def test_earlier_results_are_no_input(videos: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, note in (
        ("new", {"format": "mpvss_results", "files": ["overlay.mp4"]}),
        ("earlier", {"video": "a", "settings": {}}),
    ):
        (videos / name).mkdir()
        for file in ("overlay.mp4", "mine.mp4"):
            (videos / name / file).touch()
        (videos / name / "finished.json").write_text(json.dumps(note))
    found = listed(videos)
    assert "new/mine" in found and "earlier/mine" in found and "new/overlay" not in found and "earlier/overlay" not in found
    assert "earlier/overlay.mp4" in caplog.text


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lists_of_any_editor_are_read(videos: Path, mark: str, ending: str) -> None:
    (videos / " odd \u2028name.mp4").touch()
    lines = ["a9.mp4", "  c.avi  ", "", " odd \u2028name.mp4", "# a10.mp4"]
    (videos / "list.TXT").write_bytes((mark + ending.join(lines)).encode())
    assert list(listed(videos / "list.TXT").values()) == [videos / " odd \u2028name.mp4", videos / "a9.mp4", videos / "c.avi"]
    (videos / "list.TXT").write_bytes("a9.mp4".encode("utf-16"))
    with pytest.raises(ValueError, match=r"list\.TXT cannot be read .* expected UTF-8"):
        list_videos(videos / "list.TXT")


@pytest.mark.parametrize("name", ["...mp4", "..mp4", ".mp4", "..", ".a.mp4", "summary.json.mp4", "finished.json.mkv"])
def test_a_listed_name_without_a_folder_of_its_own_is_refused(videos: Path, name: str) -> None:
    if name != "..":
        (videos / name).touch()
    (videos / "list.txt").write_text(f"a9.mp4\n{name}\n")
    with pytest.raises(ValueError, match=r"expected a name that does not begin with a dot|have the same output"):
        list_videos(videos / "list.txt")


@pytest.mark.parametrize("names", [("z.mp4", "z/b.mp4"), ("z/z.mp4", "z/z/b.mp4"), ("b.mp4", "B.mp4"), ("é.mp4", "e\u0301.mp4")])
def test_videos_of_a_folder_with_one_output_or_one_inside_the_other_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"is inside that of|have the same output"):
        list_videos(tmp_path)
