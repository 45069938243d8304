import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from src.training.checkpointing import checkpoint_files
from src.training.checkpointing.checkpoint_files import (
    DurableCheckpointIO,
    checkpoint_damage,
    checkpoints_by_age,
    remove_unfinished,
)
from src.training.checkpointing.resume import find_checkpoint
from tests.tiny_run import ROOT
from tests.training.checkpointing.run_folder import STATE, cut_short, newest


def without_a_block_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8000:9000] = bytes(1000)
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


class Command:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("echo run > /dev/null",)


def with_a_command_in_it(path: Path) -> None:
    torch.save(STATE | {"command": Command()}, path)


def of_weights_alone(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def of_another_kind(path: Path) -> None:
    torch.save([1, 2], path)


DAMAGE = [
    cut_short, without_a_block_in_the_middle, empty, with_a_command_in_it, of_weights_alone, of_another_kind
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint_is_skipped_and_logged(
    run_dir: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint_damage(newest(run_dir)) is None
    damage(newest(run_dir))
    os.utime(newest(run_dir), (1e9, 1e9))
    assert find_checkpoint(run_dir, resume=True, overwrite=False) == run_dir / "checkpoints" / "step_0000900.ckpt"
    assert f"{newest(run_dir)} is damaged (" in caplog.text and "trying the checkpoint before it" in caplog.text


def test_changed_byte_is_detected_in_a_file_that_loads(run_dir: Path) -> None:
    without_a_block_in_the_middle(newest(run_dir))
    torch.load(newest(run_dir), weights_only=True)
    assert "the checksum of" in str(checkpoint_damage(newest(run_dir)))


def test_checkpoint_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut preserves only synced data: content, then name, then the folder of the name."""
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def remembered_sync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def remembered_replace(source: Path, target: Path) -> None:
        assert zipfile.is_zipfile(source)
        calls.append("name")
        replace(source, target)

    monkeypatch.setattr(checkpoint_files.os, "fsync", remembered_sync)
    monkeypatch.setattr("src.files.atomic_write.os.replace", remembered_replace)
    DurableCheckpointIO().save_checkpoint(STATE, tmp_path / "step_0000001.ckpt")
    assert calls == ["file", "name", "folder"]


def test_unfinished_file_of_a_killed_writer_is_removed(run_dir: Path) -> None:
    left = run_dir / "checkpoints" / ".step_0000300.12345678.partial.ckpt"
    left.write_bytes(b"half")
    assert find_checkpoint(run_dir, resume=True, overwrite=False) == newest(run_dir)
    remove_unfinished(run_dir / "checkpoints")
    assert not left.exists() and len(checkpoints_by_age(run_dir / "checkpoints")) == 2


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from src.training.checkpointing.checkpoint_files import DurableCheckpointIO
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
DurableCheckpointIO().save_checkpoint({"w": torch.zeros(100_000)}, Path(sys.argv[1]))
"""


def test_full_disk_is_an_error_and_earlier_checkpoints_stay(run_dir: Path) -> None:
    """A limit on the file size refuses further writes, like a full disk."""
    before = newest(run_dir).read_bytes()
    command = [sys.executable, "-c", LIMITED, str(newest(run_dir))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert f"{newest(run_dir)}: the checkpoint could not be written (File too large; " in last and "MB free" in last
    assert "earlier checkpoints are intact" in last
    assert newest(run_dir).read_bytes() == before and len(list((run_dir / "checkpoints").iterdir())) == 2


def test_storage_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="checkpoints are local files"):
        DurableCheckpointIO().save_checkpoint(STATE, tmp_path / "a.ckpt", storage_options={"key": 1})
