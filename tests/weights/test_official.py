import logging

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.flow import CopyFlow, DISFlow, PixelFlow, QueryFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.weights.mpvss_names import flownet_names
from src.weights.official import from_official, to_official
from tests.inference.tiny import frames, tiny_propagator
from tests.weights.published import SWIN, small_config, small_flow, small_mpvss, small_official

Tensors = dict[str, Tensor]


def outputs(propagator: Propagator) -> list[Tensor]:
    key, nonkey = (frame[None] for frame in frames(2, size=(64, 96)))
    with torch.inference_mode():
        prediction, flow = propagator.eval()(key, nonkey)
    return [prediction.mask_logits_per_layer, prediction.class_logits_per_layer, prediction.queries, flow.segment_flow]


@pytest.mark.parametrize("backbone", ["swin", "resnet"])
def test_round_trip_is_bit_equal_and_computes_the_same(backbone: str) -> None:
    ours = small_mpvss(backbone)
    official = to_official(ours)
    again = from_official(official)
    assert isinstance(again, Propagator) and again.warp_grid == "reference"
    back = to_official(again)
    assert set(back) == set(official)
    assert all(torch.equal(back[name], value) and back[name].dtype == value.dtype for name, value in official.items())
    assert all(torch.equal(a, b) for a, b in zip(outputs(again), outputs(ours), strict=True))


def test_every_official_tensor_matters() -> None:
    """Noise on one tensor returns in the same tensor only: none is swapped or left out."""
    official = small_official("resnet")
    base = to_official(from_official(official))
    for name in list(official)[::13]:
        if official[name].is_floating_point():
            changed = to_official(from_official(official | {name: official[name] + 1}))
            assert [other for other in base if not torch.equal(base[other], changed[other])] == [name]


