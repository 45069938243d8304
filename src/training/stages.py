"""What each training stage optimises: which parts move, what is lost, what is validated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from src.losses.disocclusion import DisocclusionLoss
from src.losses.flow import FlowLoss
from src.losses.mask_classification import MaskClassificationLoss
from src.losses.photometric import PhotometricLoss
from src.losses.visibility import VisibilityLoss
from src.models.flow import FlowBranch
from src.models.propagator import Propagator
from src.structures import FlowPrediction, MaskPrediction, PairBatch
from src.training.pseudo_labels import PseudoLabels

Terms = dict[str, Tensor]
"""Weighted loss terms by name; the training loss is their sum."""


class StagePrediction(NamedTuple):
    """What a stage says about a pair, for validation.

    Attributes:
        nonkey: prediction for the non-key frame.
        flow: that carried it there, or ``None`` where nothing was carried.
        key: prediction for the key frame that it was carried from, or ``None``.
    """

    nonkey: MaskPrediction
    flow: FlowPrediction | None = None
    key: MaskPrediction | None = None


class Stage(Protocol):
    """One of the stages of training. All are modules, since losses may hold buffers."""

    trainable: tuple[str, ...]
    """Names of the propagator's parts that train; everything else is frozen, statistics included."""
    idle: tuple[FlowBranch, ...]
    """Branches of the flow estimator that none of the stage's losses reaches: frozen, as DDP would wait for their gradients."""

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """The loss terms of a batch."""

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """What the stage says about the non-key frame, for validation."""


class SegmentorStage(nn.Module):
    """Stage 1: the segmentor on single frames (the non-key frame of each pair).

    Args:
        loss: set loss on the masks of every decoder layer.
        trainable: parts that train.
    """

    def __init__(self, loss: MaskClassificationLoss, trainable: Sequence[str] = ("segmentor",)) -> None:
        super().__init__()
        self.loss = loss
        self.trainable = tuple(trainable)
        self.idle: tuple[FlowBranch, ...] = ()

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Mask classification loss of the frame's own prediction."""
        terms: Terms = self.loss(model.segmentor(batch.nonkey_image), batch.nonkey_label, batch.sample_id)
        return terms

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """The per-frame prediction."""
        return StagePrediction(model.segmentor(batch.nonkey_image))


class AuxiliaryLosses(nn.Module):
    """What a flow estimator learns beside its flow; terms that are ``None`` are left out.

    Args:
        visibility: of its confidence, where the flow is known.
        disocclusion: of its disocclusion head, where there is a label.
        photometric: of the flow itself, on pairs whose flow is unknown.
    """

    def __init__(
        self, visibility: VisibilityLoss | None, disocclusion: DisocclusionLoss | None, photometric: PhotometricLoss | None
    ) -> None:
        super().__init__()
        self.visibility = visibility
        self.disocclusion = disocclusion
        self.photometric = photometric
        supervised = {FlowBranch.VISIBILITY: visibility, FlowBranch.DISOCCLUSION: disocclusion}
        self.idle = tuple(branch for branch, loss in supervised.items() if loss is None)

    def forward(self, flow: FlowPrediction, batch: PairBatch) -> Terms:
        """The terms of a batch."""
        terms: Terms = {}
        if self.visibility is not None:
            terms |= self.visibility(flow, _known_flow(batch))
        if self.disocclusion is not None:
            terms |= self.disocclusion(flow, batch.nonkey_label)
        if self.photometric is not None:
            terms |= self.photometric(flow, batch.key_image, batch.nonkey_image, batch.flow)
        return terms


