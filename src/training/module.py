"""LightningModule that sums the loss terms of a stage, scores its predictions and logs both."""

import math
import warnings
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import BinaryPrecision, BinaryRecall

from src.data.samples import PairBatch
from src.losses.distributed import reduce_mean_over_ranks
from src.metrics.endpoint_error import EndPointError
from src.metrics.iou import MeanIoU
from src.models.per_sample_rng import clear_per_sample, seed_per_sample
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.ops.occlusion import occluded
from src.ops.warp import disoccluded, full_size_flow
from src.training.optim import AdamWPoly, gradient_norm
from src.training.stages import Stage, StagePrediction
from src.training.strategies import set_gathered, shard_model
from src.weights.model_folder import model_config

# Frames. The paper's pairs are at most ten frames apart; one score per larger offset would flood the log.
_MAX_SCORED_OFFSET = 10


class PropagationModule(LightningModule):
    """Trains a :class:`Propagator` in one of its stages.

    Args:
        propagator: the model.
        stage: trainable parts and losses.
        optim: optimizer settings.
        num_classes: K, for the validation metric.
        metadata: class names, palette and evaluation size, saved with the model; plain values only.
        seed: seeds every random layer together with sample and step numbers, so that a resumed run repeats the random draws of
            an uninterrupted run.

    Attributes:
        iou_per_class: (K,) IoU of the last validation, for the class table; ``None`` before the first.
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
        for branch, part in propagator.flow.branches().items():
            if branch in stage.unsupervised:
                part.requires_grad_(False)
        self.val_iou = MeanIoU(num_classes)
        self.val_iou_by_offset = nn.ModuleList(MeanIoU(num_classes) for _ in range(_MAX_SCORED_OFFSET))
        self.val_epe = EndPointError()
        self.val_disoccluded = MeanMetric()
        self.val_disoccluded_scores = nn.ModuleDict({"precision": BinaryPrecision(), "recall": BinaryRecall()})
        self.iou_per_class: Tensor | None = None

    def configure_model(self) -> None:
        """Shard the model under FSDP; Lightning may call this twice."""
        shard_model(self, self.propagator)

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Seed random layers per sample by sample number, and dropout by step: independent of interruptions of the run."""
        seed_per_sample(self.propagator, self.seed, batch.sample_id)
        torch.manual_seed((self.seed * 1_000_003 + batch_idx) * 4_099 + self.global_rank)

    def on_train_batch_end(self, outputs: Any, batch: PairBatch, batch_idx: int) -> None:
        """Clear the per-sample seeds of this batch."""
        clear_per_sample(self.propagator)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Compute and log the stage's loss terms, and return their sum.

        Raises:
            FloatingPointError: if a loss term or a matching cost is NaN or infinite; the message names the samples.
        """
        samples = ", ".join(batch.names)
        try:
            terms = self.stage.losses(self.propagator, batch)
        except FloatingPointError as error:
            raise FloatingPointError(f"step {self.global_step}: {error}; on {samples}") from error
        broken = [name for name, value in terms.items() if not torch.isfinite(value)]
        if broken:
            raise FloatingPointError(f"step {self.global_step}: loss {', '.join(broken)} is not finite on {samples}")
        size = len(batch.names)
        # The logged loss is the mean over all ranks, reduced in one message for all terms.
        shown = reduce_mean_over_ranks(torch.stack([value.float() for value in terms.values()]))
        self.log_dict({f"train/loss_{name}": value for name, value in zip(terms, shown, strict=True)}, batch_size=size)
        self.log("train/loss", shown.sum(), prog_bar=True, batch_size=size)
        return torch.stack(list(terms.values())).sum()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient norm before clipping, and the learning rate of all but the backbone."""
        # Loggers write every log_every_n_steps steps, and global_step does not count this step yet.
        if (self.trainer.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log("train/gradient_norm", gradient_norm(self.propagator))
            self.log("train/learning_rate", max(group["lr"] for group in optimizer.param_groups))

    def on_validation_start(self) -> None:
        """Gather the whole model in each process under FSDP."""
        set_gathered(self.propagator, True)

    def on_validation_end(self) -> None:
        """Shard the model again under FSDP."""
        set_gathered(self.propagator, False)

    def validation_step(self, batch: PairBatch, batch_idx: int) -> dict[str, StagePrediction]:
        """Score the stage's prediction for the non-key frame, and return it as ``prediction`` for the picture callback."""
        outcome = self.stage.predict(self.propagator, batch)
        height, width = batch.nonkey_label.shape[-2:]
        found = semantic_map(outcome.nonkey, (height, width))
        self.val_iou.update(found, batch.nonkey_label)
        for one, label, offset in zip(found, batch.nonkey_label, batch.offset.abs().tolist(), strict=True):
            # Offset 0 is a single frame or a pair made from a still.
            if 0 < offset <= _MAX_SCORED_OFFSET:
                self.val_iou_by_offset[offset - 1].update(one, label)
        if outcome.flow is not None and outcome.flow.pixel_flows and batch.flow is not None:
            self.val_epe.update(full_size_flow(outcome.flow, (height, width)), batch.flow)
        probability = None if outcome.flow is None else disoccluded(outcome.flow, (height, width))
        if probability is not None:
            self.val_disoccluded.update(probability)
            if batch.flow is not None:
                self._score_disoccluded(probability, batch.flow)
        return {"prediction": outcome}

    def on_validation_epoch_end(self) -> None:
        """Log ``val/miou``, ``val/wiou``, ``val/miou_offset_<frames>`` and, where flow is known, ``val/epe`` in pixels.

        ``val/disoccluded`` is the share of pixels without a source in the key frame, for estimators with a confidence;
        ``val/disoccluded_precision`` and ``val/disoccluded_recall`` score them (above 0.5) where the true flow is known.
        """
        scores = self.val_iou.compute()
        self.iou_per_class = scores["iou_per_class"].reshape(-1)  # torchmetrics drops the dimension of a single class
        self.log("val/miou", scores["miou"], prog_bar=True)
        self.log("val/wiou", scores["wiou"])
        self.val_iou.reset()
        metrics: dict[str, Any] = {"epe": self.val_epe, "disoccluded": self.val_disoccluded}
        metrics |= {f"disoccluded_{name}": metric for name, metric in self.val_disoccluded_scores.items()}
        for name, metric in metrics.items():
            # All ranks or none must take part in the reduction of a metric.
            if self.trainer.strategy.reduce_boolean_decision(metric.update_called, all=False):
                score = metric.compute()
                self.log(f"val/{name}", score["epe"] if name == "epe" else score, prog_bar=name == "epe")
                metric.reset()
        self._log_iou_by_offset()

    def _score_disoccluded(self, probability: Tensor, flow: Tensor) -> None:
        known = flow.isfinite().flatten(1).any(1)
        if known.any():
            for metric in self.val_disoccluded_scores.values():
                assert isinstance(metric, Metric)
                metric.update(probability[known], occluded(flow[known]))

    def _log_iou_by_offset(self) -> None:
        for offset, iou in enumerate(self.val_iou_by_offset, start=1):
            assert isinstance(iou, MeanIoU)
            # compute() sums counts over all ranks, so ranks without a pair of this offset must call it too.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                score = float(iou.compute()["miou"])
            if not math.isnan(score):
                self.log(f"val/miou_offset_{offset}", score)
            iou.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build AdamW over the trainable parameters, and a schedule that steps with every optimizer step."""
        optimizer, schedule = self.optim.build(self.propagator, int(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's configuration as plain values, so that :func:`load_model` can read a .ckpt without other files."""
        checkpoint["model_config"] = model_config(self.propagator, self.metadata)
