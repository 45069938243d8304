"""Laws of the place of results: names that are files, names that are folders, and errors of one line."""

import os
from pathlib import Path

import pytest

from src.inference.video.output_places import check_output, names_file, output_scratch
from src.inference.video.outputs import OutputOptions

FILE = OutputOptions(is_file=True)


def test_suffixes_name_files_and_existing_folders_are_folders(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert all(names_file(tmp_path / name) for name in ("out.mp4", "OUT.MP4", "out.jpg", "out.avi", "new/out.png"))
    assert not any(names_file(tmp_path / name) for name in ("out", "folder.mp4", "v1.5", "mp4", ".mp4"))


@pytest.mark.parametrize(
    ("name", "options", "is_picture", "message"),
    [
        ("out.avi", FILE, False, r"out\.avi for a video; expected a folder or a name that ends in \.mp4$"),
        ("out.png", FILE, False, r"out\.png for a video; expected a folder or a name that ends in \.mp4$"),
        ("out.mp4", FILE, True, r"out\.mp4 for a picture; expected a folder or a name that ends in \.png, \.jpg, \.jpeg$"),
        (
            "out.mp4",
            OutputOptions(labels=True, is_file=True),
            False,
            r"labels is true, but output is the file .*out\.mp4; expected",
        ),
        ("out.png", OutputOptions(flow_pictures=True, is_file=True), True, "flow_pictures is true, but output is the file"),
        (
            "out.mp4",
            OutputOptions(exports=("coco", "cvat"), is_file=True),
            False,
            r"exports is \[coco, cvat\], but output is the file",
        ),
    ],
)
def test_a_file_that_cannot_hold_the_results_is_refused(
    tmp_path: Path, name: str, options: OutputOptions, is_picture: bool, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        check_output(tmp_path / name, options, is_picture, overwrite=True)
    assert "\n" not in str(refused.value)


def test_the_overlay_that_would_be_replaced_is_that_of_the_input(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "overlay.png").write_text("mine")
    check_output(tmp_path / "out", OutputOptions(), is_picture=False, overwrite=False)
    with pytest.raises(FileExistsError, match=r"overlay\.png exists and is not listed"):
        check_output(tmp_path / "out", OutputOptions(), is_picture=True, overwrite=True)
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(FileExistsError, match=r"out\.mp4 exists and was not written by a prediction"):
        check_output(tmp_path / "out.mp4", FILE, is_picture=False, overwrite=True)


@pytest.mark.parametrize("is_file", [False, True])
def test_a_scratch_of_either_place_is_committed_or_leaves_nothing(tmp_path: Path, is_file: bool) -> None:
    output = tmp_path / ("out.mp4" if is_file else "out")
    for commit in (False, True):
        with output_scratch(output, is_file) as scratch:
            (scratch.new if is_file else scratch.new / "overlay.mp4").write_text("video")
            if commit:
                scratch.commit({"settings": {}}, overwrite=False)
        assert os.listdir(tmp_path) == ([output.name] if commit else [])
    assert (output if is_file else output / "overlay.mp4").read_text() == "video"
