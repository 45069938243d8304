"""Replacement of an earlier run in its folder: it stays in ``earlier_run/`` until the new run has its first checkpoint."""

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from src.files.atomic_write import write_text
from src.files.results.result_marker import read_json
from src.training.checkpointing.checkpoint_files import CHECKPOINT_FOLDER, checkpoints_by_step, is_checkpoint_of
from src.training.checkpointing.run_files import ENTRIES, check_names, is_model, is_run, own_files, read_run_file

log = logging.getLogger(__name__)

_FOLDER, _STATE = "earlier_run", "state.json"
_FORMAT = "mpvss-earlier-run"
_WAIT_SECONDS = 120.0
# Of a run that failed before its first checkpoint: what its messages and W&B's process still refer to.
_STAY = ("broken/", "wandb/")


class EarlierRun:
    """The earlier run of a folder, while a new one replaces it.

    Files are moved by renames and only within the folder; a process killed between two of them leaves a state from which
    :meth:`settle` continues. Only files that runs write are moved, and only what a run's content identifies is deleted.

    Args:
        run_dir: run folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.folder = run_dir / _FOLDER

    def settle(self, wait: bool) -> None:
        """Finish what a killed process began: restore the earlier run, or remove it if the new run has a checkpoint or a model.

        Only the first process does this; the others ``wait`` for it.

        Raises:
            FileExistsError: if the folder has no run, but files of the names that a run writes and deletes.
            TimeoutError: if the first process does not finish.
        """
        if getattr(rank_zero_only, "rank", 0):
            deadline = time.monotonic() + _WAIT_SECONDS
            while wait and self._state() is not None:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"{self.folder} is still there after {_WAIT_SECONDS:.0f} s; expected the first process to restore it"
                    )
                time.sleep(0.1)
            return
        state = self._state()
        if state is None:
            check_names(self.run_dir)
            return
        checkpoints = checkpoints_by_step(self.run_dir / CHECKPOINT_FOLDER)
        new = any(is_checkpoint_of(path, state["new_run"]) for path in checkpoints)
        if state["step"] == "moved" and (new or is_model(self.run_dir / "model")):
            self.remove()
        else:
            self.restore()

    @contextmanager
    def replaced_by(self, run: str) -> Iterator[None]:
        """Move the run aside for the block; restore it after an error or an exit, unless :meth:`remove` was called."""
        if getattr(rank_zero_only, "rank", 0):
            yield
            return
        self._move_aside(run)
        try:
            yield
        except BaseException:
            if self._state() is not None:
                try:
                    self.restore()
                except OSError as error:
                    log.error(
                        "%s contains the earlier run (%s); the next start in %s restores it", self.folder, error, self.run_dir
                    )
            raise
        self.remove()

    def remove(self) -> None:
        """Delete the earlier run; files in it that no run has written stay, and are logged, as is an error of the disk."""
        if self._state() is None:
            return
        identity = read_run_file(self.folder)
        try:
            for name in own_files(self.folder, aside=True):
                path = self.folder / name
                if path.suffix != ".ckpt" or is_checkpoint_of(path, identity):
                    path.unlink()
            self._close()
        except OSError as error:
            log.error(
                "%s, with the replaced run, cannot be removed (%s); the next checkpoint or start tries again", self.folder, error
            )

    def restore(self) -> None:
        """Move the earlier run back; what the new run has written goes to ``stopped_run_<number>/`` and its log lines stay."""
        state = self._state()
        if state is None:
            return
        log_file, lines = self.run_dir / "train.log", ""
        stopped = _free_name(self.run_dir / "stopped_run")
        if state["step"] == "moved":
            for name in own_files(self.run_dir):
                if name == log_file.name:
                    lines = log_file.read_text(encoding="utf-8", errors="replace")
                if not name.startswith(_STAY):
                    _move(self.run_dir / name, stopped / name)
            self._write_state("restoring", state["new_run"])
        for name in own_files(self.folder, aside=True):
            source, target = self.folder / name, self.run_dir / name
            if source.is_symlink() or not target.exists() or not name.startswith(_STAY):
                _move(source, target)
        self._close()
        reopen_log_files()
        if lines:
            with log_file.open("a", encoding="utf-8") as file:
                file.write(lines)
        log.warning(
            "the earlier run in %s is restored%s", self.run_dir, f"; what the new one wrote is in {stopped}" * stopped.exists()
        )

    def _move_aside(self, run: str) -> None:
        if not is_run(self.run_dir):
            return
        names = own_files(self.run_dir)
        links = [entry for entry in ENTRIES if (self.run_dir / entry).is_symlink()]
        if links:
            raise FileExistsError(
                f"{self.run_dir / links[0]} is a link; expected a folder of the run, as overwrite=true replaces only files in "
                f"{self.run_dir}; remove the link, or choose another folder (name=<other>)"
            )
        try:
            with suppress(OSError):  # an empty one is of a process that was killed at its end
                self.folder.rmdir()
            self.folder.mkdir()
            self._write_state("moving", run)
            for name in names:
                _move(self.run_dir / name, self.folder / name)
            self._write_state("moved", run)
        except OSError as error:
            if self._state() is not None:
                self.restore()
            raise OSError(
                error.errno, f"{self.run_dir}: the earlier run cannot be moved aside ({error.strerror}); it is unchanged"
            ) from error
        for entry in ENTRIES:
            _remove_empty(self.run_dir / entry)
        reopen_log_files()
        log.info("overwrite=true: the earlier run is in %s until the first checkpoint of the new one", self.folder)

    def _close(self) -> None:
        """Remove the state, and under another name keep what is left."""
        _remove_empty(self.folder)
        left = self.folder
        if len(list(left.iterdir())) > 1:
            left = left.rename(_free_name(self.run_dir / "kept"))
            log.warning("files of the replaced run that its content does not identify, or that are in use, are kept in %s", left)
        (left / _STATE).unlink()
        _remove_empty(left)

    def _state(self) -> dict[str, Any] | None:
        state = read_json(self.folder / _STATE)
        return state if state.get("format") == _FORMAT and {"step", "new_run"} <= set(state) else None

    def _write_state(self, step: str, run: str) -> None:
        write_text(self.folder / _STATE, json.dumps({"format": _FORMAT, "step": step, "new_run": run}) + "\n")


def reopen_log_files() -> None:
    """Let log files be opened again by their names at the next message, as after their move to another folder."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.mode == "a":
            handler.close()


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(source, target)


def _remove_empty(folder: Path) -> None:
    """Remove the empty folders in a folder, and it if nothing is left."""
    for parent, _, _ in os.walk(folder, topdown=False):
        if not any(Path(parent).iterdir()):
            Path(parent).rmdir()


def _free_name(path: Path) -> Path:
    """Return ``path_1``, ``path_2``, ...: the first that does not exist."""
    return next(free for number in range(1, 10**6) if not os.path.lexists(free := path.with_name(f"{path.name}_{number}")))
