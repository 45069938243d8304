import numpy as np
import pytest
from PIL import Image

from src.data.datasets.folder import FolderClips
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label


@pytest.fixture
def root(tmp_path):
    (tmp_path / "classes.yaml").write_text("fps: 10\nclasses: [road, {name: car, value: [7, 1000]}]")
    for number in (2, 10, 11):
        write_image(tmp_path / f"frames/drive/f_{number}.jpg", size=(9, 16))
    write_label(tmp_path / "masks/drive/f_10.png", label(0, 7, 255, size=(9, 16)).astype(np.uint16) * 1)
    write_image(tmp_path / "frames/one/0.png", size=(20, 6))
    picture = Image.fromarray(label(0, 7, size=(20, 6)), mode="P")
    picture.putpalette([1, 2, 3] * 256)
    (tmp_path / "masks/one").mkdir(parents=True)
    picture.save(tmp_path / "masks/one/0.png")
    (tmp_path / "val.txt").write_text("one")
    return tmp_path


def test_frames_and_masks_are_matched_by_name(root):
    data = FolderClips(root)
    assert [(clip.name, len(clip), clip.labelled_frames) for clip in data.clips] == [("drive", 3, (1,)), ("one", 1, (0,))]
    assert data.read_label(0, 1)[0, [0, 8, 15]].tolist() == [0, 1, IGNORE_INDEX]
    assert data.read_label(1, 0).unique().tolist() == [0, 1]
    assert (data.classes, data.fps) == (("road", "car"), 10.0)


def test_sixteen_bit_masks_are_read(root):
    write_label(root / "masks/drive/f_10.png", np.full((9, 16), 1000, np.uint16))
    assert FolderClips(root).read_label(0, 1).unique().tolist() == [1]


def test_a_list_chooses_videos(root):
    assert [clip.name for clip in FolderClips(root, "val").clips] == ["one"]
    with pytest.raises(FileNotFoundError, match=r"train\.txt does not exist"):
        FolderClips(root, "train")
    (root / "train.txt").write_text("drive\nnone\n")
    with pytest.raises(FileNotFoundError, match=r"train\.txt, line 2: video 'none' is missing"):
        FolderClips(root, "train")


def test_unlabelled_videos_are_read(root):
    write_image(root / "frames/raw/0.jpg")
    assert [clip.labelled_frames for clip in FolderClips(root).clips] == [(1,), (0,), ()]
    with pytest.raises(ValueError, match=r"has no label; expected .*masks.drive"):
        FolderClips(root, labelling="every_frame")


def test_the_number_of_classes_is_checked(root):
    assert FolderClips(root, num_classes=2).num_classes == 2
    with pytest.raises(ValueError, match=r"classes\.yaml names 2 classes but num_classes=5"):
        FolderClips(root, num_classes=5)


def test_bad_folders_and_settings_are_named(root, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileNotFoundError, match=r"classes\.yaml does not exist"):
        FolderClips(empty)
    (empty / "classes.yaml").write_text("classes: [a]")
    with pytest.raises(FileNotFoundError, match="frames holds no videos"):
        FolderClips(empty)
    with pytest.raises(ValueError, match="labelling is 'some'"):
        FolderClips(root, labelling="some")


def test_lists_and_lengths_are_honoured(root):
    assert [clip.name for clip in FolderClips(root, min_clip_length=2).clips] == ["drive"]
    (root / "list.json").write_text('{"files": ["frames/drive/f_2.jpg"], "videos": ["one"]}')
    (clip,) = FolderClips(root, exclude=root / "list.json").clips
    assert [path.name for path in clip.images] == ["f_10.jpg", "f_11.jpg"]
    write_label(root / "masks/drive/f_99.png", [[0]])
    issues = []
    FolderClips(root, issues=issues)
    assert [(issue.kind, issue.path.name) for issue in issues] == [("unpaired", "f_99.png")]
