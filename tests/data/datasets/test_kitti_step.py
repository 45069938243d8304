import numpy as np
import pytest
from PIL import Image

from src.data.datasets.cityscapes import CLASSES
from src.data.datasets.kitti_step import VAL_SEQUENCES, KittiStep
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label

SIZE = (7, 24)


def write_panoptic(path):
    """R: classes 0, 13 and void; G and B: instances, which are not classes."""
    semantic = label(0, 13, 255, size=SIZE)
    instance = label(1, 40, 0, size=SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([semantic, instance // 7, instance], axis=-1)).save(path)


def write_kitti(root, images):
    for part, sequence, frames in (("train", "0011", (0, 1, 5)), ("train", "0009", (3,)), ("val", "0018", (0, 1))):
        for frame in frames:
            write_image(root / images.format(part=part) / sequence / f"{frame:06d}.png", size=SIZE)
            write_panoptic(root / "panoptic_maps" / part / sequence / f"{frame:06d}.png")
    return root


@pytest.mark.parametrize("images", ["images/{part}", "training/image_02"])
def test_the_classes_are_in_the_red_channel(tmp_path, images):
    data = KittiStep(write_kitti(tmp_path, images), "train")
    assert [(clip.name, len(clip)) for clip in data.clips] == [("0009", 1), ("0011", 3)]
    assert data.read_label(1, 2)[0, ::8].tolist() == [0, 13, IGNORE_INDEX]
    assert (data.classes, data.fps) == (tuple(c.name for c in CLASSES), 10.0)
    assert [clip.name for clip in KittiStep(tmp_path, "val").clips] == ["0018"]
    assert [clip.name for clip in KittiStep(tmp_path, "all").clips] == ["0009", "0011", "0018"]


def test_single_sequences_are_split_by_their_numbers(tmp_path):
    for sequence in ("0000", "0002"):
        write_image(tmp_path / sequence / "image" / "000004.jpg", size=SIZE)
        write_label(tmp_path / sequence / "label" / "000004.png", label(18, 255, size=SIZE))
    assert [clip.name for clip in KittiStep(tmp_path, "train").clips] == ["0000"]
    assert [clip.name for clip in KittiStep(tmp_path, "val").clips] == ["0002"]
    assert KittiStep(tmp_path, "all").read_label(0, 0).unique().tolist() == [18, IGNORE_INDEX]
    assert len(VAL_SEQUENCES) == 9


def test_missing_files_are_errors(tmp_path):
    with pytest.raises(ValueError, match="unknown KITTI-STEP split 'test'; expected one of train, val, all"):
        KittiStep(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match="holds no sequence of split 'val'; expected panoptic_maps/<split>/<seq4>"):
        KittiStep(tmp_path, "val")
    write_kitti(tmp_path, "images/{part}")
    gone = tmp_path / "panoptic_maps/train/0011/000001.png"
    gone.unlink()
    with pytest.raises(ValueError, match=r"0011.000001\.png has no label; expected .*panoptic_maps"):
        KittiStep(tmp_path, "train")
    issues = []
    KittiStep(tmp_path, "train", issues=issues)
    assert [issue.path for issue in issues] == [gone]
    (tmp_path / "list.json").write_text('{"files": ["panoptic_maps/train/0011/000001.png"], "videos": ["0009"]}')
    (clip,) = KittiStep(tmp_path, "train", exclude=tmp_path / "list.json", min_clip_length=3).clips
    assert clip.labelled_frames == (0, 2)


def test_the_real_recording_is_as_published(shared_data):
    data = KittiStep(shared_data / "kitti_step", "train")
    assert [(clip.name, len(clip), len(clip.labelled_frames)) for clip in data.clips] == [("0000", 11, 11)]
    assert data.read_image(0, 10).shape == (3, 375, 1242)
    for frame in range(11):
        assert set(data.read_label(0, frame).unique().tolist()) <= {*range(19), IGNORE_INDEX}
