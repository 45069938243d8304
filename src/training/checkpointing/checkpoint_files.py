"""Checkpoint files: durable writing and integrity check."""

import errno
import logging
import os
import pickle
import re
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
RUN_KEY = "run"
"""Key of a checkpoint with the identity and the settings of its run; absent from those of earlier releases."""
_NAME = re.compile(r"step_(\d{7,})\.ckpt")
_UNFINISHED = re.compile(r"\.(step_\d+|best)\.[0-9a-f]+\.partial\.ckpt")
# Keys that an exact resume needs.
_NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step")
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
            free = shutil.disk_usage(target.parent).free
            raise OSError(
                reason.errno,
                f"{target}: the checkpoint could not be written ({reason.strerror}; {free / 1e6:.0f} MB free); "
                "earlier checkpoints are intact: free some space, then resume=true continues from the newest",
            ) from error


def checkpoint_damage(path: Path) -> str | None:
    """Describe the damage of a checkpoint file; ``None`` if a run can resume from it.

    All checksums are compared, and the content is read as plain data (``weights_only=True``).
    """
    if not path.is_file():
        return "it is a link to a file that does not exist" if path.is_symlink() else "it is no file"
    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                return "it is compressed, which no checkpoint of this project is"
            broken = archive.testzip()
        if broken is not None:
            return f"the checksum of {broken} in it is wrong"
        content = read_checkpoint(path)
    except _DAMAGE as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if not isinstance(content, Mapping):
        return f"it contains a {type(content).__name__}; expected the state of a run"
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        return f"it has no {', '.join(missing)}"
    named = named_step(path)
    if named not in (None, content["global_step"]):
        return f"its name says step {named} and its content step {content['global_step']}"
    return None


def read_checkpoint(path: Path) -> Any:
    """Read a checkpoint as plain data; its tensors stay on disk until they are used."""
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def named_step(path: Path) -> int | None:
    """Return the step in the name of a checkpoint; ``None`` for other files."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def checkpoints_by_step(folder: Path) -> list[Path]:
    """List the files named as checkpoints of a step, last step last; times of files have no effect."""
    steps = {path: named_step(path) for path in (folder.iterdir() if folder.is_dir() else ())}
    return sorted((path for path, step in steps.items() if step is not None), key=lambda path: (steps[path], path.name))


def is_checkpoint_of(path: Path, run: str | None) -> bool:
    """Return whether a file is a checkpoint of a run by its content; only such files are ever deleted.

    Args:
        path: file named ``step_<step>.ckpt``, whose content must have the same step, or of another name.
        run: identity of the run. A checkpoint of an earlier release has none and counts as one of the run.
    """
    if path.is_symlink() or not path.is_file():
        return False
    try:
        content = read_checkpoint(path)
    except _DAMAGE:
        return False
    if not isinstance(content, Mapping) or "model_config" not in content:
        return False
    saved = content.get(RUN_KEY)
    identity = saved.get("id") if isinstance(saved, Mapping) else None
    return identity in (None, run) and named_step(path) in (None, content.get("global_step"))


def remove_unfinished(folder: Path) -> None:
    """Delete the unfinished checkpoints of killed processes."""
    for path in folder.iterdir():
        if _UNFINISHED.fullmatch(path.name):
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
