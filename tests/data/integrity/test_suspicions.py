"""Suspicions, checked through the reader of folders and ``check_splits``, as scripts/check_data.py does."""

import numpy as np
import pytest
from PIL import Image

from src.data.datasets.folder import FolderClips
from src.data.integrity.check import check_splits
from tests.data.fake_layouts import write_label

CLASSES = ["road", "car", "tree", "sky"]


def scene(frame, values=(0, 1, 2, 3), size=(24, 32)):
    """Return columns of the given values, which move from frame to frame."""
    columns = np.array(values, np.uint8)[(np.arange(size[1]) + frame) * len(values) // size[1] % len(values)]
    return np.tile(columns, (size[0], 1))


def write_frames(root, video, labels, seed=0):
    rng = np.random.default_rng(seed)
    (root / "frames" / video).mkdir(parents=True)
    for n, values in enumerate(labels):
        image = rng.integers(0, 255, (*values.shape, 3)).astype(np.uint8)
        Image.fromarray(image).save(root / "frames" / video / f"{n:03d}.png")
        write_label(root / "masks" / video / f"{n:03d}.png", values)


def found(root, classes=CLASSES, split="train"):
    (root / "classes.yaml").write_text("classes: [" + ", ".join(classes) + "]")
    # With a list of validation videos, nothing of the training videos is held out.
    for name in (split, "val"):
        (root / f"{name}.txt").write_text("\n".join(sorted(path.name for path in (root / "frames").iterdir())))
    report = check_splits({split: FolderClips(root, split)}, 0)[split]
    return {one.kind: one.message for one in report.suspicions}, report


def test_sound_data_is_not_suspected(tmp_path):
    for n in range(2):
        write_frames(tmp_path, f"v{n}", [scene(t) for t in range(4)], seed=n)
    suspicions, report = found(tmp_path)
    assert (suspicions, report.issues, report.absent_classes) == ({}, [], [])


@pytest.mark.parametrize(
    ("values", "classes", "sign"),
    [
        ((1, 2, 3), CLASSES, "class 'road' (value 0) never occurs, but 3 later classes do"),
        ((1, 2, 3, 4), CLASSES, "and so does the undefined value 4"),
        ((1, 2), ["a", "b", "c", "d", "e", "f", "g", "h"], "class 'a' (value 0) never occurs"),
        ((1, 7), ["background", *"bcdefghijklmnopqrstu"], "class 'background' (value 0) never occurs"),
        ((0, 1, 2, 3, 4), CLASSES, "value 4, one above the last class, occurs: labels may count from 1, with 0 for void"),
        ((255, 255, 0, 1, 2), CLASSES, "class 'sky' (value 3) never occurs"),
    ],
)
def test_shifted_class_numbers_are_suspected(tmp_path, values, classes, sign):
    write_frames(tmp_path, "v", [scene(t, values) for t in range(4)])
    assert sign in found(tmp_path, classes)[0]["off_by_one"]


def test_few_of_many_classes_are_no_sign_of_a_shift(tmp_path):
    write_frames(tmp_path, "v", [scene(t, (3, 9, 14)) for t in range(4)])
    suspicions, report = found(tmp_path, [f"class_{n}" for n in range(20)])
    assert suspicions == {} and len(report.absent_classes) == 17


def test_mostly_void_labels_are_suspected(tmp_path):
    sparse = scene(0, (255,))
    sparse[0, :4] = [0, 1, 2, 3]
    write_frames(tmp_path, "v", [sparse])
    assert found(tmp_path)[0] == {"void": "99.5 % of the labelled pixels are void; expected less than 90 %"}


def test_a_binary_mask_of_0_and_255_is_suspected(tmp_path):
    write_frames(tmp_path, "v", [scene(t, (0, 255)) for t in range(3)])
    suspicions, report = found(tmp_path, ["background", "person"])
    assert (
        suspicions["one_class"] == "every labelled pixel is 'background' or void; an ignored value (255) may be meant as a class"
    )
    assert report.absent_classes == ["person"]


def test_copied_labels_are_suspected(tmp_path):
    write_frames(tmp_path, "v", [scene(0)] * 4)
    assert found(tmp_path)[0]["identical"].startswith("all 4 labels are identical")
    write_frames(tmp_path, "w", [scene(5)] * 4, seed=1)
    write_frames(tmp_path, "x", [scene(t) for t in range(4)], seed=2)
    assert found(tmp_path)[0]["identical"].startswith("2 clips repeat one label in every frame")


def test_interpolated_labels_are_suspected(tmp_path):
    write_frames(tmp_path, "v", [scene(t) for t in range(3)])
    smooth = np.asarray(Image.fromarray(scene(1, (0, 3), (12, 16))).resize((32, 24), Image.Resampling.BILINEAR))
    write_label(tmp_path / "masks/v/001.png", smooth)
    suspicions, report = found(tmp_path)
    assert suspicions["interpolated"].startswith("1 of 3 labels have values between") and report.issues == []
    assert "masks/v/001.png" in suspicions["interpolated"]


def test_training_frames_without_any_label_are_suspected(tmp_path):
    write_frames(tmp_path, "v", [scene(0)])
    (tmp_path / "masks").rename(tmp_path / "labels")
    assert found(tmp_path)[0] == {"unlabelled": "none of 1 training frames has a label"}


def test_frames_of_training_in_the_test_split_are_named(tmp_path):
    write_frames(tmp_path, "a", [scene(t) for t in range(3)], seed=0)
    write_frames(tmp_path, "b", [scene(t) for t in range(2)], seed=1)
    write_frames(tmp_path, "copy of a", [scene(t) for t in range(2)], seed=0)
    (tmp_path / "classes.yaml").write_text("classes: [road, car, tree, sky]")
    for split, names in {"train": "a\nb", "val": "b", "test": "copy of a"}.items():
        (tmp_path / f"{split}.txt").write_text(names)
    splits = {name: FolderClips(tmp_path, name) for name in ("train", "val", "test")}
    reports = check_splits(splits, 0)
    assert reports["train"].suspicions == []
    (val,), (test,) = reports["val"].suspicions, reports["test"].suspicions
    assert val.kind == test.kind == "leak"
    assert val.message.startswith("2 of 2 frames are also in train") and "the same file" in val.message
    assert test.message.startswith("2 of 2 frames are also in train") and "frames/a/000.png" in test.message
    (both,) = check_splits({"train/test": splits["train"]}, 0)["train/test"].suspicions
    assert both.message.startswith("train/test are the same frames")


def test_every_class_is_counted(tmp_path):
    write_frames(tmp_path, "v", [scene(0, (0, 1)), scene(0, (0, 255))])
    _, report = found(tmp_path)
    content = report.as_json(tmp_path)
    assert content["absent_classes"] == ["tree", "sky"]
    assert list(content["classes"]) == [*CLASSES, "void"]
    assert {name: one["frames"] for name, one in content["classes"].items()} == {
        "road": 2, "car": 1, "tree": 0, "sky": 0, "void": 1,
    }  # fmt: skip
    assert sum(one["share"] for one in content["classes"].values()) == pytest.approx(1)
