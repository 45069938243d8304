"""Choice of the checkpoint from which a training resumes."""

import logging
import os
from pathlib import Path

from src.training.checkpointing.checkpoint_files import CHECKPOINT_FOLDER, checkpoint_damage, checkpoints_by_step

log = logging.getLogger(__name__)


def find_checkpoint(run_dir: Path, resume: bool | str, overwrite: bool) -> Path | None:
    """Return the checkpoint of a run folder to resume from; ``None`` for a start at step 0.

    Args:
        run_dir: run folder.
        resume: continue from the last intact checkpoint, or start if there is none; ``force`` allows other settings. Damaged
            checkpoints are logged and skipped.
        overwrite: start at step 0 although the folder contains a run.

    Raises:
        FileExistsError: if the folder contains a run and neither is set, or contains only the run's final model.
        NotADirectoryError: if the folder of checkpoints or of the model is a file, or a link to nothing.
        ValueError: if a value is of another type.
    """
    if not isinstance(overwrite, bool) or not (isinstance(resume, bool) or resume == "force"):
        raise ValueError(f"resume={resume}, overwrite={overwrite}; expected true, false or force, and true or false")
    for path in (run_dir / CHECKPOINT_FOLDER, run_dir / "model"):
        if os.path.lexists(path) and not path.is_dir():
            raise NotADirectoryError(f"{path} is a file, or a link to nothing; expected a folder; move it away")
    if resume and overwrite:
        raise ValueError(
            f"resume={resume} and overwrite=true; expected at most one: resume=true continues a run, overwrite=true replaces it"
        )
    if overwrite:
        return None
    checkpoints = checkpoints_by_step(run_dir / CHECKPOINT_FOLDER)
    model = run_dir / "model"
    if resume:
        return _newest_intact(checkpoints, run_dir, model)
    if checkpoints or model.exists():
        found = (checkpoints or [model])[-1]
        raise FileExistsError(
            f"{run_dir} already contains a run ({found.name}): add resume=true to continue it, overwrite=true to replace it, "
            "or name=<other> to keep both"
        )
    return None


def _newest_intact(checkpoints: list[Path], run_dir: Path, model: Path) -> Path | None:
    for path in reversed(checkpoints):
        damage = checkpoint_damage(path)
        if damage is None:
            log.info("resuming from %s", path)
            return path
        log.warning("%s is damaged (%s): trying the checkpoint before it", path, damage)
    if checkpoints:
        raise ValueError(f"{checkpoints[0].parent}: every checkpoint is damaged; overwrite=true starts the run at step 0")
    if model.exists():
        raise FileExistsError(f"{model} exists without a checkpoint to resume from; overwrite=true trains the model again")
    log.info("resume=true: no checkpoint in %s yet, starting from step 0", run_dir)
    return None
