"""The LightningModule: a clerk that moves batches, sums loss terms and logs."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from src.metrics.endpoint_error import EndPointError
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.ops.warp import full_size_flow
from src.structures import FlowPrediction, MaskPrediction, PairBatch
from src.training.optim import AdamWPoly, gradient_norm
from src.training.stages import Stage
from src.weights.model_folder import model_config


class PropagationModule(LightningModule):
    """Trains a :class:`Propagator` in one of its stages.

    Args:
        propagator: the model.
        stage: what trains and what is optimised.
        optim: optimiser settings.
        num_classes: K, for the validation metric.
        metadata: what a saved model says about itself (class names, palette, evaluation size); plain values only.
        seed: with the step number it seeds every random layer, so that a resumed run draws what an unbroken one would.
    """

    def __init__(
        self,
        propagator: Propagator,
        stage: Stage,
        optim: AdamWPoly,
        num_classes: int,
        metadata: dict[str, Any],
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.propagator = propagator
        self.stage = stage
        self.optim = optim
        self.metadata = metadata
        self.seed = seed
        self.propagator.set_trainable(stage.trainable)
        self.val_iou = MeanIoU(num_classes)
        self.val_epe = EndPointError()

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Seed drop-path and dropout by the step, not by how the run came here."""
        torch.manual_seed((self.seed * 1_000_003 + batch_idx) * 4_099 + self.global_rank)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Sum of the stage's loss terms.

        Raises:
            FloatingPointError: if a term is NaN or infinite; names the samples.
        """
        terms = self.stage.losses(self.propagator, batch)
        broken = [name for name, value in terms.items() if not torch.isfinite(value)]
        if broken:
            samples = ", ".join(batch.names)
            raise FloatingPointError(f"step {self.global_step}: loss {', '.join(broken)} is not finite on {samples}")
        loss = torch.stack(list(terms.values())).sum()
        size = len(batch.names)
        self.log_dict({f"train/loss_{name}": value.detach() for name, value in terms.items()}, batch_size=size)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=size)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient norm before clipping."""
        if self.trainer.global_step % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("train/gradient_norm", gradient_norm(self.propagator))

    def validation_step(self, batch: PairBatch, batch_idx: int) -> dict[str, MaskPrediction | FlowPrediction | None]:
        """Score the stage's prediction for the non-key frame; returns ``prediction`` and ``flow`` for the picture callback."""
        prediction, flow = self.stage.predict(self.propagator, batch)
        height, width = batch.nonkey_label.shape[-2:]
        self.val_iou.update(semantic_map(prediction, (height, width)), batch.nonkey_label)
        if flow is not None and flow.pixel_flows and batch.flow is not None:
            self.val_epe.update(full_size_flow(flow, (height, width)), batch.flow)
        return {"prediction": prediction, "flow": flow}

    def on_validation_epoch_end(self) -> None:
        """Log ``val/miou``, ``val/wiou`` and, where flow is known, ``val/epe`` in pixels."""
        scores = self.val_iou.compute()
        self.log("val/miou", scores["miou"], prog_bar=True)
        self.log("val/wiou", scores["wiou"])
        self.val_iou.reset()
        if self.val_epe.update_called:
            self.log("val/epe", self.val_epe.compute()["epe"], prog_bar=True)
            self.val_epe.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over the trainable parameters, its learning rate stepped every optimiser step."""
        optimizer, schedule = self.optim.build(self.propagator, int(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the model's configuration beside its weights, as plain values, so that a .ckpt loads on its own."""
        checkpoint["model_config"] = model_config(self.propagator, self.metadata)
