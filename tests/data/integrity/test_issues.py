from pathlib import Path

import pytest

from src.data.integrity.exclusion import Exclusion
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.structures import Clip

ROOT = Path("root")


def policy(tmp_path, noted=None, **lists):
    Exclusion(**lists).write(tmp_path / "list.json")
    return IssuePolicy(ROOT, tmp_path / "list.json", noted)


@pytest.mark.parametrize("kind, error", [("missing", FileNotFoundError), ("dangling", FileNotFoundError), ("values", ValueError)])
def test_a_fault_is_an_error_unless_it_is_noted_or_excluded(tmp_path, kind, error):
    fault = DatasetIssue(kind, ROOT / "a.jpg", "a.jpg is bad")
    with pytest.raises(error, match=r"^a\.jpg is bad$"):
        IssuePolicy(ROOT).report(fault)
    with pytest.raises(error, match=r"a\.jpg is bad \(and 1 more such faults\)"):
        IssuePolicy(ROOT).report(fault, fault)
    noted = []
    IssuePolicy(ROOT, noted=noted).report(fault, fault)
    assert noted == [fault, fault]
    policy(tmp_path, files=("a.jpg",)).report(fault)


def test_each_kind_of_entry_has_its_own_list(tmp_path):
    twice, gone = (
        DatasetIssue("duplicate", ROOT / "l.txt", "twice", entry="v"),
        DatasetIssue("dangling", ROOT / "l.txt", "gone", entry="v"),
    )
    noted = []
    policy(tmp_path, noted, repeated=("v",), files=("l.txt",)).report(twice, gone)
    assert noted == [gone]
    policy(tmp_path, noted := [], videos=("v",)).report(twice, gone)
    assert noted == [twice]


def clip(name, images, labels):
    return Clip(name, tuple(ROOT / i for i in images), tuple(label and ROOT / label for label in labels))


def test_excluded_images_take_their_frame_along_and_labels_do_not(tmp_path):
    before = clip("v", ("0.jpg", "1.jpg", "2.jpg"), ("0.png", "1.png", "2.png"))
    after = policy(tmp_path, files=("1.jpg", "2.png")).apply([before], 1)
    assert after == [clip("v", ("0.jpg", "2.jpg"), ("0.png", None))]
    assert policy(tmp_path).apply([before], 1) == [before]


def test_clips_of_which_nothing_useful_is_left_go(tmp_path):
    bare = clip("bare", ("b.jpg",), (None,))
    seen = clip("seen", ("0.jpg", "1.jpg"), ("0.png", None))
    assert policy(tmp_path, files=("0.png",)).apply([bare, seen], 1) == [bare]
    assert policy(tmp_path, files=("b.jpg", "0.png"), noted=[]).apply([bare, seen], 1) == []
    with pytest.raises(ValueError, match="root: none of 2 clips is left"):
        policy(tmp_path, files=("b.jpg", "0.png")).apply([bare, seen], 1)
    assert policy(tmp_path, files=("1.jpg",), noted=[]).apply([seen], 2) == []
