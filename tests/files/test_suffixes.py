"""Law: a folder of videos is read alike as training footage and by batch prediction."""

import pytest

from src.data.datasets import video_files
from src.files.suffixes import VIDEO_SUFFIXES
from src.inference.video.video_list import list_videos


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_datasets_and_prediction_accept_the_same_files(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"clip{suffix.upper()}"
    path.touch()
    monkeypatch.setattr(video_files, "_index_frames", lambda path: ([0, 1], 25.0))
    assert [clip.images for clip in video_files.VideoFiles(tmp_path).clips] == [(path, path)]
    assert list_videos(tmp_path) == {"clip": path}
