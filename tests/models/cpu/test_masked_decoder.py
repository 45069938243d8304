"""Law: in inference mode the last prediction equals transformers', and elsewhere transformers' code runs."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from src.models.cpu.mask_features import MaskFeatures
from src.models.cpu.masked_decoder import MaskedDecoder
from src.models.segmentors.mask2former import Mask2FormerSegmentor

Build = Callable[..., Mask2FormerSegmentor]


@pytest.fixture
def segmentor(build_segmentor: Build) -> Mask2FormerSegmentor:
    torch.manual_seed(0)
    segmentor = build_segmentor().eval()
    for module in segmentor.network.model.transformer_module.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, 0.3)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return segmentor


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 70, 101), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_the_last_prediction_is_that_of_all_layers(segmentor: Mask2FormerSegmentor, image: torch.Tensor) -> None:
    with torch.no_grad():
        whole = segmentor(image)
    with torch.inference_mode():
        fast = segmentor(image)
    assert len(whole.mask_logits_per_layer) == 3 and len(fast.mask_logits_per_layer) == 1
    for name in ("mask_logits", "class_logits", "queries"):
        torch.testing.assert_close(getattr(fast, name), getattr(whole, name), atol=2e-4, rtol=2e-4)
    assert whole.mask_logits.std() > 0.01


def test_a_query_with_an_empty_mask_attends_everywhere(segmentor: Mask2FormerSegmentor) -> None:
    decoder = segmentor.network.model.transformer_module
    normed, reduced = torch.zeros(1, 2, 32), MaskFeatures(torch.ones(1, 32, 1, 5))
    with torch.inference_mode():
        embedder = decoder.decoder.mask_predictor.mask_embedder
        last = embedder.layers[-1].layers[0]
        last.bias.data, last.weight.data = -torch.ones_like(last.bias), torch.zeros_like(last.weight)
        assert decoder._attention_mask(normed, reduced).all()
        reduced.maps[..., 3] = -1.0
        assert decoder._attention_mask(normed, reduced)[0, 0].tolist() == [[False, False, False, True, False]] * 2


def test_with_gradients_or_in_training_it_uses_transformers_code(segmentor: Mask2FormerSegmentor, image: torch.Tensor) -> None:
    assert isinstance(segmentor.network.model.transformer_module, MaskedDecoder)
    assert len(segmentor(image).mask_logits_per_layer) == 3
    segmentor.train()
    with torch.inference_mode():
        assert len(segmentor(image).mask_logits_per_layer) == 3
