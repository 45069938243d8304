"""What a run does when it is asked to end: by a person, by a scheduler that wants the machine back, or by a time limit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from src.structures import PairBatch
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint, validates_now

log = logging.getLogger(__name__)

EXIT_CODE = os.EX_TEMPFAIL
"""75: the run was asked to stop, saved a checkpoint, and wants to be started again."""

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopOnSignal(Callback):
    """On SIGTERM or SIGUSR1: finish the optimiser step (and a validation that follows it), save, and exit with code 75.

    Lightning saves inside the signal handler, which may interrupt an optimiser step or a collective
    (https://github.com/Lightning-AI/pytorch-lightning/issues/21406), and exits with code 0. Here the handler leaves a note, the
    ranks agree on it after each step, and all of them save the same one. They exit when the next step would begin: only then
    have the loggers got this one. A repeated signal changes nothing.

    Args:
        requeue: within a batch job of SLURM, have the job queued again; its command should say ``resume=true``.
    """

    def __init__(self, requeue: bool = True) -> None:
        self.requeue = requeue
        self._received = self._stopping = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handlers, which are set just before; it restores all signals when the fit ends."""
        self._received = self._stopping = False
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: PairBatch, batch_idx: int) -> None:
        """Exit, if the step before was the last.

        Raises:
            SystemExit: if a signal came.
        """
        if self._stopping:
            if trainer.is_global_zero and self.requeue and SLURMEnvironment.detect():
                _requeue()
            # Lightning kills a process whose children end with anything but 0, and it may be sending its logs just then.
            raise SystemExit(EXIT_CODE if trainer.is_global_zero else 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Save where a signal came, unless gradients are still to be added up or a validation comes first."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not validates_now(trainer):
            self._save_if_asked(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a validation within training."""
        if not trainer.sanity_checking:
            self._save_if_asked(trainer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = True

    def _save_if_asked(self, trainer: Trainer) -> None:
        # A run that has just ended needs no more than its last lines.
        if self._stopping or trainer.global_step >= trainer.max_steps or not self._anyone_asked(trainer):
            return
        self._stopping = True
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, PeriodicCheckpoint):
                path = callback.save(trainer)
                log.warning("asked to stop: step %d is saved as %s", trainer.global_step, path)

    def _anyone_asked(self, trainer: Trainer) -> bool:
        asked = torch.tensor(float(self._received), device=trainer.strategy.root_device)
        return bool(trainer.strategy.reduce(asked, reduce_op="sum") > 0) if trainer.world_size > 1 else bool(asked)


def _requeue() -> None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    command = ["scontrol", "requeue", job]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        log.warning("SLURM queues job %s again", job)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", None) or error).strip()
        # What SLURM 22.05 answers where the signal came from a requeue.
        if "pending execution" in said:
            log.warning("SLURM has queued job %s again already", job)
        else:
            log.error("%s failed (%s): start the job again by hand, with resume=true", " ".join(command), said)
