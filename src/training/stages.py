"""Trainable parts, losses and validation predictions of each training stage."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from src.data.samples import PairBatch
from src.losses.disocclusion import DisocclusionLoss
from src.losses.flow import FlowLoss
from src.losses.mask_classification import MaskClassificationLoss
from src.losses.photometric import PhotometricLoss
from src.losses.visibility import VisibilityLoss
from src.models.flow import FlowBranch
from src.models.propagator import Propagator
from src.structures import FlowPrediction, MaskPrediction
from src.training.pseudo_labels import PseudoLabels

Terms = dict[str, Tensor]
"""Weighted loss terms by name; the training loss is their sum."""


class StagePrediction(NamedTuple):
    """Validation prediction for a batch of pairs; ``flow`` warped ``key`` to ``nonkey``, and is ``None`` without a warp."""

    nonkey: MaskPrediction
    flow: FlowPrediction | None = None
    key: MaskPrediction | None = None


class Stage(Protocol):
    """One training stage. Every stage is a module, since losses may hold buffers."""

    trainable: tuple[str, ...]
    """Names of the propagator's trainable parts; all other parts are frozen, batch-norm statistics included."""
    unsupervised: tuple[FlowBranch, ...]
    """Branches of the flow estimator without a loss in this stage, frozen because DDP would wait for their gradients."""
    recurrent: bool
    """Whether the segmentor starts from the memory of another frame, so that what updates it has a gradient."""

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Compute the loss terms of a batch."""

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """Predict the non-key frame, for validation."""


class SegmentorStage(nn.Module):
    """Stage 1: the segmentor on single frames (the non-key frame of each pair).

    Args:
        loss: set loss on the masks of every decoder layer.
        trainable: names of the trainable parts.
        recurrent: for a segmentor with memory: a pair is a clip of two frames, of which the second is labelled. The loss is the
            mean over that frame as the second one, from the memory of the key frame, and as the first of a clip.
    """

    def __init__(self, loss: MaskClassificationLoss, trainable: Sequence[str] = ("segmentor",), recurrent: bool = False) -> None:
        super().__init__()
        self.loss = loss
        self.trainable = tuple(trainable)
        self.recurrent = recurrent
        self.unsupervised: tuple[FlowBranch, ...] = ()

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Compute the set loss of the per-frame prediction."""
        terms: Terms = self.loss(model.segmentor(batch.nonkey_image), batch.nonkey_label, batch.sample_id)
        if self.recurrent:
            second = self.loss(self._second(model, batch), batch.nonkey_label, batch.sample_id)
            terms = {name: (term + second[name]) / 2 for name, term in terms.items()}
        return terms

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """Segment the non-key frame."""
        return StagePrediction(self._second(model, batch) if self.recurrent else model.segmentor(batch.nonkey_image))

    @staticmethod
    def _second(model: Propagator, batch: PairBatch) -> MaskPrediction:
        second: MaskPrediction = model.segmentor(batch.nonkey_image, model.segmentor(batch.key_image).memory)
        return second


class AuxiliaryLosses(nn.Module):
    """Losses of a flow estimator beside the end-point error; ``None`` for estimators without that output.

    Args:
        visibility: loss of the confidence, where the true flow is known.
        disocclusion: loss of the disocclusion head, where a label is known.
        photometric: loss of the flow on pairs without a true flow; ``None`` leaves such pairs out.
    """

    def __init__(
        self, visibility: VisibilityLoss | None, disocclusion: DisocclusionLoss | None, photometric: PhotometricLoss | None
    ) -> None:
        super().__init__()
        self.visibility = visibility
        self.disocclusion = disocclusion
        self.photometric = photometric
        supervised = {FlowBranch.VISIBILITY: visibility, FlowBranch.DISOCCLUSION: disocclusion, FlowBranch.FUSION: None}
        self.unsupervised = tuple(branch for branch, loss in supervised.items() if loss is None)

    def forward(self, flow: FlowPrediction, batch: PairBatch) -> Terms:
        """Compute the loss terms of a batch."""
        terms: Terms = {}
        if self.visibility is not None:
            terms |= self.visibility(flow, _known_flow(batch))
        if self.disocclusion is not None:
            terms |= self.disocclusion(flow, batch.nonkey_label)
        if self.photometric is not None:
            terms |= self.photometric(flow, batch.key_image, batch.nonkey_image, batch.flow)
        return terms


class _PropagatedPrediction:
    """Validation of the stages that train a flow."""

    recurrent = False

    def predict(self, model: Propagator, batch: PairBatch) -> StagePrediction:
        """Propagate the key frame's prediction to the non-key frame."""
        key = model.segmentor(batch.key_image).final_layer()
        warped, flow = model.propagate(key, batch.key_image, batch.nonkey_image)
        return StagePrediction(warped, model.flow.with_detail(flow), key)


class FlowStage(_PropagatedPrediction, nn.Module):
    """Supervised flow pretraining: end-point error of the pixel flow and of each query's flow inside its segment.

    Args:
        loss: end-point error at every scale and per segment.
        visibility, disocclusion, photometric: see :class:`AuxiliaryLosses`.
        trainable: names of the trainable parts.
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
        if not any(name.partition(".")[0] == "flow" for name in trainable):
            raise ValueError(
                f"stage.objective.trainable is {list(trainable)}; expected flow, the only module that this loss trains"
            )
        self.trainable = tuple(trainable)
        self.unsupervised = self.auxiliary_losses.unsupervised

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Compute the end-point errors; the segmentor runs only for a flow estimator that reads its queries."""
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


class PropagationStage(_PropagatedPrediction, nn.Module):
    """The paper's second stage: set loss on the warped masks of all decoder layers, against the non-key frame's label.

    Args:
        loss: set loss; queries are matched by their warped masks.
        flow_loss: additional end-point error, for data with a true flow; ``None`` in the paper's recipe.
        flow_weight: factor of ``flow_loss``.
        visibility, disocclusion, photometric: see :class:`AuxiliaryLosses`.
        pseudo_labels: labels for frames without one; ``None`` leaves such frames out of the set loss.
        trainable: names of the trainable parts.
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
        # The loss of the warped masks does not reach the flow of single pixels.
        self.detailed = flow_loss is not None or photometric is not None
        self.unsupervised = (
            self.auxiliary_losses.unsupervised if self.detailed else (*self.auxiliary_losses.unsupervised, FlowBranch.DETAIL)
        )

    def losses(self, model: Propagator, batch: PairBatch) -> Terms:
        """Compute the set loss of the warped masks and the configured flow losses."""
        if self.pseudo_labels is not None:
            batch = self.pseudo_labels(model.segmentor, batch)
        key = model.segmentor(batch.key_image)
        warped, flow = model.propagate(key, batch.key_image, batch.nonkey_image)
        terms: Terms = dict(self.loss(warped, batch.nonkey_label, batch.sample_id))
        if self.detailed:
            flow = model.flow.with_detail(flow)
        if self.flow_loss is not None:
            errors = self.flow_loss(flow, _known_flow(batch), key.final_layer())
            terms |= {name: self.flow_weight * error for name, error in errors.items()}
        terms |= self.auxiliary_losses(flow, batch)
        return terms


def _known_flow(batch: PairBatch) -> Tensor:
    if batch.flow is None:
        raise ValueError(
            f"{batch.names[0]} has no true flow; expected data=moving_scenes, or stills with data.motion set "
            "(as in conf/data/camvid.yaml)"
        )
    return batch.flow
