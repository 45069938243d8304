"""Throughput, the progress bar of a terminal, and progress lines for logs without one."""

import logging
import time
from typing import Any

import rich
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from src.data.samples import PairBatch
from src.measure.memory import peak_kib

log = logging.getLogger(__name__)

_LINE_INTERVAL = 15.0  # seconds


class Throughput(Callback):
    """Logs ``train/samples_per_second``, ``train/seconds_per_step`` and ``train/memory_gb``.

    Times are means since the last log, without validation. Memory is the peak of tensors on the first process's GPU, or on a CPU
    the peak resident memory of the training process, without its loader processes. Lightning's ``ThroughputMonitor`` logs no
    memory and synchronises the GPU at every step.
    """

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start without times of an earlier fit."""
        self._last = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exclude the time of the validation."""
        self._last = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Log the mean over the steps since the last log."""
        step, now = trainer.global_step, time.monotonic()
        if self._last is None:
            self._last = (step, now)
        last_step, last_time = self._last
        if step == last_step or step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        seconds = (now - last_time) / (step - last_step)
        samples = len(batch.names) * trainer.accumulate_grad_batches * trainer.world_size
        figures = {"train/seconds_per_step": seconds, "train/samples_per_second": samples / seconds}
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 2**10 * peak_kib()
        pl_module.log_dict(figures | {"train/memory_gb": peak / 1e9})
        self._last = (step, now)


class StepBar(RichProgressBar):
    """Progress bar over the optimizer steps on a terminal, without Lightning's epochs: the data sampler has only one."""

    @property
    def is_enabled(self) -> bool:
        """False without a terminal, where :class:`ProgressLines` logs lines."""
        return super().is_enabled and rich.get_console().is_terminal

    @property
    def total_train_batches(self) -> int:
        """Number of optimizer steps."""
        return self.trainer.max_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Show the optimizer step in place of the number of the batch."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the logged metrics without the number of the logger's version."""
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{'Training':{len(self.validation_description)}}"  # bars of one width


class ProgressLines(Callback):
    """Logs step, loss and remaining time in place of a progress bar if the output is not a terminal.

    There is a line for every logged step, and after 15 s without a line, also during validation.
    """

    def __init__(self) -> None:
        self._start: tuple[int, float] = (0, 0.0)
        self._logged: tuple[int, float] = (0, 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = self._logged = (trainer.global_step, time.monotonic())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Log step, loss and remaining time."""
        step, now = trainer.global_step, time.monotonic()
        due = step % trainer.log_every_n_steps == 0 or now - self._logged[1] >= _LINE_INTERVAL  # type: ignore[attr-defined]
        if step == self._logged[0] or not due or not _without_terminal(trainer):
            return
        self._logged = (step, now)
        seconds = (now - self._start[1]) / (step - self._start[0])
        left = (trainer.max_steps - step) * seconds / 60
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        log.info("step %d of %d: loss %.4g, %.2f s per step, %.1f min left", step, trainer.max_steps, loss, seconds, left)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Log the batches of a long validation."""
        now = time.monotonic()
        if now - self._logged[1] >= _LINE_INTERVAL and _without_terminal(trainer) and not trainer.sanity_checking:
            self._logged = (self._logged[0], now)
            counts = trainer.num_val_batches
            total = sum(counts) if isinstance(counts, list) else counts
            log.info("validation at step %d: %d of %s batches", trainer.global_step, batch_idx + 1, total)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the scores."""
        if _without_terminal(trainer) and not trainer.sanity_checking:
            scores = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
            text = ", ".join(f"{name} {float(value):.4g}" for name, value in sorted(scores.items()))
            log.info("validation at step %d: %s", trainer.global_step, text)


def _without_terminal(trainer: Trainer) -> bool:
    return trainer.is_global_zero and not rich.get_console().is_terminal
