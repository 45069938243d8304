"""Laws of pseudo-labels: the semantic map of the segmentor, only for unlabelled frames and confident pixels."""

import pytest
import torch

from src.ops.masks import semantic_map, semantic_scores
from src.structures import IGNORE_INDEX
from src.training.pseudo_labels import PseudoLabels
from tests.inference.tiny import tiny_propagator
from tests.training.tiny_batch import tiny_batch


def test_unlabelled_frames_get_the_semantic_map_and_labelled_frames_keep_their_label() -> None:
    segmentor, batch = tiny_propagator().segmentor, tiny_batch()
    label = batch.nonkey_label.clone()
    label[1] = IGNORE_INDEX
    found = PseudoLabels(min_score=0.0)(segmentor, batch._replace(nonkey_label=label)).nonkey_label
    assert torch.equal(found[0], batch.nonkey_label[0])
    with torch.no_grad():
        expected = semantic_map(segmentor(batch.nonkey_image[1:]))[0]
    assert torch.equal(found[1], expected) and len(expected.unique()) > 1


def test_pixels_of_low_confidence_are_ignored() -> None:
    segmentor, batch = tiny_propagator().segmentor, tiny_batch()
    batch = batch._replace(nonkey_label=torch.full_like(batch.nonkey_label, IGNORE_INDEX))
    with torch.no_grad():
        scores = semantic_scores(segmentor(batch.nonkey_image))
    share = scores.amax(1) / scores.sum(1)
    limit = float(share.median())
    found = PseudoLabels(limit)(segmentor, batch).nonkey_label
    assert torch.equal(found == IGNORE_INDEX, share < limit)


def test_segmentor_keeps_its_training_mode() -> None:
    segmentor, batch = tiny_propagator().segmentor, tiny_batch()
    blank = batch._replace(nonkey_label=torch.full_like(batch.nonkey_label, IGNORE_INDEX))
    label = PseudoLabels()(segmentor.train(), blank).nonkey_label
    assert segmentor.training and not label.requires_grad
    assert PseudoLabels()(segmentor, batch) is batch
    with pytest.raises(ValueError, match="min_score is 2"):
        PseudoLabels(2)
