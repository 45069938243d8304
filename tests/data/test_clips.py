import numpy as np
import pytest
import torch

from src.data.clips import FileClips, SplitContent
from src.structures import IGNORE_INDEX, Clip
from tests.data.fake_layouts import label, write_image, write_label


@pytest.fixture
def clips(tmp_path):
    write_image(tmp_path / "a.jpg")
    write_label(tmp_path / "a.png", label(0, 1, 2, 9))
    clip = Clip("a", (tmp_path / "a.jpg",) * 2, (tmp_path / "a.png", None))
    values = {0: IGNORE_INDEX, 1: 0, 2: 1, 9: IGNORE_INDEX}
    return FileClips(SplitContent([clip], ("x", "y"), 5.0, values))


def test_label_values_become_classes(clips):
    assert clips.num_classes == 2
    assert clips.read_label(0, 0)[0, ::4].tolist() == [IGNORE_INDEX, 0, 1, IGNORE_INDEX]
    assert clips.read_label(0, 0).dtype == torch.int64
    assert clips.read_flow(0, 1, 0) is None


@pytest.mark.parametrize("value", [3, 10, 300])
def test_a_label_value_out_of_range_is_named_with_the_file(clips, tmp_path, value):
    values = label(1).astype(np.uint16)
    values[3, 4] = value
    write_label(tmp_path / "a.png", values)
    with pytest.raises(ValueError, match=rf"a\.png: label value {value} \(1 such pixels out of range\); expected 0\.\.2, 9"):
        clips.read_label(0, 0)


def test_a_label_of_another_size_names_both_files(clips, tmp_path):
    write_label(tmp_path / "a.png", label(1, size=(10, 16)))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a\.png is 10x16 .*a\.jpg is 12x16"):
            clips.read_label(0, 0)
        # The size is known from now on.
        clips.read_image(0, 0)


def test_reading_a_missing_label_is_an_error(clips):
    with pytest.raises(ValueError, match="frame 1 of clip a has no label"):
        clips.read_label(0, 1)


def test_short_clips_are_left_out(clips):
    rest = {"classes": ("x",), "fps": 5.0, "label_values": {0: 0}}
    short = Clip("short", clips.clips[0].images[:1], (None,))
    assert [c.name for c in FileClips(SplitContent([*clips.clips, short], **rest), min_clip_length=2).clips] == ["a"]
    with pytest.raises(ValueError, match="none of 1 clips is left with min_clip_length=2"):
        FileClips(SplitContent([short], **rest), min_clip_length=2)
