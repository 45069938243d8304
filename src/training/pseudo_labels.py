"""Pseudo-labels of unlabelled frames, predicted by the per-frame segmentor."""

import torch

from src.data.samples import PairBatch
from src.models.segmentors.base import KeyFrameSegmentor
from src.ops.masks import best_class, semantic_scores
from src.structures import IGNORE_INDEX


class PseudoLabels:
    """Self-distillation: the per-frame semantic map of the non-key frame is the target of the masks warped to it.

    Pixels of low confidence are ignored. Labelled frames keep their label.

    Args:
        min_score: lowest share of the best class in all scores of a pixel, 0..1; pixels below are ignored.
    """

    def __init__(self, min_score: float = 0.6) -> None:
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score is {min_score}; expected 0..1")
        self.min_score = min_score

    @torch.no_grad()
    def __call__(self, segmentor: KeyFrameSegmentor, batch: PairBatch) -> PairBatch:
        """Return the batch with its unlabelled frames labelled by ``segmentor``, run in eval mode."""
        unlabelled = (batch.nonkey_label == IGNORE_INDEX).flatten(1).all(1)
        if not unlabelled.any():
            return batch
        training = segmentor.training
        try:
            scores = semantic_scores(segmentor.eval()(batch.nonkey_image[unlabelled]))
        finally:
            segmentor.train(training)
        confident = scores.amax(1) >= self.min_score * scores.sum(1)
        label = batch.nonkey_label.clone()
        label[unlabelled] = torch.where(confident, best_class(scores), IGNORE_INDEX)
        return batch._replace(nonkey_label=label)
