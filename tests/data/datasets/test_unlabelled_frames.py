import pytest

from src.data.datasets.unlabelled_frames import UnlabelledVideos
from tests.data.fake_layouts import write_image


def test_every_folder_of_frames_is_a_video_without_labels(tmp_path):
    for video, count in (("a", 3), ("b", 2), ("short", 1)):
        for frame in range(count):
            write_image(tmp_path / video / "origin" / f"{frame}.jpg")
    videos = UnlabelledVideos(tmp_path, frames="origin")
    assert [(clip.name, len(clip), clip.labelled_frames) for clip in videos.clips] == [("a", 3, ()), ("b", 2, ())]
    assert videos.read_image(1, 1).shape[0] == 3


def test_a_folder_without_videos_or_frames_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no videos"):
        UnlabelledVideos(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match=r"a.* holds no frames"):
        UnlabelledVideos(tmp_path)
