import json
from pathlib import Path

import pytest

from src.files.results.result_marker import FINISHED, RESULTS_FORMAT, check_replaceable, is_inside, is_ours, read_marker


def mark(folder: Path, *files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("ours")
    (folder / FINISHED).write_text(json.dumps({"format": RESULTS_FORMAT, "files": list(files)}))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"done": true}', '{"format": "other", "files": ["a"]}', "[" * 9999]
)
def test_other_content_is_no_marker(tmp_path: Path, content: str) -> None:
    (tmp_path / FINISHED).write_text(content)
    assert read_marker(tmp_path) is None
    with pytest.raises(FileExistsError, match=r"finished\.json exists and is not listed in a finished\.json of this project"):
        check_replaceable(tmp_path, ("overlay.mp4",), overwrite=True)


def test_names_that_leave_the_folder_are_not_ours(tmp_path: Path) -> None:
    note = {"format": RESULTS_FORMAT, "files": ["a", "/etc/passwd", "../a", "b/../../c", 7, None, ""]}
    (tmp_path / FINISHED).write_text(json.dumps(note))
    marker = read_marker(tmp_path)
    assert marker is not None and marker["files"] == ["a", ""] and not is_ours(tmp_path, "")
    assert not is_inside(["a"]) and not is_inside("/")


def test_only_listed_files_may_be_replaced_and_only_on_request(tmp_path: Path) -> None:
    names = ("overlay.mp4", "labels")
    check_replaceable(tmp_path / "new", names, overwrite=False)
    mark(tmp_path / "out", "overlay.mp4", "labels/0.png")
    (tmp_path / "out" / "labels" / "mine.png").write_text("mine")
    with pytest.raises(FileExistsError, match="out has results already; choose another output or set overwrite=true"):
        check_replaceable(tmp_path / "out", names, overwrite=False)
    check_replaceable(tmp_path / "out", names, overwrite=True)
    check_replaceable(tmp_path / "out", ("overlay.mp4", "labels/0.png", "labels/1.png"), overwrite=True)
    for name in ("labels/mine.png", "labels/0.png/deep"):
        (tmp_path / "out" / "class_share.csv").write_text("mine")
        with pytest.raises(FileExistsError, match="move it away or choose another output"):
            check_replaceable(tmp_path / "out", ("class_share.csv" if "deep" in name else name,), overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
def test_links_and_files_in_the_way_are_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "elsewhere").mkdir()
    mark(tmp_path / "out")
    (tmp_path / "out" / FINISHED).unlink()
    (tmp_path / "out" / "labels").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "overlay.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "file").touch()
    for folder, name in (("out", "labels/0.png"), ("out", "overlay.mp4"), ("link", "a"), ("file", "a")):
        with pytest.raises(FileExistsError, match="choose another output"):
            check_replaceable(tmp_path / folder, (name,), overwrite)
    assert not is_ours(tmp_path / "out", "labels/0.png")