class FlowStage(nn.Module):
    """Supervised flow pretraining: end-point error of the image's flow and of each query's flow inside its segment.

    Args:
        loss: end-point error at every scale and per segment.
        visibility: teaches the confidence; ``None`` for estimators that have none.
        disocclusion: teaches the disocclusion head; ``None`` for estimators that have none.
        photometric: teaches motion on pairs whose flow is unknown; ``None``: these teach none.
        trainable: parts that train.
    """

    def __init__(
        self,
        loss: FlowLoss,
        visibility: VisibilityLoss | None = None,
        disocclusion: DisocclusionLoss | None = None,
        photometric: PhotometricLoss | None = None,
        trainable: Sequence[str] = ("flow",),
    ) -> None:
        super().__init__()
        self.loss = loss
        self.auxiliary_losses = AuxiliaryLosses(visibility, disocclusion, photometric)
        self.trainable = tuple(trainable)
        self.idle = self.auxiliary_losses.idle

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """End-point errors against the known flow; the segmentor runs only for a flow that reads its queries.

        Raises:
            ValueError: if the batch has no flow, or the estimator not what a loss is for.
        """
        target = _known_flow(batch)
        key, queries = None, batch.key_image.new_empty((len(batch.key_image), 0, 0), dtype=torch.float32)
        if model.flow.reads_queries:
            with torch.no_grad():
                key = model.segmentor(batch.key_image).final_layer()
            queries = key.queries
        flow = model.flow.with_detail(model.flow(batch.key_image, batch.nonkey_image, queries))
        terms: Terms = self.loss(flow, target, key)
        terms |= self.auxiliary_losses(flow, batch)
        return terms

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """The key frame's prediction carried to the non-key frame."""
        return _propagate(model, batch)


class PropagationStage(nn.Module):
    """The paper's second stage: set loss on the warped masks of all decoder layers, against the non-key frame's label.

    Args:
        loss: set loss; its matching is done on the warped masks.
        flow_loss: end-point error added where the data knows its flow; ``None`` for the paper's recipe.
        flow_weight: factor of ``flow_loss``.
        visibility: see :class:`FlowStage`, like the two that follow.
        disocclusion: see there.
        photometric: see there.
        pseudo_labels: labels the frames that have none; ``None``: these teach no masks.
        trainable: parts that train.
    """

    def __init__(
        self,
        loss: MaskClassificationLoss,
        flow_loss: FlowLoss | None = None,
        flow_weight: float = 1.0,
        visibility: VisibilityLoss | None = None,
        disocclusion: DisocclusionLoss | None = None,
        photometric: PhotometricLoss | None = None,
        pseudo_labels: PseudoLabels | None = None,
        trainable: Sequence[str] = ("flow", "segmentor.mask_head", "segmentor.class_head"),
    ) -> None:
        super().__init__()
        self.loss = loss
        self.flow_loss = flow_loss
        self.flow_weight = flow_weight
        self.auxiliary_losses = AuxiliaryLosses(visibility, disocclusion, photometric)
        self.pseudo_labels = pseudo_labels
        self.trainable = tuple(trainable)
        # Carried masks do not teach the flow of single pixels.
        self.detailed = flow_loss is not None or photometric is not None
        self.idle = self.auxiliary_losses.idle if self.detailed else (*self.auxiliary_losses.idle, FlowBranch.DETAIL)

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Set loss of the carried masks and, where asked for, the end-point errors.

        Raises:
            ValueError: if ``flow_loss`` is given and the batch has no flow.
        """
        if self.pseudo_labels is not None:
            batch = self.pseudo_labels(model.segmentor, batch)
        key = model.segmentor(batch.key_image)
        carried, flow = model.propagate(key, batch.key_image, batch.nonkey_image)
        terms: Terms = dict(self.loss(carried, batch.nonkey_label, batch.sample_id))
        if self.detailed:
            flow = model.flow.with_detail(flow)
        if self.flow_loss is not None:
            errors = self.flow_loss(flow, _known_flow(batch), key.final_layer())
            terms |= {name: self.flow_weight * error for name, error in errors.items()}
        terms |= self.auxiliary_losses(flow, batch)
        return terms

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """The key frame's prediction carried to the non-key frame."""
        return _propagate(model, batch)


def _propagate(model: Propagator, batch: PairBatch) -> StagePrediction:
    key = model.segmentor(batch.key_image).final_layer()
    carried, flow = model.propagate(key, batch.key_image, batch.nonkey_image)
    return StagePrediction(carried, model.flow.with_detail(flow), key)


def _known_flow(batch: PairBatch) -> Tensor:
    if batch.flow is None:
        raise ValueError(
            f"no flow is known for {batch.names[0]}: supervised flow needs moving_scenes, or stills with data.motion set "
            "(conf/data/camvid.yaml shows how)"
        )
    return batch.flow
