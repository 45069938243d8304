"""Videos of other encoders, in the folder ``MPVSS_VIDEOS`` that ``scripts/fetch_videos.sh <folder>`` fills."""

import os
from pathlib import Path

import pytest

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.decoder import VideoFrames
from src.inference.video.outputs import OutputOptions, VideoOutputs
from src.inference.video.prediction import predict_video
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator
from tests.inference.videos import count_frames, length

# Decodable frames; the header of tree.avi declares 444.
FILES = {"bikes.mp4": 250, "bigbuckbunny.mp4": 132, "tree.avi": 68, "vtest.avi": 795}
MOST = 80


@pytest.mark.parametrize("name", FILES)
def test_the_overlay_has_the_frames_and_the_length_of_its_source(name: str, tmp_path: Path) -> None:
    folder = os.environ.get("MPVSS_VIDEOS")
    if folder is None or not (Path(folder) / name).is_file():
        pytest.skip(f"no {name}; set MPVSS_VIDEOS to the folder that scripts/fetch_videos.sh filled")
    path = Path(folder) / name
    assert count_frames(path) == FILES[name]
    source = VideoFrames(path)
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(10), short_side=40)
    with VideoOutputs(tmp_path / "out", source.info, CLASSES, FakeClips.palette, OutputOptions()) as outputs:
        done = predict_video(stream, source, outputs.write, max_frames=MOST)
        outputs.finish()
    overlay = tmp_path / "out" / "overlay.mp4"
    frames = min(MOST, FILES[name])
    assert done.frames == frames == count_frames(overlay) and source.decode_errors == []
    assert length(overlay) == pytest.approx(done.position, abs=1e-3)
