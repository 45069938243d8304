import errno
import fcntl
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
