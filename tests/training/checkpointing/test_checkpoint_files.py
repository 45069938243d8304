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
    checkpoints_by_step,
    is_checkpoint_of,
    remove_unfinished,
)
from src.training.checkpointing.resume import find_checkpoint
from tests.tiny_run import ROOT
from tests.training.checkpointing.run_folder import STATE, cut_short, newest, write_checkpoint


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


def of_another_step(path: Path) -> None:
    write_checkpoint(path.parent, 250, path.name)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def compressed(path: Path) -> None:
    """A small file of which the reader would ask for much memory."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


DAMAGE = [
    cut_short, without_a_block_in_the_middle, empty, with_a_command_in_it, of_weights_alone, of_another_kind, of_another_step,
    link_to_nothing, folder, compressed,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_checkpoint_is_skipped_and_logged(
    run_dir: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint_damage(newest(run_dir)) is None
    damage(newest(run_dir))
    assert find_checkpoint(run_dir, resume=True, overwrite=False) == run_dir / "checkpoints" / "step_0000250.ckpt"
    assert f"{newest(run_dir)} is damaged (" in caplog.text and "trying the checkpoint before it" in caplog.text


def test_checkpoint_of_another_step_than_its_name_is_named(run_dir: Path) -> None:
    of_another_step(newest(run_dir))
    assert checkpoint_damage(newest(run_dir)) == "its name says step 900 and its content step 250"


def test_checkpoints_are_ordered_by_step_whatever_their_times(tmp_path: Path) -> None:
    paths = [write_checkpoint(tmp_path, step) for step in (9_999_999, 10_000_000, 3)]
    for name in ("best.ckpt", "step_x.ckpt", "step_12.ckpt", "old_step_0000004.ckpt", "step_0000004.ckpt.txt"):
        (tmp_path / name).touch()
    os.utime(paths[2], (4e9, 4e9))
    assert checkpoints_by_step(tmp_path) == [paths[2], paths[0], paths[1]] and checkpoints_by_step(tmp_path / "none") == []


def test_a_checkpoint_of_a_run_is_identified_by_content(tmp_path: Path) -> None:
    own, other = write_checkpoint(tmp_path, 3), write_checkpoint(tmp_path, 4, run="b")
    earlier_release, renamed = write_checkpoint(tmp_path, 5, run=None), write_checkpoint(tmp_path, 6, "step_0000007.ckpt")
    notes, link = tmp_path / "step_0000008.ckpt", tmp_path / "step_0000009.ckpt"
    notes.write_text("my notes")
    link.symlink_to(write_checkpoint(tmp_path / "archive", 9))
    found = [path for path in (own, other, earlier_release, renamed, notes, link) if is_checkpoint_of(path, "a")]
    assert found == [own, earlier_release]


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
    assert not left.exists() and len(checkpoints_by_step(run_dir / "checkpoints")) == 2


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
