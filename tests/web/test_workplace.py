import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from src.web.workplace import workplace

HOLD = (
    "import sys; from src.web.workplace import workplace\nwith workplace() as folder: print(folder, flush=True); sys.stdin.read()"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def other_page(temporary: Path) -> tuple["subprocess.Popen[str]", Path]:
    """Start a process with a page's folder, which holds a file."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=os.environ | {"TMPDIR": str(temporary)}, stdin=-1, stdout=-1, text=True
    )
    assert child.stdout is not None
    folder = Path(child.stdout.readline().strip())
    (folder / "session_x").mkdir()
    (folder / "session_x" / "overlay.mp4").write_bytes(b"x")
    return child, folder


def test_the_folder_ends_with_its_page(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), workplace() as folder:
        assert folder.parent == temporary and folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").mkdir()
        raise KeyboardInterrupt
    assert not list(temporary.iterdir())


def test_only_folders_of_killed_pages_are_swept(temporary: Path) -> None:
    (temporary / "mine.txt").write_text("precious")
    (temporary / "mpvss_demo_mine").mkdir()
    (temporary / "mpvss_demo_mine" / "a.mp4").write_text("precious")
    (temporary / "outside").mkdir()
    (temporary / "outside" / ".mpvss_demo").touch()
    (temporary / "mpvss_demo_link").symlink_to(temporary / "outside")
    before = sorted(path for path in temporary.rglob("*"))
    child, folder = other_page(temporary)
    try:
        with workplace():
            assert (folder / "session_x" / "overlay.mp4").exists()
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert folder.exists()
        with workplace():
            assert not folder.exists()
    finally:
        child.kill()
        child.communicate()
    assert sorted(path for path in temporary.rglob("*")) == before


def test_what_cannot_be_deleted_is_named(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError("refused")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with workplace() as folder:
        pass
    assert f"{folder} could not be deleted: refused" in caplog.text
