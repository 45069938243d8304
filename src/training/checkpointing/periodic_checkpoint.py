"""The callback that saves what a run goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from src.structures import PairBatch
from src.training.checkpointing.checkpoint_files import checkpoints_by_age, remove_unfinished


class PeriodicCheckpoint(Checkpoint):
    """Keeps the newest checkpoints of a run: one every so many optimiser steps, and always one of the last step.

    Lightning's own callback leaves out a last step that is no multiple of the interval, and then a finished run cannot be told
    from one that was killed. Where a step is validated, its checkpoint is saved after the validation: Lightning would leave that
    validation out of a run that goes on from a checkpoint saved before it. The names hold no ``=``, which would break Hydra's
    command line.

    Args:
        folder: where the files go.
        every_n_steps: optimiser steps from one to the next.
        keep: how many there are; the older ones are for the day the newest is damaged.

    Raises:
        ValueError: if a number is not positive.
    """

    def __init__(self, folder: str, every_n_steps: int, keep: int = 2) -> None:
        if min(every_n_steps, keep) < 1:
            raise ValueError(f"every_n_steps={every_n_steps}, keep={keep}; expected at least 1 each")
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.keep = keep
        self._saved = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Save where one is due, unless the validation comes first."""
        if self._due(trainer) and not validates_now(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save where one was due."""
        if not trainer.sanity_checking and self._due(trainer):
            self.save(trainer)

    def save(self, trainer: Trainer) -> Path:
        """Save the step that has just ended, then delete what is older than the newest few: at no time is there none."""
        path = self.folder / f"step_{trainer.global_step:07d}.ckpt"
        # What a logger still holds of earlier steps would be lost with the process, and no resumed run logs it again.
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(path)
        self._saved = trainer.global_step
        if trainer.is_global_zero:
            remove_unfinished(self.folder)
            for older in checkpoints_by_age(self.folder)[: -self.keep]:
                older.unlink()
        return path

    def _due(self, trainer: Trainer) -> bool:
        step = trainer.global_step
        # With accumulated gradients several batches end at one step.
        return step not in (0, self._saved) and (step % self.every_n_steps == 0 or step == trainer.max_steps)


def validates_now(trainer: Trainer) -> bool:
    """Whether the batch that ends now is followed by a validation."""
    interval = trainer.val_check_batch
    batches = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return bool(trainer.enable_validation and interval and batches % interval == 0)
