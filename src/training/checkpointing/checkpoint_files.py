"""Checkpoints as files: how they are written, which of them are whole, and which one a run goes on from."""

from __future__ import annotations

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
# What a checkpoint must hold for a run to go on from it exactly.
_NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "loops")
_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError)


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint so that a crash, a full disk or a power cut leaves either all of it or nothing.

    It goes to a temporary name in the same folder, to the disk (fsync), and then to its own name, whose folder is synced too.
    Lightning's own way makes the file in memory first, which doubles what a large model needs, and does not sync.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, replacing a file of that name.

        Raises:
            OSError: if it cannot be written; names the file, the reason, and the space that is left.
            TypeError: if ``storage_options`` are given: there is no storage but files.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options={storage_options!r}: checkpoints here are files and take none")
        target = Path(path)
        try:
            with atomic_path(target) as unfinished, unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _sync_folder(target.parent)
        except (OSError, RuntimeError) as error:
            # torch's writer answers a failed write with an error of its own, which says nothing of the disk.
            reason = _os_error(error)
            if reason is None:
                raise
            raise OSError(
                reason.errno,
                f"{target}: the checkpoint could not be written ({reason.strerror}; {_free_space(target.parent)} free); "
                "earlier checkpoints are untouched: make room, then resume=true goes on from the newest",
            ) from error


def checkpoint_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, or ``None`` if a run can go on from it.

    Every record's checksum is compared and the content is read as plain data (``weights_only=True``).
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
        return f"it holds a {type(content).__name__}, expected the state of a run"
    missing = [name for name in _NEEDED if name not in content]
    return f"it has no {', '.join(missing)}" if missing else None


def checkpoints_by_age(folder: Path) -> list[Path]:
    """The checkpoints of a folder, the newest last; unfinished files and the best model are not among them."""
    return sorted(folder.glob(_NAMES), key=lambda path: (path.stat().st_mtime_ns, path.name))


def remove_unfinished(folder: Path) -> None:
    """Delete what a process left that was killed while it wrote."""
    for path in folder.glob(_UNFINISHED):
        path.unlink(missing_ok=True)


def find_checkpoint(run_dir: Path, resume: bool, overwrite: bool) -> Path | None:
    """The checkpoint to continue from, by the user's wish. Nothing is deleted: see :func:`discard_checkpoints`.

    Args:
        run_dir: the run's folder.
        resume: continue from the newest whole checkpoint, or start where nothing was left. Damaged ones are passed over, and the
            log says so.
        overwrite: start anew although the folder holds a run.

    Raises:
        ValueError: if both are asked for, or every checkpoint is damaged.
        FileExistsError: if the folder holds a run and neither was asked for, or its model is all that is left of it.
    """
    if resume and overwrite:
        raise ValueError("resume=true continues a run and overwrite=true replaces it: set one of them")
    if overwrite:
        return None
    checkpoints = checkpoints_by_age(run_dir / CHECKPOINT_FOLDER)
    model = run_dir / "model"
    if resume:
        return _newest_whole(checkpoints, run_dir, model)
    if checkpoints or model.exists():
        found = (checkpoints or [model])[-1]
        raise FileExistsError(
            f"{run_dir} already holds a run ({found.name}): add resume=true to continue it, overwrite=true to replace it, "
            "or name=<other> to keep both"
        )
    return None


def discard_checkpoints(run_dir: Path) -> None:
    """Delete the checkpoints of an earlier run; its model, logs and pictures stay until they are written over."""
    for path in (run_dir / CHECKPOINT_FOLDER).glob("*.ckpt"):
        # Every rank of a run that torchrun started comes here.
        path.unlink(missing_ok=True)


def _newest_whole(checkpoints: list[Path], run_dir: Path, model: Path) -> Path | None:
    for path in reversed(checkpoints):
        fault = checkpoint_damage(path)
        if fault is None:
            log.info("resuming from %s", path)
            return path
        log.warning("%s is damaged (%s): trying the checkpoint before it", path, fault)
    if checkpoints:
        raise ValueError(f"no checkpoint in {checkpoints[0].parent} is whole; overwrite=true starts the run anew")
    if model.exists():
        raise FileExistsError(f"{model} is trained, but no checkpoint is left to go on from: overwrite=true trains it anew")
    log.info("resume=true: no checkpoint in %s yet, starting from step 0", run_dir)
    return None


def _sync_folder(folder: Path) -> None:
    """Without this a power cut may take back the new name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder, and rename safely all the same.
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
