"""Choice of the checkpoint from which a training resumes."""

import logging
from pathlib import Path

from src.training.checkpointing.checkpoint_files import CHECKPOINT_FOLDER, checkpoint_damage, checkpoints_by_age

log = logging.getLogger(__name__)


def find_checkpoint(run_dir: Path, resume: bool, overwrite: bool) -> Path | None:
    """Return the checkpoint of a run folder to resume from; ``None`` for a start at step 0.

    Args:
        run_dir: run folder.
        resume: continue from the newest intact checkpoint, or start if there is none. Damaged checkpoints are logged and skipped.
        overwrite: start at step 0 although the folder contains a run.

    Raises:
        FileExistsError: if the folder contains a run and neither is set, or contains only the run's final model.
    """
    if resume and overwrite:
        raise ValueError(
            "resume and overwrite are both true; expected at most one: resume=true continues a run, overwrite=true replaces it"
        )
    if overwrite:
        return None
    checkpoints = checkpoints_by_age(run_dir / CHECKPOINT_FOLDER)
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


def discard_checkpoints(run_dir: Path) -> None:
    """Delete the checkpoints of an earlier run; its model, logs and pictures stay until they are overwritten."""
    for path in (run_dir / CHECKPOINT_FOLDER).glob("*.ckpt"):
        # Every rank of a run started by torchrun calls this.
        path.unlink(missing_ok=True)


def _newest_intact(checkpoints: list[Path], run_dir: Path, model: Path) -> Path | None:
    for path in reversed(checkpoints):
        damage = checkpoint_damage(path)
        if damage is None:
            log.info("resuming from %s", path)
            return path
        log.warning("%s is damaged (%s): trying the checkpoint before it", path, damage)
    if checkpoints:
        raise ValueError(f"every checkpoint in {checkpoints[0].parent} is damaged; overwrite=true starts the run at step 0")
    if model.exists():
        raise FileExistsError(f"{model} exists without a checkpoint to resume from; overwrite=true trains the model again")
    log.info("resume=true: no checkpoint in %s yet, starting from step 0", run_dir)
    return None
