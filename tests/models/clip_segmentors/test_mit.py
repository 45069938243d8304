"""Mix transformer: epsilons of the published network, and weights of encoders saved by transformers."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import SegformerConfig, SegformerForImageClassification

from src.models.clip_segmentors.mit import MixTransformer

WIDTHS, DEPTHS = (4, 8, 10, 16), (1, 2, 1, 1)


def test_epsilons_are_the_published_ones() -> None:
    norms = {
        name: module.eps for name, module in MixTransformer(WIDTHS, DEPTHS).named_modules() if isinstance(module, nn.LayerNorm)
    }
    assert {eps for name, eps in norms.items() if "patch_embeddings" in name or "reduction" in name} == {1e-5}
    assert {eps for name, eps in norms.items() if "patch_embeddings" not in name and "reduction" not in name} == {1e-6}
    assert len(norms) == 4 + 4 + 2 * sum(DEPTHS) + 4  # the last stage has no reduction


def test_weights_of_a_saved_classifier_are_loaded(tmp_path: Path) -> None:
    config = SegformerConfig(hidden_sizes=WIDTHS, depths=DEPTHS)
    saved = SegformerForImageClassification(config)
    saved.save_pretrained(tmp_path)
    encoder = MixTransformer(WIDTHS, DEPTHS, weights=str(tmp_path))
    for name, value in saved.segformer.state_dict().items():
        assert torch.equal(encoder.network.state_dict()[name], value)
    with pytest.raises(ValueError, match="do not fit"):
        MixTransformer(WIDTHS, (2, 2, 1, 1), weights=str(tmp_path))
