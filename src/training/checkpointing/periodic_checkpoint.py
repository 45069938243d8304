"""Callback that saves the checkpoints for resuming a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from src.data.samples import PairBatch
from src.training.checkpointing.checkpoint_files import checkpoints_by_step, is_checkpoint_of, named_step, remove_unfinished


class PeriodicCheckpoint(Checkpoint):
    """Saves a checkpoint at a fixed interval and at the last step, and keeps the newest few.

    Lightning's own callback skips a last step that is not a multiple of the interval: a finished run then looks killed.
    A validated step is saved after its validation, because a run resumed from a checkpoint before it would skip the validation.
    File names contain no ``=``, which would break Hydra's command line.

    Args:
        folder: folder of the checkpoints.
        every_n_steps: interval, optimizer steps.
        keep: number of checkpoints to keep; if the newest is damaged, a run resumes from the previous one.

    Attributes:
        run: identity of the run; checkpoints of other runs, and files that are no checkpoints, are never deleted.
        after_save: called on the first process after each checkpoint.
    """

    def __init__(self, folder: str, every_n_steps: int, keep: int = 2) -> None:
        if min(every_n_steps, keep) < 1:
            raise ValueError(f"every_n_steps={every_n_steps}, keep={keep}; expected at least 1 each")
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep = keep
        self.run: str | None = None
        self.after_save: Callable[[], None] = lambda: None
        self._saved = 0
        self._own: set[Path] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Save if a checkpoint is due and no validation follows this batch."""
        if self._due(trainer) and not validates_now(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if a checkpoint is due."""
        if not trainer.sanity_checking and self._due(trainer):
            self.save(trainer)

    def save(self, trainer: Trainer) -> Path:
        """Save the finished step, then delete the run's checkpoints of earlier steps but for the last ``keep - 1``."""
        path = self.folder / f"step_{trainer.global_step:07d}.ckpt"
        # Unwritten rows of a logger would be lost with the process, and a resumed run does not log them again.
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(path)
        self._saved = trainer.global_step
        if trainer.is_global_zero:
            self._own.add(path)
            self.after_save()
            remove_unfinished(self.folder)
            for older in self._earlier()[: 1 - self.keep or None]:
                older.unlink()
        return path

    def _earlier(self) -> list[Path]:
        """List the run's checkpoints of earlier steps."""
        earlier = [path for path in checkpoints_by_step(self.folder) if (named_step(path) or 0) < self._saved]
        self._own |= {path for path in earlier if path not in self._own and is_checkpoint_of(path, self.run)}
        return [path for path in earlier if path in self._own]

    def _due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        # With gradient accumulation several batches end at the same step.
        return step not in (0, self._saved) and (step % self.every_n_steps == 0 or step == trainer.max_steps)


def validates_now(trainer: Trainer) -> bool:
    """Return whether a validation follows the batch that ends now."""
    interval = trainer.val_check_batch
    batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return bool(trainer.enable_validation and interval and batches % interval == 0)
