"""Law: every frame of every video is read in the natural order of the names, and no pair has a label."""

import pytest

from src.data.datasets.unlabelled_frames import UnlabelledVideos
from src.data.pairs.dataset import PairDataset
from src.data.pairs.mixture import MixedPairs, PairSource
from src.data.pairs.sampling import FrameSampling
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import write_image
from tests.inference.tiny import FakeClips


@pytest.fixture
def videos(tmp_path):
    """Frame ``n`` of video ``a`` has grey value ``10 * n``, of ``b`` 100 more; names have no leading zeros."""
    for video, count, first in (("a", 12, 0), ("b", 2, 100), ("short", 1, 0)):
        for frame in range(count):
            write_image(tmp_path / video / "origin" / f"{frame}.png", value=first + 10 * frame)
    return UnlabelledVideos(tmp_path, frames="origin")


def test_frames_are_read_in_natural_order(videos):
    assert [(clip.name, clip.labelled_frames) for clip in videos.clips] == [("a", ()), ("b", ())]
    values = [[int(videos.read_image(k, n)[0, 0, 0]) for n in range(len(clip))] for k, clip in enumerate(videos.clips)]
    assert values == [list(range(0, 120, 10)), [100, 110]]


def test_pairs_have_the_sampled_frames_and_ignored_labels(videos):
    main = PairDataset(FakeClips(), FrameSampling(1), num_samples=8, seed=0)
    mixed = MixedPairs(main, [PairSource(videos, FrameSampling(3), share=0.9, labelled=False)])
    samples = [mixed[number].sample for number in range(8)]
    found = [sample for sample in samples if sample.name.startswith(("a/", "b/"))]
    assert len(found) > 4
    for sample in found:
        video, frames = sample.name.split("/")
        expected = [(100 if video == "b" else 0) + 10 * int(frame) for frame in frames.split("->")]
        assert [int(image.unique()) for image in (sample.key_image, sample.nonkey_image)] == expected
        assert sample.nonkey_label.unique().tolist() == [IGNORE_INDEX]


def test_a_folder_without_videos_or_frames_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no videos"):
        UnlabelledVideos(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match=r"a.* holds no frames"):
        UnlabelledVideos(tmp_path)
