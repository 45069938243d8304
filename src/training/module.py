"""LightningModule of a propagator in one of its training stages."""

import math
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import BinaryPrecision, BinaryRecall

from src.data.samples import PairBatch
from src.metrics.endpoint_error import EndPointError
from src.metrics.iou import MeanIoU
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.ops.occlusion import occluded
from src.ops.warp import disoccluded, full_size_flow
from src.training.optim import AdamWPoly
from src.training.segmentation_module import SegmentationModule
from src.training.stages import Stage, StagePrediction, Terms
from src.training.strategies import shard_model
from src.weights.model_folder import model_config, save_model

# Frames. The paper's pairs are at most ten frames apart; one score per larger offset would flood the log.
_MAX_SCORED_OFFSET = 10


class PropagationModule(SegmentationModule):
    """Trains a :class:`Propagator` in one of its stages.

    Args:
        propagator: the model.
        stage: trainable parts and losses.
        optim, num_classes, metadata, seed: see :class:`SegmentationModule`.
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
        super().__init__(optim, num_classes, metadata, seed)
        self.propagator = propagator
        self.stage = stage
        if stage.recurrent and not propagator.segmentor.is_recurrent:
            found = type(propagator.segmentor).__name__
            raise ValueError(f"the stage is recurrent and the segmentor a {found}; expected a VidEoMT; choose stage=segmentor")
        self.propagator.segmentor.trains_memory = stage.recurrent
        self.propagator.set_trainable(stage.trainable)
        for branch, part in propagator.flow.branches().items():
            if branch in stage.unsupervised:
                part.requires_grad_(False)
        self.val_iou_by_offset = nn.ModuleList(MeanIoU(num_classes) for _ in range(_MAX_SCORED_OFFSET))
        self.val_epe = EndPointError()
        self.val_disoccluded = MeanMetric()
        self.val_disoccluded_scores = nn.ModuleDict({"precision": BinaryPrecision(), "recall": BinaryRecall()})

    def configure_model(self) -> None:
        """Shard the model under FSDP; Lightning may call this twice."""
        shard_model(self, self.propagator)

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
        super().on_validation_epoch_end()
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

    @property
    def network(self) -> Propagator:
        """Return the propagator."""
        return self.propagator

    def losses(self, batch: PairBatch) -> Terms:
        """Compute the stage's loss terms."""
        return self.stage.losses(self.propagator, batch)

    def model_config(self) -> dict[str, Any]:
        """Return the configuration for :func:`src.weights.model_folder.load_model`."""
        return model_config(self.propagator, self.metadata)

    def save(self, network: Propagator, folder: Path) -> None:
        """Write the model folder of the propagator, or of a gathered copy of it."""
        save_model(network, folder, self.metadata)
