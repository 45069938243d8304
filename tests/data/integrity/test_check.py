import json

import numpy as np
import pytest

from src.data.datasets.vspw import VSPW
from src.data.integrity.check import FrameFiles, build_exclusion, check_frame, check_splits
from src.structures import IGNORE_INDEX
from tests.data.fake_layouts import label, write_image, write_label, write_vspw

VIDEOS = {"good": ["1", "3"], "bad": ["00", "01", "02", "03", "04", "05", "06", "07", "08", "09", "11"], "void": ["5"]}


@pytest.fixture
def root(tmp_path):
    return write_vspw(tmp_path, VIDEOS)


def damage(root):
    """Add one issue of every kind; return path -> kinds."""
    bad = root / "data/bad"
    whole = (bad / "origin/00.jpg").read_bytes()
    (bad / "origin/00.jpg").write_bytes(b"")
    (bad / "origin/01.jpg").write_bytes(whole[: len(whole) // 2])
    (bad / "origin/02.jpg").unlink()
    (bad / "origin/02.jpg").symlink_to(root / "elsewhere.jpg")
    (bad / "mask/03.png").write_bytes(b"")
    (bad / "mask/04.png").write_text("not a picture")
    write_image(bad / "mask/05.png")
    write_label(bad / "mask/06.png", label(1, size=(6, 8)))
    write_label(bad / "mask/07.png", label(1, 200, 201))
    write_image(bad / "origin/08.jpg", size=(24, 32))
    write_label(bad / "mask/08.png", label(1, size=(24, 32)))
    (bad / "mask/09.png").unlink()
    write_label(bad / "mask/10.png", label(1))
    write_label(root / "data/void/mask/5.png", label(0, 255))
    (root / "train.txt").write_text("good\nbad\nvoid\ngone\ngood\n../x")
    return {
        "train.txt": ["dangling", "duplicate", "layout"],
        "data/bad/origin/00.jpg": ["empty"],
        "data/bad/origin/01.jpg": ["undecodable"],
        "data/bad/origin/02.jpg": ["missing"],
        "data/bad/mask/03.png": ["empty"],
        "data/bad/mask/04.png": ["undecodable"],
        "data/bad/mask/05.png": ["undecodable"],
        "data/bad/mask/06.png": ["size"],
        "data/bad/mask/07.png": ["values"],
        "data/bad/origin/08.jpg": ["size"],
        "data/bad/mask/09.png": ["unpaired"],
        "data/bad/mask/10.png": ["unpaired"],
    }


def collect_issues(root, workers=0, exclude=None):
    issues = []
    data = VSPW(root, "train", exclude=exclude, issues=issues)
    return issues + check_splits({"train": data}, workers)["train"].issues


@pytest.mark.parametrize("workers", [0, 2])
def test_every_issue_is_found_and_named_with_its_path(root, workers):
    expected = damage(root)
    found: dict[str, list[str]] = {}
    for issue in collect_issues(root, workers):
        found.setdefault(issue.path.relative_to(root).as_posix(), []).append(issue.kind)
        assert str(issue.path) in issue.message
    assert {path: sorted(kinds) for path, kinds in found.items()} == expected


def test_with_the_exclusion_list_the_rest_is_read(root):
    damage(root)
    with pytest.raises(FileNotFoundError, match="'gone' is missing"):
        VSPW(root, "train")
    build_exclusion(collect_issues(root), root).write(root / "list.json")
    assert collect_issues(root, exclude=root / "list.json") == []
    data = VSPW(root, "train", exclude=root / "list.json")
    kept = {clip.name: [path.stem for path in clip.images] for clip in data.clips}
    assert kept == {"good": ["1", "3"], "bad": ["03", "04", "05", "06", "07", "09", "11"], "void": ["5"]}
    assert [clip.labelled_frames for clip in data.clips] == [(0, 1), (6,), (0,)]
    for clip, found in enumerate(data.clips):
        for frame in found.labelled_frames:
            assert data.read_image(clip, frame).shape[1:] == data.read_label(clip, frame).shape


def test_issues_of_two_datasets_in_one_list(root):
    damage(root)
    listed = build_exclusion(collect_issues(root), root)
    assert (listed.videos, listed.repeated) == (("../x", "gone"), ("good",))
    assert "train.txt" not in listed.files and "data/bad/origin/00.jpg" in listed.files


def test_a_complete_copy_is_counted(root):
    write_label(root / "data/void/mask/5.png", label(0, 255))
    calls = []
    data = VSPW(root, "train", num_classes=12)
    report = check_splits({"train": data, "again": data}, 0, lambda done, total: calls.append((done, total)))
    assert calls == [(n, 14) for n in range(1, 15)]
    counts = report["train"].as_json(root)
    again = report["again"].as_json(root)
    assert {**counts, "suspicions": []} == {**again, "suspicions": []}
    assert [one["kind"] for one in again["suspicions"]].count("leak") == 1
    assert {key: counts[key] for key in ("clips", "frames", "labelled", "void_only", "shortest", "longest", "issues")} == {
        "clips": 3,
        "frames": 14,
        "labelled": 14,
        "void_only": 1,
        "shortest": 1,
        "longest": 11,
        "issues": [],
    }
    assert counts["sizes"] == {"12x16": 14}
    assert sum(counts["pixels"].values()) == 14 * 12 * 16
    assert counts["pixels"]["class_0"] == 2 * (counts["pixels"]["class_9"])
    json.dumps(counts)


def test_pixels_are_counted_by_class(root):
    report = check_frame(
        VSPW(root, "train", num_classes=2).label_format,
        FrameFiles(root / "data/good/origin/1.jpg", root / "data/good/mask/1.png"),
    )
    values, counts = np.unique(label(0, 1, 255), return_counts=True)
    per_value = dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert report.pixels == {0: per_value[1], IGNORE_INDEX: per_value[0] + per_value[255]}
    assert (report.image_size, report.issues) == ((12, 16), ())


def test_an_unlabelled_frame_is_no_issue(root):
    report = check_frame(VSPW(root, "train").label_format, FrameFiles(root / "data/good/origin/1.jpg", None))
    assert (report.pixels, report.issues) == (None, ())


def test_nothing_to_check_is_no_error():
    assert check_splits({}, 0) == {}
