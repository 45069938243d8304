"""Orderly end of a run on a signal: a checkpoint, an exit code, and a requeue under SLURM."""

import logging
import os
import signal
import subprocess
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

from src.data.samples import PairBatch
from src.files.terminals import drop_output, output_terminals
from src.training.checkpointing.periodic_checkpoint import PeriodicCheckpoint, validates_now

log = logging.getLogger(__name__)

EXIT_CODE = os.EX_TEMPFAIL
"""75: the run stopped on a signal, saved a checkpoint and can be resumed."""

_OF_A_USER = (signal.SIGINT, signal.SIGHUP)
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, *_OF_A_USER)


class StopOnSignal(Callback):
    """On Ctrl-C, SIGTERM, SIGUSR1 or SIGHUP: finish the step (and a validation that follows it), save, and exit with code 75.

    Lightning saves inside the signal handler, which may interrupt an optimizer step or a collective
    (https://github.com/Lightning-AI/pytorch-lightning/issues/21406), and exits with code 0; on Ctrl-C it saves nothing. Here the
    handler only sets a flag, the ranks agree on it after each step, and all of them save the same step. They exit before the next
    step, when the loggers have received this one. A second Ctrl-C ends the run at once, with code 1; other further signals have
    no effect. A signal that is ignored when the training starts stays ignored (``nohup``, jobs in the background of a script).

    Args:
        requeue: requeue the batch job under SLURM, except after Ctrl-C and SIGHUP; its command should contain ``resume=true``.
    """

    def __init__(self, requeue: bool = True) -> None:
        self.requeue = requeue
        self._received: list[int] = []
        self._stopping = False
        self._code = EXIT_CODE
        self._terminals: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers, which are set just before; Lightning restores all handlers when the fit ends."""
        self._received, self._stopping, self._code = [], False, EXIT_CODE
        self._terminals = output_terminals()
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: PairBatch, batch_idx: int) -> None:
        """Exit if the previous step was saved because of a signal: with code 75 on the first rank, and 0 on the others."""
        if self._stopping:
            of_the_user = bool(self._received) and all(number in _OF_A_USER for number in self._received)
            if trainer.is_global_zero and self.requeue and not of_the_user and SLURMEnvironment.detect():
                _requeue()
            # Lightning kills a process whose children end with another code than 0, possibly while it uploads its logs.
            raise SystemExit(self._code if trainer.is_global_zero else 0)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Save after a signal, unless gradients still accumulate or a validation follows."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not validates_now(trainer):
            self._save_if_signalled(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after a signal and a validation within training."""
        if not trainer.sanity_checking:
            self._save_if_signalled(trainer)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and number in self._received:
            raise KeyboardInterrupt
        self._received.append(number)
        if number == signal.SIGHUP:
            drop_output(self._terminals)
        elif number == signal.SIGINT and getattr(rank_zero_only, "rank", 0) == 0:
            # Buffered streams and loggers may be in the middle of a line that the signal has interrupted.
            os.write(2, b"\nCtrl-C: finishing the step, then saving a checkpoint; Ctrl-C again ends the run at once\n")

    def _save_if_signalled(self, trainer: Trainer) -> None:
        # A run at its last step ends by itself.
        if self._stopping or trainer.global_step >= trainer.max_steps or not self._any_rank_received(trainer):
            return
        self._stopping = True
        savers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, PeriodicCheckpoint)]
        if not savers:
            self._code = 1
            log.error("stopping on a signal: step %d is not saved, as callbacks.checkpoint is null", trainer.global_step)
        for callback in savers:
            path = callback.save(trainer)
            log.warning("stopping on a signal: step %d is saved as %s", trainer.global_step, path)

    def _any_rank_received(self, trainer: Trainer) -> bool:
        received = torch.tensor(float(bool(self._received)), device=trainer.strategy.root_device)
        return bool(trainer.strategy.reduce(received, reduce_op="sum") > 0) if trainer.world_size > 1 else bool(received)


def _requeue() -> None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]
    command = ["scontrol", "requeue", job]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        log.warning("requeued SLURM job %s", job)
    except (OSError, subprocess.SubprocessError) as error:
        message = str(getattr(error, "stderr", None) or error).strip()
        # The message of SLURM 22.05 if a requeue sent the signal.
        if "pending execution" in message:
            log.warning("SLURM job %s is already requeued", job)
        else:
            log.error("%s failed (%s); start the job again by hand, with resume=true", " ".join(command), message)