def test_buffers_that_follow_from_sizes_are_optional(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    official = small_official("swin")
    index = [name for name in official if name.endswith("relative_position_index")]
    assert len(index) == 5
    bare = {name: value for name, value in official.items() if name not in index}
    expected = outputs(from_official(official))
    assert all(torch.equal(a, b) for a, b in zip(outputs(from_official(bare)), expected, strict=True))
    assert all(torch.equal(to_official(from_official(bare))[name], official[name]) for name in index)
    from_official(bare | {"criterion.empty_weight": torch.ones(6)})
    assert "left out, as unused: criterion.empty_weight" in caplog.text
    with pytest.raises(ValueError, match=f"{index[3]} differs from the index of a window of 4 pixels"):
        from_official(official | {index[3]: official[index[3]].flip(0)})


def test_frozen_batch_norms_have_no_counters() -> None:
    official = small_official("resnet")
    frozen = {name: value for name, value in official.items() if not name.endswith("num_batches_tracked")}
    assert len(frozen) < len(official)
    assert all(torch.equal(a, b) for a, b in zip(outputs(from_official(frozen)), outputs(from_official(official)), strict=True))


def test_names_of_checkpoints_before_the_release_are_renamed() -> None:
    official = small_official()
    old = {
        name.replace("sem_seg_head.pixel_decoder.", "sem_seg_head.").replace("query_feat", "static_query"): value
        for name, value in official.items()
    }
    assert len(set(official) - set(old)) > 20
    back = to_official(from_official(old))
    assert all(torch.equal(back[name], value) for name, value in official.items())
    name = "sem_seg_head.predictor.static_query.weight"
    with pytest.raises(ValueError, match=f"{name} and .* are both present"):
        from_official(official | {name: old[name]})


def test_every_fault_is_listed() -> None:
    official = small_official()
    broken: Tensors = dict(official)
    del broken["backbone.norm2.bias"], broken["sem_seg_head.predictor.level_embed.weight"]
    broken["backbone.stray"] = torch.zeros(3)
    broken["sem_seg_head.predictor.decoder_norm.bias"] = torch.zeros(9)
    with pytest.raises(ValueError) as error:
        from_official(broken)
    for text in (
        "4 tensors do not fit", "missing backbone.norm2.bias", "missing sem_seg_head.predictor.level_embed.weight",
        "unknown backbone.stray (3,)", "sem_seg_head.predictor.decoder_norm.bias is (9,)",
    ):  # fmt: skip
        assert text in str(error.value)
    for change, text in (
        ({"motion.stray": torch.zeros(1)}, r"unknown motion\.stray"),
        ({"motion.decoder.fuse_layer.conv.bias": torch.zeros(3)}, r"motion\.decoder\.fuse_layer\.conv\.bias is \(3,\)"),
        ({"motion.decoder.query_embed.weight": torch.zeros(7, 32)}, "reads 7 queries of width 32; expected 6"),
        ({"head.weight": torch.zeros(1)}, r"unknown head\.weight"),
    ):
        with pytest.raises(ValueError, match=text):
            from_official(official | change)


def test_weights_of_other_networks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tensors are fc\.weight, .*; expected MPVSS"):
        from_official({"fc.weight": torch.zeros(1)})


@pytest.mark.parametrize("flow, kind", [("copy", CopyFlow), ("dis", DISFlow)])
def test_segmentor_checkpoint_gets_a_flow_without_weights(flow: str, kind: type) -> None:
    official = {name: value for name, value in small_official().items() if not name.startswith("motion.")}
    propagator = from_official(official, flow)  # type: ignore[arg-type]
    assert isinstance(propagator, Propagator) and type(propagator.flow) is kind and propagator.warp_grid == "exact"
    assert set(to_official(propagator)) == set(official)


def flownet_state(channels: tuple[int, ...] = (8, 8, 16, 16, 16, 24), steps: tuple[int, ...] = (8, 6, 4, 2)) -> Tensors:
    own = PixelFlow(channels, steps).state_dict()
    return {name: torch.randn(own[ours].shape) * 0.2 for name, (ours,) in flownet_names().items()}


def flownet_flows(state: Tensors, pair: Tensor) -> list[Tensor]:
    """FlowNetS as in its paper, on a prepared pair: flow / 20 in pixels of the pair, coarse to fine."""
    levels = []
    x = pair
    for stage in range(1, 7):
        for part in range(1 if stage < 3 else 2):
            weight, bias = (state[f"conv{stage}.{part}.conv.{kind}"] for kind in ("weight", "bias"))
            x = F.leaky_relu(F.conv2d(x, weight, bias, stride=1 if part else 2, padding=weight.shape[-1] // 2), 0.1)
        levels.insert(0, x)
    x, flows = levels[0], []
    for number, level in zip((6, 5, 4, 3), levels[1:], strict=False):
        flows.append(F.conv2d(x, state[f"predict_flow{number}.conv.weight"], padding=1))
        up = F.conv_transpose2d(flows[-1], state[f"upsample_flow{number - 1}.conv.weight"], stride=2, padding=1)
        step = F.leaky_relu(F.conv_transpose2d(x, state[f"deconv{number - 1}.conv.weight"], stride=2, padding=1), 0.1)
        height, width = level.shape[-2:]
        x = torch.cat((level, step[..., :height, :width], up[..., :height, :width]), dim=1)
    return [*flows, F.conv2d(x, state["predict_flow.conv.weight"], padding=1)]


@torch.no_grad()
def test_flownet_gives_its_flow_in_pixels_of_every_grid() -> None:
    state = flownet_state()
    flow = from_official(state)
    assert isinstance(flow, PixelFlow)
    key, nonkey = (255 * torch.rand(1, 3, 128, 192) for _ in range(2))
    raw = flownet_flows(state, flow.prepare(nonkey, key))
    found = flow(key, nonkey, torch.zeros(1, 1, 1))
    for stride, own, level in zip((64, 32, 16, 8, 4), raw, found.pixel_flows, strict=True):
        torch.testing.assert_close(level, 20 * own / stride, rtol=1e-4, atol=1e-5)
    assert found.segment_flow.abs().max() > 0.1


def test_flownet_is_loaded_strictly() -> None:
    state = flownet_state()
    with pytest.raises(ValueError, match=r"unknown fc\.weight"):
        from_official(state | {"fc.weight": torch.zeros(1)})
    del state["predict_flow4.conv.weight"]
    with pytest.raises(ValueError, match=r"missing predict_flow4\.conv\.weight"):
        from_official(state)


def test_networks_without_published_layout_are_refused() -> None:
    with pytest.raises(ValueError, match="flow is PixelFlow; expected QueryFlow"):
        to_official(tiny_propagator("pixel"))
    segmentor = small_mpvss().segmentor
    for changes, message in (
        ({"query_dim": 24}, "query_dim is 24; expected 32, which is fixed in the published code"),
        ({"num_heads": 4}, "num_heads is 4; expected 8, which is fixed"),
        ({"input_mean": [0.5, 0.5, 0.5]}, "input_mean is"),
        ({"decoder_layers": 0}, r"missing decoder\.query_embed"),
    ):
        with pytest.raises(ValueError, match=message):
            to_official(Propagator(segmentor, small_flow(**changes)))
    for changes in ({"pre_norm": True}, {"image_mean": [0.5, 0.5, 0.5]}, {"backbone_config": {**SWIN, "layer_norm_eps": 0.1}}):
        with pytest.raises(ValueError, match="fixed in the published code"):
            to_official(Propagator(Mask2FormerSegmentor.from_config(small_config("swin", **changes)), CopyFlow()))
    lite = Mask2FormerSegmentor.from_backbone(
        "efficientnet_lite0", 4, 6, 32, 32, 32, encoder_layers=1, decoder_layers=1, pretrained_backbone=False
    )
    with pytest.raises(ValueError, match="backbone is 'timm_backbone'; expected"):
        to_official(Propagator(lite, CopyFlow()))


def test_the_start_of_the_fusion_is_overwritten() -> None:
    official = small_official()
    propagator = from_official(official)
    assert isinstance(propagator, Propagator) and isinstance(propagator.flow, QueryFlow)
    assert torch.equal(propagator.flow.fuse.conv.weight, official["motion.decoder.fuse_layer.conv.weight"])
