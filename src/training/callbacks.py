"""Callbacks: pictures of the validation samples, and throughput."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from src.structures import FlowPrediction, MaskPrediction, PairBatch
from src.visualization.panels import pair_panel


class PairPictures(Callback):
    """Draws the first validation samples at every validation: as files, and to W&B under ``val/pictures``.

    Args:
        folder: where the PNG files go, one folder per step.
        num_samples: how many samples are drawn.
    """

    def __init__(self, folder: str, num_samples: int) -> None:
        self.folder = Path(folder)
        self.num_samples = num_samples
        self._pictures: list[tuple[str, Tensor]] = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw one sample from what the validation step returned."""
        if batch_idx >= self.num_samples or not trainer.is_global_zero or outputs is None:
            return
        prediction, flow = outputs["prediction"], outputs["flow"]
        palette = trainer.datamodule.val.palette  # type: ignore[attr-defined]
        self._pictures.append((batch.names[0], _draw(batch, prediction, flow, palette)))

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the pictures of this validation."""
        pictures, self._pictures = self._pictures, []
        if not pictures:
            return
        folder = self.folder / f"step_{trainer.global_step:07d}"
        folder.mkdir(parents=True, exist_ok=True)
        images = [picture.permute(1, 2, 0).contiguous().numpy() for _, picture in pictures]
        for number, image in enumerate(images):
            path = folder / f"{number:02d}.png"
            if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
                raise OSError(f"{path}: could not be written")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("val/pictures", images, caption=[name for name, _ in pictures])


def _draw(
    batch: PairBatch, prediction: MaskPrediction, flow: FlowPrediction | None, palette: list[tuple[int, int, int]]
) -> Tensor:
    return pair_panel(
        key_image=batch.key_image[0].cpu(),
        nonkey_image=batch.nonkey_image[0].cpu(),
        label=batch.nonkey_label[0].cpu(),
        prediction=prediction,
        flow=flow,
        target_flow=None if batch.flow is None else batch.flow[0].cpu(),
        palette=palette,
    )


class Throughput(Callback):
    """Logs ``train/samples_per_second`` and ``train/seconds_per_step``, measured between optimiser steps."""

    def __init__(self) -> None:
        self._last: tuple[int, float] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget times of an earlier fit."""
        self._last = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Log the mean over the steps since the last log."""
        step = trainer.global_step
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step == 0 or step % every or (self._last is not None and self._last[0] == step):
            return
        now = time.monotonic()
        if self._last is not None and torch.is_grad_enabled():
            seconds = (now - self._last[1]) / (step - self._last[0])
            samples = len(batch.names) * trainer.accumulate_grad_batches * trainer.world_size
            pl_module.log_dict({"train/seconds_per_step": seconds, "train/samples_per_second": samples / seconds})
        self._last = (step, now)
