import pickle

import numpy as np
import pytest
from PIL import Image

from src.data.datasets.folder import FolderClips
from src.data.integrity.frame import FrameFiles, check_frame
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label
from tests.data.sharding import shard
from tests.files.images.make_images import STORED, animation, exif


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
    assert [clip.name for clip in FolderClips(root, "train").clips] == ["drive"]
    with pytest.raises(FileNotFoundError, match=r"test\.txt does not exist"):
        FolderClips(root, "test")
    (root / "train.txt").write_text("drive\nnone\n")
    with pytest.raises(FileNotFoundError, match=r"train\.txt, line 2: video 'none' is missing"):
        FolderClips(root, "train")


def test_without_a_list_for_validation_labels_are_held_out(root):
    (root / "val.txt").unlink()
    parts = [[clip.name for clip in FolderClips(root, split).clips] for split in ("train", "val")]
    assert parts == [["one"], ["drive"]]
    (root / "train.txt").write_text("one\n")
    with pytest.raises(ValueError, match=r"has no val\.txt and 1 labelled frames; expected at least 2"):
        FolderClips(root, "val")


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


COLORED = """
classes:
  - {name: road, color: [128, 64, 128]}
  - {name: car, color: [0, 0, 142]}
mask_colors: true
ignore_colors: [[0, 0, 0]]
"""


def colored(path, colors, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((9, 16, 3), np.uint8)
    for n, color in enumerate(colors):
        pixels[:, n * 16 // len(colors) :] = color
    image = Image.fromarray(pixels)
    (image.quantize(8) if mode == "P" else image.convert(mode)).save(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_color_coded_masks_are_read_by_the_colors_of_the_classes(root, mode, suffix):
    (root / "classes.yaml").write_text(COLORED)
    (root / "masks/one/0.png").unlink()
    colored(root / f"masks/one/0.{suffix}", [(0, 0, 142), (128, 64, 128), (0, 0, 0)], mode)
    data = FolderClips(root, "val")
    assert data.read_image(0, 0).shape[1:] == (20, 6)
    write_image(root / "frames/one/0.png", size=(9, 16))
    data = FolderClips(root, "val")
    assert data.read_label(0, 0)[4, [0, 6, 14]].tolist() == [1, 0, IGNORE_INDEX]
    assert data.chosen_colors == ((128, 64, 128), (0, 0, 142))


def test_a_color_that_is_no_class_is_named_with_its_count_and_file(root):
    (root / "classes.yaml").write_text(COLORED)
    write_image(root / "frames/one/0.png", size=(9, 16))
    colored(root / "masks/one/0.png", [(0, 0, 142), (1, 2, 3)])
    with pytest.raises(
        ValueError, match=r"0\.png: color \[1, 2, 3\] \(72 such pixels out of range\); expected the colors \[128, 64"
    ):
        FolderClips(root, "val").read_label(0, 0)
    report = check_frame(FolderClips(root, "val").label_format, FrameFiles(root / "frames/one/0.png", root / "masks/one/0.png"))
    assert [issue.kind for issue in report.issues] == ["values"] and "color [1, 2, 3] (72 pixels)" in report.issues[0].message
    assert not report.interpolated


def test_the_format_of_color_masks_is_small_for_other_processes(root):
    (root / "classes.yaml").write_text(COLORED)
    assert len(pickle.dumps(FolderClips(root, "val").label_format)) < 2000


@pytest.mark.parametrize("folder", ["masks/pairs", "frames/pairs"])
def test_masks_with_a_suffix_are_found_in_either_folder(root, folder):
    with (root / "classes.yaml").open("a") as file:
        file.write("\nmask_suffix: _mask")
    for path in sorted(root.glob("masks/*/*.png")):
        path.rename(path.with_stem(f"{path.stem}_mask"))
    for name in ("x", "y"):
        write_image(root / f"frames/pairs/{name}.jpg")
        write_label(root / folder / f"{name}_mask.png", label(0, 7))
    data = FolderClips(root)
    assert [(clip.name, len(clip), clip.labelled_frames) for clip in data.clips] == [
        ("drive", 3, (1,)), ("one", 1, (0,)), ("pairs", 2, (0, 1)),
    ]  # fmt: skip
    assert data.read_label(2, 0).unique().tolist() == [0, 1]


def test_masks_with_a_suffix_that_is_not_set_are_an_error_with_the_way_out(root):
    write_image(root / "frames/pairs/x.jpg")
    write_label(root / "masks/pairs/x_mask.png", label(0, 7))
    with pytest.raises(ValueError, match=r"x_mask\.png has no image; .*; set mask_suffix: _mask in classes\.yaml"):
        FolderClips(root)
    (root / "masks/pairs/x_mask.png").rename(root / "frames/pairs/x_mask.png")
    with pytest.raises(ValueError, match=r"x_mask\.png looks like a mask: .* set mask_suffix: _mask in classes\.yaml"):
        FolderClips(root)


def test_lossy_masks_are_an_error(root):
    write_image(root / "masks/drive/f_2.jpg", size=(9, 16))
    with pytest.raises(ValueError, match=r"f_2\.jpg may be lossy; expected masks as PNG, TIFF or BMP"):
        FolderClips(root)
    issues = []
    FolderClips(root, issues=issues)
    assert [(issue.kind, issue.path.name) for issue in issues] == [("lossy", "f_2.jpg")]


def test_one_line_names_what_is_left_out(root, caplog):
    FolderClips(root)
    assert caplog.records == []
    for name in ("frames/drive/notes.txt", "masks/drive/f_10.json", "masks/one/0.xcf", "masks/drive/.hidden"):
        (root / name).touch()
    write_image(root / "masks/drive/f_10.jpg", size=(9, 16))
    FolderClips(root)
    (line,) = caplog.messages
    assert line == f"{root}: 4 left out, which are no images: notes.txt, f_10.jpg, f_10.json, ..."


@pytest.mark.parametrize("suffix", ["gif", "tif", "webp", "bmp", "avif"])
def test_frames_of_every_format_are_read(root, suffix):
    write_image(root / f"frames/one/1.{suffix}", size=(20, 6))
    data = FolderClips(root, "val")
    assert [data.read_image(0, n).shape for n in range(2)] == [(3, 20, 6)] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_frame_takes_a_label_that_fits_what_viewers_show(root, orientation, tmp_path_factory):
    shown = np.zeros((9, 16, 3), np.uint8)
    shown[:, 8:] = 200
    stored = np.ascontiguousarray(STORED[orientation](shown))
    Image.fromarray(stored).save(root / "frames/one/0.png", exif=exif(orientation))
    write_label(root / "masks/one/0.png", np.where(shown[..., 0] > 100, 7, 0).astype(np.uint8))
    for folder in (root, shard(root, tmp_path_factory.mktemp("shards"))):
        data = FolderClips(folder, "val")
        assert data.read_label(0, 0).tolist() == (shown[..., 0] > 100).astype(int).tolist()
        assert np.array_equal(data.read_image(0, 0).permute(1, 2, 0), shown)
    if orientation > 4:
        write_label(root / "masks/one/0.png", np.zeros(stored.shape[:2], np.uint8))
        with pytest.raises(ValueError, match=r"0\.png is 16x9 .* is 9x16 as shown, turned by its EXIF orientation"):
            FolderClips(root, "val").read_label(0, 0)


def test_an_animation_among_frames_is_an_error(root):
    (root / "frames/one/0.png").write_bytes(animation("PNG", 3, (20, 6)))
    with pytest.raises(ValueError, match=r"0\.png holds 3 frames or pages; expected one image"):
        FolderClips(root, "val").read_image(0, 0)
