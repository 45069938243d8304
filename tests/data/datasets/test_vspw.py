import json

import numpy as np
import pytest
from PIL import Image

from src.data.datasets.vspw import VSPW, VSPW_CLASSES
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label, write_vspw

VIDEOS = {"b_street": ["00000012", "00000013", "00000021"], "a_one": ["7"]}


@pytest.fixture
def root(tmp_path):
    return write_vspw(tmp_path, VIDEOS)


def test_the_names_have_the_published_label_values():
    """Label values 1, 19, 29, 49, 61, 67, 102 and 124 of label_num_dic_final.json."""
    assert len(set(VSPW_CLASSES)) == len(VSPW_CLASSES) == 124
    known = {1: "wall", 19: "road", 29: "sky", 49: "car", 61: "person", 67: "tree", 102: "Microwave_oven", 124: "train"}
    assert {value: VSPW_CLASSES[value - 1] for value in known} == known


def test_labels_shift_and_frames_stay_in_order(root):
    data = VSPW(root, "train", num_classes=3)
    assert [(clip.name, len(clip)) for clip in data.clips] == [("b_street", 3), ("a_one", 1)]
    assert [image.stem for image in data.clips[0].images] == VIDEOS["b_street"]
    for frame in range(3):
        assert abs(int(data.read_image(0, frame)[0, 0, 0]) - frame) <= 1
        assert data.read_label(0, frame)[0, [0, 8, 15]].tolist() == [IGNORE_INDEX, frame, IGNORE_INDEX]
    assert data.fps == 15.0


def test_the_defaults_are_vspws(root):
    data = VSPW(root, "train")
    assert data.num_classes == 124
    assert (data.classes[0], data.classes[60], data.classes[123]) == ("wall", "person", "train")
    assert VSPW(root, "train", num_classes=3).classes == ("class_0", "class_1", "class_2")


