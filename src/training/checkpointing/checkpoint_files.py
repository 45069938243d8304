"""Checkpoint files: durable writing and integrity check."""

import errno
import logging
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from src.files.atomic_write import atomic_path

log = logging.getLogger(__name__)

CHECKPOINT_FOLDER = "checkpoints"
_NAMES = "step_*.ckpt"
_UNFINISHED = ".*.partial.ckpt"
# Keys that an exact resume needs.
_NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "loops")
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError)


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a crash, a full disk or a power cut leaves a whole file or none.

    The file is written under a temporary name in the same folder, synced to disk and renamed, and the folder is synced.
    Lightning's own plugin builds the file in memory, which doubles the memory of a large model, and does not sync.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, replacing a file of that name.

        Raises:
            OSError: if writing fails; the message names the file, the reason and the free space.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options is {storage_options!r}; expected None, as checkpoints are local files")
        target = Path(path)
        try:
            with atomic_path(target) as unfinished, unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(target.parent)
        except (OSError, RuntimeError) as error:
            # torch's writer replaces the error of a failed write by its own, without the reason.
            reason = _os_error(error)
            if reason is None:
                raise
            raise OSError(
                reason.errno,
                f"{target}: the checkpoint could not be written ({reason.strerror}; {_free_space(target.parent)} free); "
                "earlier checkpoints are intact: free some space, then resume=true continues from the newest",
            ) from error


def checkpoint_damage(path: Path) -> str | None:
    """Describe the damage of a checkpoint file; ``None`` if a run can resume from it.

    All checksums are compared, and the content is read as plain data (``weights_only=True``).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
        if broken is not None:
            return f"the checksum of {broken} in it is wrong"
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except _DAMAGE as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if not isinstance(content, Mapping):
        return f"it contains a {type(content).__name__}; expected the state of a run"
    missing = [name for name in _NEEDED if name not in content]
    return f"it has no {', '.join(missing)}" if missing else None


def checkpoints_by_age(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, newest last, without unfinished files and the best model."""
    return sorted(folder.glob(_NAMES), key=lambda path: (path.stat().st_mtime_ns, path.name))


def remove_unfinished(folder: Path) -> None:
    """Delete the unfinished files of killed processes."""
    for path in folder.glob(_UNFINISHED):
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Sync a folder to disk; without this a power cut may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder but rename durably.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _os_error(error: BaseException | None) -> OSError | None:
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _free_space(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 1e6:.0f} MB"
