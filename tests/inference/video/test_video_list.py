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