def test_class_names_come_from_the_file_by_value(root):
    write_vspw(root, VIDEOS, names={"others": 0, "sky": 3, "wall": 1, "door": 2})
    assert VSPW(root, "train", num_classes=3).classes == ("wall", "door", "sky")
    with pytest.raises(ValueError, match=r"label_num_dic_final\.json names no class for label values \[4\]"):
        VSPW(root, "train", num_classes=4)
    (root / "label_num_dic_final.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"label_num_dic_final\.json cannot be read"):
        VSPW(root, "train", num_classes=3)


def test_own_classes_and_palette_are_taken(root):
    data = VSPW(root, "train", 2, classes=("disc", "box"), fps=10.0)
    assert (data.classes, data.chosen_colors, data.fps) == (("disc", "box"), (), 10.0)
    with pytest.raises(ValueError, match="1 class names but num_classes=2"):
        VSPW(root, "train", 2, classes=("disc",))


@pytest.mark.parametrize(
    "text", ["b_street\na_one", "b_street\r\na_one\r\n", "\n b_street \n\n\na_one\n\n", "\ufeffb_street\na_one\n"]
)
def test_a_list_may_have_any_line_endings(root, text):
    (root / "train.txt").write_bytes(text.encode())
    assert [clip.name for clip in VSPW(root, "train").clips] == ["b_street", "a_one"]


def test_a_missing_video_is_named_with_list_line_and_folder(root):
    (root / "train.txt").write_text("b_street\n\nc_gone\n")
    with pytest.raises(
        FileNotFoundError, match=r"train\.txt, line 3: video 'c_gone' is missing; expected the folder .*c_gone.origin"
    ):
        VSPW(root, "train")


@pytest.mark.parametrize("entry", ["../x", "/etc", "a/b", "..", "a\\b"])
def test_an_entry_outside_the_data_folder_is_refused(root, entry):
    (root / "train.txt").write_text(f"b_street\n{entry}\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 2: .* is not a video name"):
        VSPW(root, "train")


def test_lists_that_are_missing_empty_or_double(root):
    with pytest.raises(FileNotFoundError, match=r"val\.txt does not exist"):
        VSPW(root, "val")
    (root / "train.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"train\.txt lists no video"):
        VSPW(root, "train")
    (root / "train.txt").write_text("a_one\nb_street\na_one")
    with pytest.raises(ValueError, match=r"line 3: video 'a_one' is already listed on line 1"):
        VSPW(root, "train")


def test_an_empty_root_is_refused_with_the_expected_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no data/; expected train\.txt and data/<video>/origin"):
        VSPW(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="holds no data/"):
        VSPW(tmp_path / "absent", "train")


def test_images_and_masks_must_match_one_to_one(root):
    (root / "data/b_street/mask/00000013.png").unlink()
    with pytest.raises(ValueError, match=r"origin.00000013\.jpg has no label; expected .*mask.00000013\.png"):
        VSPW(root, "train")
    write_label(root / "data/b_street/mask/00000013.png", [[1]])
    write_label(root / "data/b_street/mask/00000099.png", [[1]])
    with pytest.raises(ValueError, match=r"mask.00000099\.png has no image; expected .*origin.00000099"):
        VSPW(root, "train")


def test_only_the_test_split_may_lack_masks(tmp_path):
    root = write_vspw(tmp_path, VIDEOS, split="test", masks=False)
    assert VSPW(root, "test").clips[0].labels == (None, None, None)
    (root / "test.txt").rename(root / "val.txt")
    with pytest.raises(ValueError, match=r"00000012\.jpg has no label.* \(and 2 more such issues\)"):
        VSPW(root, "val")


def test_frames_may_be_png_but_not_twice(root):
    write_image(root / "data/a_one/origin/8.png")
    write_label(root / "data/a_one/mask/8.png", [[1]])
    (root / "data/a_one/origin/._7.jpg").write_text("archive dropping")
    assert [p.name for p in VSPW(root, "train").clips[1].images] == ["7.jpg", "8.png"]
    write_image(root / "data/a_one/origin/7.png")
    with pytest.raises(ValueError, match=r"7\.png: more than one file for the same frame; 7\.jpg also exists"):
        VSPW(root, "train")


def test_a_video_without_frames_is_named(root):
    for path in (root / "data/a_one").glob("*/7.*"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a_one.origin holds no frames"):
        VSPW(root, "train")


def test_a_label_value_beyond_the_classes_is_an_error(root):
    with pytest.raises(ValueError, match=r"00000021\.png: label value 3 .* expected 0\.\.2, 255"):
        VSPW(root, "train", num_classes=2).read_label(0, 2)


def test_videos_shorter_than_the_minimum_are_left_out(root):
    assert [clip.name for clip in VSPW(root, "train", min_clip_length=2).clips] == ["b_street"]
    assert [clip.name for clip in VSPW(root, "train", min_clip_length=3).clips] == ["b_street"]
    with pytest.raises(ValueError, match="min_clip_length=4"):
        VSPW(root, "train", min_clip_length=4)


def test_full_size_and_480p_are_read_alike_whatever_their_proportions(tmp_path):
    for name, size in (("full", (27, 48)), ("480p", (12, 21)), ("tall", (21, 12))):
        write_image(tmp_path / f"data/{name}/origin/3.jpg", size=size)
        write_label(tmp_path / f"data/{name}/mask/3.png", np.full(size, 124, np.uint8))
    (tmp_path / "val.txt").write_text("full\n480p\ntall")
    data = VSPW(tmp_path, "val")
    assert [tuple(data.read_image(i, 0).shape[1:]) for i in range(3)] == [(27, 48), (12, 21), (21, 12)]
    assert [data.read_label(i, 0).unique().tolist() for i in range(3)] == [[123]] * 3


def test_a_void_label_and_a_palette_png_are_labels(root):
    path = root / "data/a_one/mask/7.png"
    write_label(path, label(0, 255))
    assert VSPW(root, "train").read_label(1, 0).unique().tolist() == [IGNORE_INDEX]
    image = Image.fromarray(label(0, 2, 255), mode="P")
    image.putpalette([value for k in range(256) for value in (k, 255 - k, 7)])
    image.save(path)
    assert VSPW(root, "train").read_label(1, 0).unique().tolist() == [1, IGNORE_INDEX]


def test_excluded_files_and_videos_are_not_used(root, tmp_path):
    (root / "train.txt").write_text("b_street\ngone\na_one\nb_street\n../evil")
    (root / "data/b_street/mask/00000013.png").unlink()
    write_label(root / "data/b_street/mask/00000099.png", [[1]])
    files = ["data/b_street/mask/00000013.png", "data/b_street/mask/00000099.png", "data/b_street/origin/00000021.jpg"]
    listed = {"files": files, "videos": ["gone", "../evil"], "repeated": ["b_street"]}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    street, one = VSPW(root, "train", exclude=tmp_path / "list.json").clips
    assert [path.stem for path in street.images] == ["00000012", "00000013"]
    assert (street.labelled_frames, one.name) == ((0,), "a_one")
    # A list that is shorter than what is wrong does not hide the rest.
    (tmp_path / "list.json").write_text(json.dumps(listed | {"videos": ["gone"]}))
    with pytest.raises(ValueError, match=r"line 5: '\.\./evil' is not a video name"):
        VSPW(root, "train", exclude=tmp_path / "list.json")


def test_issues_are_collected_on_request(root):
    (root / "train.txt").write_text("gone\nb_street\nb_street")
    (root / "data/b_street/mask/00000013.png").unlink()
    issues = []
    data = VSPW(root, "train", issues=issues)
    assert [clip.labelled_frames for clip in data.clips] == [(0, 2)]
    assert [(f.kind, f.path.relative_to(root).as_posix(), f.entry) for f in issues] == [
        ("dangling", "train.txt", "gone"),
        ("duplicate", "train.txt", "b_street"),
        ("unpaired", "data/b_street/mask/00000013.png", None),
    ]
