import pytest

from src.data.datasets.frame_folders import FrameFolders, read_clip, subfolders
from src.data.integrity.issues import IssuePolicy
from tests.data.fake_layouts import write_image, write_label


@pytest.fixture
def video(tmp_path):
    for name in ("9", "10", "007"):
        write_image(tmp_path / "frames" / f"{name}.jpg")
        write_label(tmp_path / "masks" / f"{name}.png", [[0]])
    return FrameFolders("v", tmp_path / "frames", tmp_path / "masks")


def test_frames_are_in_order_with_their_labels(video, tmp_path):
    (tmp_path / "masks" / "9.png").unlink()
    clip = read_clip(video, IssuePolicy(tmp_path), "any")
    assert [path.stem for path in clip.images] == ["007", "9", "10"]
    assert [path and path.stem for path in clip.labels] == ["007", None, "10"]


@pytest.mark.parametrize(("labelling", "allowed"), [("any", {0, 1, 3}), ("all_or_none", {0, 3}), ("every_frame", {3})])
def test_which_frames_must_have_labels(video, tmp_path, labelling, allowed):
    masks = sorted((tmp_path / "masks").iterdir())
    for count in (3, 1, 0):
        for path in masks[count:]:
            path.unlink(missing_ok=True)
        if count in allowed:
            assert len(read_clip(video, IssuePolicy(tmp_path), labelling).labelled_frames) == count
        else:
            with pytest.raises(ValueError, match=r"\.jpg has no label; expected .*masks"):
                read_clip(video, IssuePolicy(tmp_path), labelling)


def test_a_label_without_an_image_is_always_an_error(video, tmp_path):
    (tmp_path / "frames" / "9.jpg").unlink()
    with pytest.raises(ValueError, match=r"masks.9\.png has no image"):
        read_clip(video, IssuePolicy(tmp_path), "any")


def test_a_video_without_frames_is_one_issue(tmp_path):
    collected = []
    assert read_clip(FrameFolders("v", tmp_path / "f", tmp_path / "m"), IssuePolicy(tmp_path, issues=collected), "any") is None
    assert [(issue.kind, issue.path.name, issue.entry) for issue in collected] == [("missing", "f", "v")]


def test_an_excluded_file_is_replaced_by_another_of_the_same_frame(video, tmp_path):
    write_image(tmp_path / "frames" / "9.png")
    with pytest.raises(ValueError, match=r"9\.png: more than one file for the same frame; 9\.jpg also exists"):
        read_clip(video, IssuePolicy(tmp_path), "any")
    (tmp_path / "list.json").write_text('{"files": ["frames/9.jpg"]}')
    clip = read_clip(video, IssuePolicy(tmp_path, tmp_path / "list.json"), "any")
    assert [path.name for path in clip.images] == ["007.jpg", "9.png", "10.jpg"]


def test_subfolders_are_in_order_and_nothing_else(tmp_path):
    for name in ("0010", "0009", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    assert subfolders(tmp_path) == ["0009", "0010"]
    assert subfolders(tmp_path / "none") == []
