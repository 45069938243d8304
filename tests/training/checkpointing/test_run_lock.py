import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from src.training.checkpointing.run_lock import run_lock
from tests.tiny_run import ROOT

# The module alone: it takes seconds to import the rest.
HOLDER = """
import multiprocessing, sys, time
from pathlib import Path
from src.training.checkpointing.run_lock import run_lock
with run_lock(Path(sys.argv[1])):
    # A loader process, which outlives its parent by some seconds.
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(300,), daemon=True).start()
    print("held", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_folder_in_use_is_refused_until_its_process_ends(
    holder: subprocess.Popen[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(OSError, match=f"run is in use by process {holder.pid} on {socket.gethostname()}, started 20"):
        run_lock(folder).__enter__()
    assert json.loads((folder / "run.lock").read_text())["pid"] == holder.pid
    holder.kill()
    holder.wait()
    # Its child still lives, and the file still names it.
    with caplog.at_level("INFO"), run_lock(folder):
        assert json.loads((folder / "run.lock").read_text())["pid"] == os.getpid()
    assert f"was left by process {holder.pid} on {socket.gethostname()}" in caplog.text and "which has ended" in caplog.text


def test_lock_file_and_empty_folders_are_removed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of the block"), run_lock(tmp_path / "a" / "run"):
        raise ValueError("of the block")
    assert not (tmp_path / "a").exists()
    with run_lock(tmp_path / "run"):
        (tmp_path / "run" / "result").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def test_other_ranks_do_not_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with run_lock(tmp_path / "run"):
        assert not (tmp_path / "run").exists()


def test_file_system_without_locks_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock(tmp_path / "run"):
        pass
    assert "this file system has no locks" in caplog.text
