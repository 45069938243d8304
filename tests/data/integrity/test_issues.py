from pathlib import Path

import pytest

from src.data.integrity.exclusion import Exclusion
from src.data.integrity.issues import DatasetIssue, IssuePolicy
from src.structures import Clip

ROOT = Path("root")


def policy(tmp_path, issues=None, **lists):
    Exclusion(**lists).write(tmp_path / "list.json")
    return IssuePolicy(ROOT, tmp_path / "list.json", issues)


@pytest.mark.parametrize("kind, error", [("missing", FileNotFoundError), ("dangling", FileNotFoundError), ("values", ValueError)])
def test_an_issue_is_raised_unless_it_is_collected_or_excluded(tmp_path, kind, error):
    issue = DatasetIssue(kind, ROOT / "a.jpg", "a.jpg is bad")
    with pytest.raises(error, match=r"^a\.jpg is bad$"):
        IssuePolicy(ROOT).report(issue)
    with pytest.raises(error, match=r"a\.jpg is bad \(and 1 more such issues\)"):
        IssuePolicy(ROOT).report(issue, issue)
    collected = []
    IssuePolicy(ROOT, issues=collected).report(issue, issue)
    assert collected == [issue, issue]
    policy(tmp_path, files=("a.jpg",)).report(issue)


def test_each_kind_of_entry_has_its_own_list(tmp_path):
    twice, gone = (
        DatasetIssue("duplicate", ROOT / "l.txt", "twice", entry="v"),
        DatasetIssue("dangling", ROOT / "l.txt", "gone", entry="v"),
    )
    collected = []
    policy(tmp_path, collected, repeated=("v",), files=("l.txt",)).report(twice, gone)
    assert collected == [gone]
    policy(tmp_path, collected := [], videos=("v",)).report(twice, gone)
    assert collected == [twice]


def clip(name, images, labels):
    return Clip(name, tuple(ROOT / i for i in images), tuple(label and ROOT / label for label in labels))


def test_excluded_images_remove_their_frame_and_excluded_labels_do_not(tmp_path):
    before = clip("v", ("0.jpg", "1.jpg", "2.jpg"), ("0.png", "1.png", "2.png"))
    after = policy(tmp_path, files=("1.jpg", "2.png")).apply([before], 1)
    assert after == [clip("v", ("0.jpg", "2.jpg"), ("0.png", None))]
    assert policy(tmp_path).apply([before], 1) == [before]


def test_clips_without_usable_frames_are_removed(tmp_path):
    bare = clip("bare", ("b.jpg",), (None,))
    seen = clip("seen", ("0.jpg", "1.jpg"), ("0.png", None))
    assert policy(tmp_path, files=("0.png",)).apply([bare, seen], 1) == [bare]
    assert policy(tmp_path, files=("b.jpg", "0.png"), issues=[]).apply([bare, seen], 1) == []
    with pytest.raises(ValueError, match="root: none of 2 clips is left"):
        policy(tmp_path, files=("b.jpg", "0.png")).apply([bare, seen], 1)
    assert policy(tmp_path, files=("1.jpg",), issues=[]).apply([seen], 2) == []
