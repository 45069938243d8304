from pathlib import Path

import numpy as np
import torch
from PIL import Image

from src.inference.evaluation.pictures import write_comparison_video, write_pictures
from src.inference.methods import with_method
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.inference.video.decoder import VideoFrames
from tests.inference.tiny import FakeClips, tiny_propagator


def streams(short_side: int | None = None) -> dict[str, StreamingSegmentor]:
    propagator = tiny_propagator()
    return {
        name: StreamingSegmentor(with_method(propagator, name), FixedInterval(1 if name == "per_frame" else 3), short_side)
        for name in ("per_frame", "copy", "query")
    }


def test_the_video_has_every_frame_of_the_clip(tmp_path: Path) -> None:
    data, reported = FakeClips((3, 5), unlabelled=frozenset({2})), []
    write_comparison_video(streams(), data, 1, tmp_path / "clip.mp4", lambda done, total: reported.append((done, total)))
    video = VideoFrames(tmp_path / "clip.mp4")
    read = [frame.image for frame in video]
    assert len(read) == 5 and video.info.fps == 15 and reported == [(i, 5) for i in range(1, 6)]
    assert not torch.equal(read[0], read[4])


def test_pictures_of_every_method(tmp_path: Path) -> None:
    # The network sees other sizes than the label's: everything has to be brought together.
    paths = write_pictures(streams(short_side=64), FakeClips((6, 2)), tmp_path / "pictures", offset=2)
    assert [path.name for path in paths] == [
        "clip0_00003.png", "clip0_00003_copy.png", "clip0_00003_query.png",
        "clip1_00001.png", "clip1_00001_copy.png", "clip1_00001_query.png",
    ]  # fmt: skip
    pictures = [np.asarray(Image.open(path)) for path in paths]
    assert all(picture.std() > 10 for picture in pictures)
    assert not np.array_equal(pictures[1], pictures[2])


def test_fused_frames_have_pictures_of_their_weights_and_a_place_in_the_video(tmp_path: Path) -> None:
    propagator = with_method(tiny_propagator(), "copy")
    fused = {
        f"copy, {mode}, fused keys": StreamingSegmentor(propagator, FixedInterval(3), 64, mode=mode, fuse_keys=True)
        for mode in ("online", "offline")
    }
    paths = write_pictures(fused, FakeClips((8,)), tmp_path / "pictures", offset=2)
    # Frame 4 is pictured, its key frame is 2.
    assert [path.name for path in paths if "online" not in path.name] == [
        "clip0_00002_copy_offline_fused_keys_weights.png", "clip0_00004.png",
        "clip0_00004_copy_offline_fused_keys_weights.png",
    ]  # fmt: skip
    write_comparison_video(fused, FakeClips((5,)), 0, tmp_path / "clip.mp4")
    assert len(list(VideoFrames(tmp_path / "clip.mp4"))) == 5
