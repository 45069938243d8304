"""Laws of the winning flow."""

from dataclasses import replace

import pytest
import torch

from src.models.fusion import Source, fuse
from src.ops.segment_flow import winning_flow
from tests.segment_predictions import SIZE, flow_of, prediction


def test_the_winning_segment_gives_the_flow_in_image_pixels() -> None:
    flow = winning_flow(prediction(), flow_of([(1.0, 0.0), (0.0, -2.0), (9.0, 9.0)]))
    assert flow.shape == (1, 2, *SIZE)
    assert torch.allclose(flow[0, :, :, :126], torch.tensor([8.0, 0.0])[:, None, None].expand(2, 56, 126))
    assert torch.allclose(flow[0, :, :, 130:], torch.tensor([0.0, -16.0])[:, None, None].expand(2, 56, 120))


def test_one_flow_for_all_segments_wins_everywhere() -> None:
    flow = winning_flow(prediction(), flow_of([(1.0, -1.0)]))
    assert torch.allclose(flow[0], torch.tensor([8.0, -8.0])[:, None, None].expand(2, *SIZE))


def test_the_flow_of_a_fused_prediction_is_that_of_the_chosen_key_frame() -> None:
    before = prediction()
    after = replace(before, mask_logits_per_layer=before.mask_logits_per_layer.flip(2))
    fused = fuse([Source(one, distance, torch.ones(1, *SIZE)) for one, distance in ((before, 4), (after, 1))], "linear")
    flow = flow_of([(1.0, 0.0), (0.0, -2.0), (9.0, 9.0)])
    assert not torch.equal(winning_flow(after, flow), winning_flow(before, flow))
    assert torch.equal(winning_flow(fused, flow), winning_flow(before, flow))
    assert torch.equal(winning_flow(fused, flow, source=1), winning_flow(after, flow))


def test_flow_of_another_padding_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(128, 256\); expected \(64, 256\)"):
        winning_flow(prediction(), replace(flow_of([(0.0, 0.0)]), padded_size=(128, 256)))
