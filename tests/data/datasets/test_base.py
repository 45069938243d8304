"""Law: every dataset on disk has the same root, exclusion and issue handling, whatever its layout."""

import json

import pytest

from src.data.clips import SplitContent
from src.data.datasets.base import DatasetFolder, check_split
from src.data.integrity.issues import DatasetIssue
from src.structures import IGNORE_INDEX, Clip
from tests.data.fake_layouts import label, write_image, write_label


class OneVideo(DatasetFolder):
    """``<root>/<split>_<n>.png`` with labels beside them; reports an issue if frame 9 is missing."""

    def load_split(self, policy):
        images = sorted(self.root.glob(f"{self.split}_*.png"))
        policy.report_missing([self.root / f"{self.split}_9.png"], "the video")
        labels = tuple(path.parent / "labels" / path.name for path in images)
        return SplitContent([Clip("v", tuple(images), labels)], ["x"], 7.0, {0: IGNORE_INDEX, 5: 0}, chosen_colors=[(1, 2, 3)])


@pytest.fixture
def root(tmp_path):
    for frame in (1, 2, 9):
        write_image(tmp_path / f"val_{frame}.png")
        write_label(tmp_path / "labels" / f"val_{frame}.png", label(0, 5))
    return tmp_path


def test_the_content_of_the_layout_is_read(root):
    data = OneVideo(str(root), "val")
    assert (data.root, data.split, data.fps, data.classes, data.chosen_colors) == (root, "val", 7.0, ("x",), ((1, 2, 3),))
    assert data.read_label(0, 2)[0, [0, 15]].tolist() == [IGNORE_INDEX, 0]


def test_listed_files_are_left_out_and_the_rest_must_be_long_enough(root):
    (root / "list.json").write_text(json.dumps({"files": ["val_1.png", "labels/val_2.png"]}))
    (clip,) = OneVideo(root, "val", exclude=root / "list.json").clips
    assert ([path.name for path in clip.images], clip.labelled_frames) == (["val_2.png", "val_9.png"], (1,))
    with pytest.raises(ValueError, match="none of 1 clips is left with min_clip_length=3"):
        OneVideo(root, "val", min_clip_length=3, exclude=root / "list.json")


def test_issues_are_raised_or_collected(root):
    (root / "val_9.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"val_9\.png does not exist; expected it for the video"):
        OneVideo(root, "val")
    issues: list[DatasetIssue] = []
    assert len(OneVideo(root, "val", issues=issues).clips[0]) == 2
    assert [(issue.kind, issue.path) for issue in issues] == [("missing", root / "val_9.png")]


def test_an_unknown_split_is_refused():
    check_split("X", "val", ("train", "val"))
    with pytest.raises(ValueError, match="unknown X split 'all'; expected one of train, val"):
        check_split("X", "all", ("train", "val"))
