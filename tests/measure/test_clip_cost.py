"""GFLOPs of clip segmentors: those of its layers by hand, and the published parameters."""

import pytest
import torch

from src.measure.clip_cost import clip_cost, inference_params_m
from src.models.clip_segmentors.mrcfa import MrcfaSegmentor


def test_cost_of_mrcfa_b1() -> None:
    with torch.device("meta"):
        network = MrcfaSegmentor(124, refinement="deep").eval()
    assert inference_params_m(network) == pytest.approx(16.226055)
    cost = clip_cost(network, (480, 864))
    # Convolutions and matrix products are 18.42 + 6.795 + 0.823 and 0.823; the rest are norms and resizing.
    assert 26.0 < cost.encode < 26.4
    assert cost.alone == pytest.approx(0.823, abs=1e-3)
    assert cost.streamed == pytest.approx(cost.encode + cost.reference + cost.predict)
    assert cost.whole_clip == pytest.approx(4 * cost.encode + 3 * cost.reference + cost.predict)
