import av
import numpy as np
import pytest
import torch

from src.data.datasets.video_files import VideoFiles
from src.data.pairs.dataset import PairDataset
from src.data.pairs.mixture import MixedPairs, PairSource
from src.data.pairs.sampling import FrameSampling, UniformSampling
from src.data.pairs.transforms import PairTransform, RandomCrop
from src.inference.video.decoder import VideoFrames
from src.structures import IGNORE_INDEX
from tests.inference.tiny import FakeClips, frames
from tests.inference.videos import make_video


def write_video(path, frames, **options):
    """Frame n is a grey of 8 * n; with B frames, as cameras write them, the order of the file is not that of time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "8", "bf": "2", "crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 8 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "b" / "two.mp4", 1)
    write_video(root / "a_10.mkv", 21)
    write_video(root / "a_9.mp4", 21)
    (root / "notes.txt").touch()
    return VideoFiles(root, ("sky", "road"))


def test_every_video_is_a_clip_without_labels(data):
    assert [(clip.name, len(clip)) for clip in data.clips] == [("a_9", 21), ("a_10", 21), ("b/two", 1)]
    assert not any(clip.labelled_frames for clip in data.clips)
    assert (data.num_classes, data.chosen_colors, data.fps) == (2, (), 25.0)
    assert data.read_flow(0, 1, 0) is None
    with pytest.raises(ValueError, match=r"a_9\.mp4: frame 3 has no label"):
        data.read_label(0, 3)


@pytest.mark.parametrize("clip", [0, 1])
def test_any_frame_is_read_in_any_order(data, clip):
    for frame in (20, 0, 7, 8, 9, 15, 3):
        image = data.read_image(clip, frame)
        assert image.shape == (3, 32, 48)
        assert abs(float(image.float().mean()) - 8 * frame) < 3, frame


def test_one_line_names_what_is_left_out(tmp_path, caplog):
    write_video(tmp_path / "a.mp4", 2)
    VideoFiles(tmp_path)
    assert caplog.records == []
    for name in ("b.jpg", "c.txt", "._a.mp4"):
        (tmp_path / name).touch()
    assert [clip.name for clip in VideoFiles(tmp_path).clips] == ["a"]
    assert caplog.messages == [f"{tmp_path}: 2 left out, which are no videos: b.jpg, c.txt"]


def test_bad_folders_and_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no video; expected files ending in"):
        VideoFiles(tmp_path, ("a",))
    (tmp_path / "broken.mp4").write_text("not a video")
    with pytest.raises(ValueError, match=r"broken\.mp4 is not a readable video"):
        VideoFiles(tmp_path, ("a",))


def test_videos_without_classes_are_a_source_of_unlabelled_pairs(data):
    videos = VideoFiles(data.root)
    assert (videos.num_classes, videos.chosen_colors) == (0, ())
    read = []
    videos.read_image = lambda clip, frame, interleaved=False: read.append(frame) or data.read_image(clip, frame, interleaved)
    videos.clips = videos.clips[:2]
    crop = PairTransform([RandomCrop((16, 24))])
    main = PairDataset(FakeClips(), UniformSampling(3), crop, num_samples=12, seed=0)
    mixed = MixedPairs(main, [PairSource(videos, FrameSampling(2), 0.5, crop, labelled=False)])
    samples = [sample for number in range(12) if (sample := mixed[number].sample).name.startswith("a_")]
    assert 2 < len(samples) < 10 and len(read) == 2 * len(samples), "each frame is decoded once"
    for sample in samples:
        key, nonkey = (int(frame) for frame in sample.name.split("/")[1].split("->"))
        assert (
            abs(float(sample.key_image.float().mean()) - 8 * key)
            < 3
            > abs(float(sample.nonkey_image.float().mean()) - 8 * nonkey)
        )
        assert sample.nonkey_label.shape == (16, 24) and (sample.nonkey_label == IGNORE_INDEX).all()


def test_frames_are_shown_as_in_predictions(tmp_path):
    make_video(tmp_path / "mirrored.mp4", frames(3, (32, 64)), rotation=90, mirrored=True)
    make_video(tmp_path / "deep.mkv", frames(3, (720, 1280)), pix_fmt="yuv420p10le")
    data = VideoFiles(tmp_path)
    for clip, file in enumerate(("deep.mkv", "mirrored.mp4")):
        for number, frame in enumerate(VideoFrames(tmp_path / file)):
            assert torch.equal(data.read_image(clip, number), frame.image)
            assert torch.equal(data.read_image(clip, number, interleaved=True), frame.image)
