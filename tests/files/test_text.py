from pathlib import Path

import pytest

from src.data.datasets.frame_folders import read_video_list
from src.data.integrity.issues import IssuePolicy
from src.files.text import read_text


def test_a_byte_order_mark_and_windows_line_endings_are_no_content(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffé\r\nb".encode())
    assert read_text(tmp_path / "a.txt").splitlines() == ["é", "b"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"one\n\xe9two\n"])
def test_a_list_of_another_encoding_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"train\.txt cannot be read \(.*codec.*\); expected UTF-8 text"):
        read_video_list(tmp_path / "train.txt", lambda name: tmp_path / name, IssuePolicy(tmp_path))


def test_unreadable_list_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.txt").write_text("a\n")

    def broken(*_: object, **__: object) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_text", broken)
    with pytest.raises(ValueError, match=r"train\.txt cannot be read \(.*Input/output error\)"):
        read_text(tmp_path / "train.txt")
