import pytest

from src.data.datasets.camvid import DENSE_DRIVE, TRAIN_DRIVES, CamVid
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label

NAMES = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign_symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
    "void(ignore)",
]


@pytest.fixture
def root(tmp_path):
    frames = {drive: range(30, 630, 30) for drive in TRAIN_DRIVES} | {DENSE_DRIVE: [7920, *range(7959, 8060, 2), 8070]}
    lines = ["sequence,frame,gap_to_previous,segnet_split,image,label"]
    for drive, numbers in frames.items():
        for number in numbers:
            image, png = f"{drive}/image/{number:06d}.jpg", f"{drive}/label/{number:06d}.png"
            write_image(tmp_path / image)
            write_label(tmp_path / png, label(0, 10, 11))
            lines.append(f"{drive},{number},,train,{image},{png}")
    (tmp_path / "index.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    (tmp_path / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)))
    return tmp_path


def test_splits_follow_the_protocol(root):
    clips = {split: CamVid(root, split).clips for split in ("train", "train_part", "val_part", "test")}
    assert [(c.name, len(c)) for c in clips["train"]] == [(drive, 20) for drive in TRAIN_DRIVES]
    assert [len(c) for c in clips["train_part"]] == [18] * 3
    assert [len(c) for c in clips["val_part"]] == [2] * 3
    for whole, first, last in zip(clips["train"], clips["train_part"], clips["val_part"], strict=True):
        assert first.images + last.images == whole.images
        assert list(whole.images) == sorted(whole.images)
    assert [image.stem for image in clips["test"][0].images] == [f"{n:06d}" for n in range(7959, 8060, 2)]
    assert CamVid(root, "test").fps == 15.0


def test_void_is_ignored_and_classes_are_kept(root):
    data = CamVid(root, "test")
    assert data.read_label(0, 0)[0, [0, 8, 15]].tolist() == [0, 10, IGNORE_INDEX]
    assert data.classes == tuple(NAMES[:11])


def test_bad_roots_and_splits_are_named(root, tmp_path_factory):
    with pytest.raises(ValueError, match="unknown CamVid split 'val'; expected one of train, train_part"):
        CamVid(root, "val")
    with pytest.raises(FileNotFoundError, match=r"index\.csv does not exist; expected"):
        CamVid(tmp_path_factory.mktemp("empty"), "train")
    (root / "classes.txt").write_text("0 sky\n2 road\n")
    with pytest.raises(ValueError, match=r"classes\.txt has 2 entries"):
        CamVid(root, "train")
    (root / "classes.txt").write_text("".join(f"{max(i, 1)} {name}\n" for i, name in enumerate(NAMES)))
    with pytest.raises(ValueError, match=r"classes\.txt: entry 1 is '1 sky'; expected '0 <name>'"):
        CamVid(root, "train")


def test_a_missing_file_is_named(root):
    missing = root / "0006R0/label/000060.png"
    missing.unlink()
    with pytest.raises(FileNotFoundError, match=r"000060\.png does not exist; expected it for drive 0006R0"):
        CamVid(root, "train")
    issues = []
    CamVid(root, "train", issues=issues)
    assert [(issue.kind, issue.path) for issue in issues] == [("missing", missing)]
    (root / "list.json").write_text('{"files": ["0006R0/label/000060.png"]}')
    kept = CamVid(root, "train", exclude=root / "list.json").clips[1]
    assert (len(kept), len(kept.labelled_frames), kept.labels[1]) == (20, 19, None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0001TP,x,,,a.jpg,a.png", "line 2: frame 'x' is not a number; expected an integer"),
        ("0001TP,1,,,../a.jpg,a.png", "line 2: path is '../a.jpg'; expected a relative path inside"),
        ("0001TP,1,,,a.jpg,", "line 2: path is ''; expected"),
        ("0001TP,1", "line 2: path is ''; expected"),
        ("0001TP,1,,,a.jpg,a.png\n0001TP,1,,,a.jpg,a.png", "lists frame 1 of drive 0001TP twice"),
        ("0016E5,1,,,a.jpg,a.png", "lists no frame of drive 0001TP for split train"),
    ],
)
def test_bad_index_lines_are_named(root, line, message):
    (root / "index.csv").write_text(f"sequence,frame,gap_to_previous,segnet_split,image,label\n{line}\n")
    with pytest.raises(ValueError, match=message):
        CamVid(root, "train")


def test_an_index_without_its_columns_is_named(root):
    (root / "index.csv").write_text("sequence,image,label\n")
    with pytest.raises(ValueError, match=r"index\.csv has no column frame"):
        CamVid(root, "train")


def test_the_real_recordings_are_as_published(shared_data):
    root = shared_data / "camvid"
    assert sum(len(clip) for clip in CamVid(root, "train").clips) == 396
    test = CamVid(root, "test")
    assert [len(clip) for clip in test.clips] == [51]
    assert test.read_image(0, 50).shape == (3, 360, 480)
    assert set(test.read_label(0, 50).unique().tolist()) <= {*range(11), IGNORE_INDEX}
