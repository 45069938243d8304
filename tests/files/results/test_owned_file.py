"""Laws of single result files: whole or absent, and never in place of a file of another program."""

import os
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.files.results.owned_file import FILE_MARK, check_file, file_scratch
from src.inference.video.writer import VideoWriter
from tests.inference.tiny import frames

NAMES = ["out.mp4", "out.png", "out.jpg"]


def make(path: Path, mark: str | None = FILE_MARK) -> None:
    if path.suffix == ".mp4":
        with VideoWriter(path, 15, comment=mark) as video:
            video.write(frames(1, (32, 32))[0])
        return
    info = PngInfo()
    if mark is not None and path.suffix == ".png":
        info.add_text("comment", mark)
    options = {"pnginfo": info} if path.suffix == ".png" else {} if mark is None else {"comment": mark}
    Image.new("RGB", (8, 8)).save(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_a_marked_file_is_replaced_on_request_and_others_are_not(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for overwrite in (False, True):
        check_file(path, overwrite)
    make(path)
    check_file(path, overwrite=True)
    with pytest.raises(FileExistsError, match="has results already; choose another output or set overwrite=true"):
        check_file(path, overwrite=False)
    for content in (None, "another comment", b"no picture", b""):
        path.unlink()
        path.write_bytes(content) if isinstance(content, bytes) else make(path, content)
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match=f"{name} exists and was not written by a prediction; expected no file"):
                check_file(path, overwrite)


def test_a_link_a_folder_and_a_read_only_place_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "there.mp4")
    (tmp_path / "link.mp4").symlink_to("there.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("link.mp4", "folder.mp4"):
        with pytest.raises(FileExistsError, match=f"{name} is no regular file"):
            check_file(tmp_path / name, overwrite=True)
    with pytest.raises(NotADirectoryError, match=r"there\.mp4 is no folder"):
        check_file(tmp_path / "there.mp4" / "out.mp4", overwrite=True)


def test_a_file_appears_only_when_it_is_committed(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.mp4"
    with file_scratch(target) as scratch:
        scratch.new.write_text("part")
    assert not os.listdir(target.parent)
    with pytest.raises(KeyError), file_scratch(target) as scratch:
        raise KeyError
    assert not os.listdir(target.parent)
    with file_scratch(target) as scratch:
        scratch.new.write_text("whole")
        assert scratch.commit({}, overwrite=False) == [target] and not target.exists()
    assert target.read_text() == "whole" and os.listdir(target.parent) == ["out.mp4"]


def test_a_result_is_kept_if_another_file_took_its_name(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    with (
        pytest.raises(FileExistsError, match=r"not written by a prediction.*the result is kept in .*out\..*\.kept\.mp4"),
        file_scratch(target) as scratch,
    ):
        scratch.new.write_text("result")
        target.write_text("mine")
        scratch.commit({}, overwrite=True)
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == ["mine", "result"] and target.read_text() == "mine"
