"""Labels for frames that nobody labelled: what the per-frame segmentor says about them."""

from __future__ import annotations

import torch
from torch import Tensor

from src.models.segmentors.base import KeyFrameSegmentor
from src.ops.masks import semantic_scores
from src.structures import IGNORE_INDEX, PairBatch


class PseudoLabels:
    """Self-distillation: the segmentor's own map of the non-key frame is the target of the masks that are carried there.

    A frame segmented by itself knows where things are now; the carried masks shall agree with it. Pixels that the segmentor is
    unsure of are ignored. Frames that have a label keep it.

    Args:
        min_score: least share that the best class must have of all scores of a pixel, 0..1.

    Raises:
        ValueError: if it is not within 0..1.
    """

    def __init__(self, min_score: float = 0.6) -> None:
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score is {min_score}; expected 0..1")
        self.min_score = min_score

    @torch.no_grad()
    def __call__(self, segmentor: KeyFrameSegmentor, batch: PairBatch) -> PairBatch:
        """The batch, its unlabelled frames labelled by ``segmentor``, which is in eval mode for it."""
        blank = (batch.nonkey_label == IGNORE_INDEX).flatten(1).all(1)
        if not blank.any():
            return batch
        training = segmentor.training
        try:
            found = self._labels(segmentor.eval(), batch.nonkey_image[blank])
        finally:
            segmentor.train(training)
        label = batch.nonkey_label.clone()
        label[blank] = found
        return batch._replace(nonkey_label=label)

    def _labels(self, segmentor: KeyFrameSegmentor, image: Tensor) -> Tensor:
        scores = semantic_scores(segmentor(image))
        best = scores.max(1)
        sure = best.values >= self.min_score * scores.sum(1)
        return torch.where(sure, best.indices, IGNORE_INDEX)
