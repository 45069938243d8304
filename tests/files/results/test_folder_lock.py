import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.files.results.folder_lock import folder_lock
from tests.tiny_run import ROOT

HOLDER = """
import sys
from pathlib import Path
from src.files.results.folder_lock import folder_lock
with folder_lock(Path(sys.argv[1]), ".lock", "output=<other>"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_is_refused_with_its_holder_and_the_option(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(OSError, match=rf"out is in use by process {holder.pid} on .* folder \(output=<other>\)"):
            folder_lock(tmp_path / "out", ".lock", "output=<other>").__enter__()
        holder.kill()
    with folder_lock(tmp_path / "out", ".lock", "") as held:
        assert held
    assert not list((tmp_path / "out").iterdir())


def test_a_file_system_without_locks_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with folder_lock(tmp_path / "a" / "out", ".lock", "") as held:
        assert not held
    assert not list(tmp_path.iterdir()), "folders that stay empty are removed"


@pytest.mark.parametrize("kind", ["file", "json", "link", "hard link", "pipe", "folder"])
def test_a_file_of_a_user_with_the_name_of_the_lock_stays(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / ".lock", tmp_path / "other"
    other.write_text("" if kind == "hard link" else "mine")
    {
        "file": lambda: path.write_text("mine"),
        "json": lambda: path.write_text('{"version": 1}'),
        "link": lambda: path.symlink_to(other),
        "hard link": lambda: path.hardlink_to(other),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[kind]()
    before = path.lstat()
    with pytest.raises(FileExistsError, match="lock is no lock of this project"):
        folder_lock(tmp_path, ".lock", "").__enter__()
    assert (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime) == (before.st_ino, before.st_size, before.st_mtime)
