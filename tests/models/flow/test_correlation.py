"""Laws of the light estimator: cached key features, trainable parameters, confidence, cost; disocclusion head."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from src.measure.counting import count_multiply_adds
from src.models.flow import CorrelationFlow
from src.models.flow.correlation import DisocclusionHead
from src.models.flow.correlation_decoder import Motion
from src.ops.warp import full_size_flow, resize_flow
from src.structures import FlowPrediction


def untrained() -> CorrelationFlow:
    return CorrelationFlow(
        disocclusion_classes=3,
        encoder_channels=(6, 8, 10, 12, 12),
        encoder_depths=(0, 1, 1, 0, 0),
        context_channels=(6, 6, 6, 6),
        radii=(1, 2, 2, 1),
        decoder_channels=((12, 8), (12, 8), (12, 8), (8,)),
        disocclusion_dim=8,
        detail_dim=8,
    )


@pytest.fixture
def correlation() -> CorrelationFlow:
    """Untrained; its flow is not zero."""
    return untrained()


def pair(height: int = 50, width: int = 70) -> tuple[Tensor, Tensor]:
    key, nonkey = torch.randint(0, 256, (2, 2, 3, height, width), dtype=torch.uint8)
    return key, nonkey


@torch.no_grad()
def test_all_segments_have_the_finest_flow_whatever_the_queries(correlation: CorrelationFlow) -> None:
    images = pair()
    one, other = correlation(*images, torch.randn(2, 7, 24)), correlation(*images, torch.empty(2, 0, 0))
    assert torch.equal(one.segment_flow[:, 0], one.pixel_flows[-1]) and one.pixel_flows[-1].abs().max() > 0
    assert torch.equal(one.segment_flow, other.segment_flow) and torch.equal(confidence_of(one), confidence_of(other))


@torch.no_grad()
@pytest.mark.parametrize("autocast", [False, True])
def test_cached_features_of_the_key_frame_give_the_same_bits(correlation: CorrelationFlow, autocast: bool) -> None:
    (key, nonkey), queries = pair(), torch.randn(2, 5, 24)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        cached = correlation.encode_key(key)
        fresh = correlation.with_detail(correlation(key, nonkey, queries))
        # The key image itself is not read again.
        found = correlation.with_detail(correlation(torch.zeros_like(key), nonkey, queries, cached))
    for name in ("segment_flow", "confidence", "disocclusion_logits", "detail"):
        assert torch.equal(getattr(found, name), getattr(fresh, name)), name
    assert all(torch.equal(a, b) for a, b in zip(found.pixel_flows, fresh.pixel_flows, strict=True))


def test_every_trainable_parameter_gets_a_gradient(correlation: CorrelationFlow) -> None:
    flow = correlation.with_detail(correlation(*pair(), torch.randn(2, 5, 24)))
    assert flow.disocclusion_logits is not None and flow.detail is not None
    (
        flow.detail.square().mean()
        + flow.segment_flow.square().mean()
        + confidence_of(flow).square().mean()
        + flow.disocclusion_logits.square().mean()
    ).backward()
    untouched = [name for name, p in correlation.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not untouched


@torch.no_grad()
def test_detail_is_the_flow_of_every_pixel_minus_the_enlarged_flow(correlation: CorrelationFlow) -> None:
    plain = correlation(*pair(), torch.randn(2, 5, 24))
    assert plain.detail is None
    full = correlation.with_detail(plain)
    assert full.detail is not None and full.detail.shape == (2, 2, *full.padded_size)
    key, nonkey, hidden = plain.sources
    every_pixel = correlation.detail(key, nonkey, Motion(plain.pixel_flows[-1], hidden))  # type: ignore[misc]
    torch.testing.assert_close(full_size_flow(full, (50, 70)), every_pixel[..., :50, :70])


@torch.no_grad()
def test_without_detail_the_flow_is_enlarged_bilinearly_and_less_is_cached() -> None:
    flow = CorrelationFlow(**{**untrained().config(), "detail_dim": None})
    found = flow.with_detail(flow(*pair(), torch.randn(2, 5, 24)))
    assert found.detail is None and len(flow.encode_key(pair()[0])) == 4
    enlarged = resize_flow(found.pixel_flows[-1], found.padded_size)
    assert torch.equal(full_size_flow(found, (50, 70)), enlarged[..., :50, :70])


@torch.no_grad()
def test_sources_outside_the_key_frame_have_no_confidence(correlation: CorrelationFlow) -> None:
    # All levels but the finest give no motion; the finest reads 3 pixels of its grid, 12 of the image, further right.
    for level in correlation.decoder.levels:
        level.correction.weight.zero_()
    correlation.decoder.levels[-1].correction.bias.copy_(torch.tensor([3.0, 0.0]))
    confidence = confidence_of(correlation(*pair(48, 64), torch.randn(2, 5, 24)))
    assert confidence.shape == (2, 1, 16, 16)
    assert (confidence[..., :12, :13] > 0).all() and (confidence <= 1).all()
    assert (confidence[..., 13:] == 0).all() and (confidence[..., 12:, :] == 0).all()


@pytest.mark.usefixtures("unchecked_shapes")
def test_unequal_images_and_missing_stages_are_refused(correlation: CorrelationFlow) -> None:
    with pytest.raises(ValueError, match="expected two equal"):
        correlation(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 64), torch.zeros(2, 5, 24))
    with pytest.raises(ValueError, match="five stages"):
        CorrelationFlow(encoder_channels=(8, 8, 8, 8))


@pytest.mark.parametrize(("name", "limit"), [("correlation_small", 6.0), ("correlation_base", 12.0)])
def test_a_nonkey_frame_costs_at_most(name: str, limit: float) -> None:
    """With 124 classes and 100 queries; the warp of the masks is 0.04 more, and the paper's estimator takes 15.7."""
    folder = Path(__file__).parents[3] / "conf"
    with initialize_config_dir(str(folder), version_base="1.3"):
        cfg = compose("train", overrides=[f"model/flow={name}", "data.num_classes=124", "model/segmentor=r50"])
    with torch.device("meta"):
        flow = instantiate(cfg.model.flow).requires_grad_(False)
        key, nonkey, queries = torch.empty(1, 3, 480, 853), torch.empty(1, 3, 480, 853), torch.empty(1, 100, 256)
        cached = flow.encode_key(key)
        _, count = count_multiply_adds(lambda: flow.with_detail(flow(key, nonkey, queries, cached)))
    assert 0.8 * limit < count / 1e9 < limit - 0.1


def confidence_of(flow: FlowPrediction) -> Tensor:
    assert flow.confidence is not None
    return flow.confidence


def head_features() -> list[Tensor]:
    return [torch.randn(1, channels, size, size, requires_grad=True) for channels, size in ((6, 4), (5, 8), (4, 16))]


def test_logits_depend_on_every_level_and_only_near_their_place() -> None:
    levels = head_features()
    logits = DisocclusionHead((6, 5, 4), 8, 3)(levels)
    assert logits.shape == (1, 3, 16, 16)
    gradients = torch.autograd.grad(logits[..., 0, 0].square().sum(), levels)
    for gradient, reach in zip(gradients, (2, 3, 2), strict=True):
        assert gradient[..., 0, 0].any()
        assert not gradient[..., reach:, :].any() and not gradient[..., :, reach:].any()
