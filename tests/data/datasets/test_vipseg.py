import json

import numpy as np
import pytest

from src.data.datasets.vipseg import VIPSeg, panoptic_values
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label

FRAMES = {"10_park": ["00000010", "00000013", "00000040"], "2_one": ["00000001"]}
VALUES = (0, 1, 124, 6100, 6107, 12401)


def write_vipseg(root, folder="imgs", split="val", masks=True):
    for video, frames in FRAMES.items():
        for frame in frames:
            write_image(root / folder / video / f"{frame}.jpg", size=(9, 24))
            if masks:
                columns = np.array(VALUES, np.uint16)[np.arange(24) // 4]
                write_label(root / "panomasks" / video / f"{frame}.png", np.tile(columns, (9, 1)))
    (root / f"{split}.txt").write_text("\n".join(FRAMES))
    return root


@pytest.mark.parametrize("folder", ["imgs", "images"])
def test_things_and_stuff_become_the_classes_of_vspw(tmp_path, folder):
    data = VIPSeg(write_vipseg(tmp_path, folder), "val")
    assert [(clip.name, len(clip)) for clip in data.clips] == [("10_park", 3), ("2_one", 1)]
    assert data.read_label(0, 2)[0, ::4].tolist() == [IGNORE_INDEX, 0, 123, 60, 60, 123]
    assert (data.classes[60], data.classes[123], data.num_classes, data.fps) == ("person", "train", 124, 5.0)


def test_every_value_belongs_to_the_category_of_the_published_rule():
    values = panoptic_values()
    assert values.pop(0) == IGNORE_INDEX
    assert values == {value: (value if value < 125 else value // 100) - 1 for value in range(1, 12500)}


def test_class_names_come_from_the_file(tmp_path):
    names = {"others": "0"} | {f"name{k}": str(k) for k in range(1, 125)}
    (write_vipseg(tmp_path) / "label_num_dic_final.json").write_text(json.dumps(names))
    assert VIPSeg(tmp_path, "val").classes[60] == "name61"


def test_a_value_beyond_the_categories_is_named(tmp_path):
    write_vipseg(tmp_path)
    write_label(tmp_path / "panomasks/2_one/00000001.png", np.full((9, 24), 12500, np.uint16))
    with pytest.raises(ValueError, match=r"00000001\.png: label value 12500 .*expected 0\.\.12499"):
        VIPSeg(tmp_path, "val").read_label(1, 0)


def test_only_the_test_split_may_lack_masks(tmp_path):
    root = write_vipseg(tmp_path, split="test", masks=False)
    assert VIPSeg(root, "test").clips[1].labels == (None,)
    (root / "test.txt").rename(root / "train.txt")
    with pytest.raises(ValueError, match=r"00000010\.jpg has no label; expected .*panomasks"):
        VIPSeg(root, "train")


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no imgs/; expected val\.txt"):
        VIPSeg(tmp_path, "val")
    write_vipseg(tmp_path)
    (tmp_path / "val.txt").write_text("gone")
    with pytest.raises(FileNotFoundError, match=r"val\.txt, line 1: video 'gone' is missing"):
        VIPSeg(tmp_path, "val")


def test_lists_and_lengths_are_honoured(tmp_path):
    write_vipseg(tmp_path)
    assert [clip.name for clip in VIPSeg(tmp_path, "val", min_clip_length=2).clips] == ["10_park"]
    write_label(tmp_path / "panomasks/2_one/00000001.png", label(0, size=(9, 24)))
    assert VIPSeg(tmp_path, "val").read_label(1, 0).unique().tolist() == [IGNORE_INDEX]
    (tmp_path / "list.json").write_text('{"videos": ["10_park"]}')
    assert [clip.name for clip in VIPSeg(tmp_path, "val", exclude=tmp_path / "list.json").clips] == ["2_one"]
    issues = []
    (tmp_path / "panomasks/2_one/00000001.png").unlink()
    VIPSeg(tmp_path, "val", issues=issues)
    assert [issue.path.name for issue in issues] == ["00000001.png"]
