import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from src.models.flow.query import QueryFlow
from src.ops.warp import resize_flow, warp_segments
from src.weights.mpvss_names import motion_names

CASES = {
    "motion_96x160": (1, 96, 160, (96, 160)),
    "motion_64x64_b2": (2, 64, 64, (64, 64)),
    "motion_96x160_hw80x140": (1, 96, 160, (80, 140)),
}


def keyed(key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode()))


def normal(key: str, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(keyed(key).standard_normal(shape).astype(np.float32))


def golden_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The rule of goldens/README.md."""
    x = normal(name, shape)
    if len(shape) == 1:
        return 1 + 0.1 * x if name.endswith(".weight") else 0.05 * x
    if name.endswith(("query_embed.weight", "level_embed.weight")):
        return x
    if name.endswith(("out_proj.weight", "linear2.weight")):
        x = x * 0.125
    return x * float(np.sqrt((1 if len(shape) == 2 else 2) / np.prod(shape[1:])))


@pytest.fixture(scope="module")
def golden_estimator(goldens: Path) -> QueryFlow:
    layout = json.loads((goldens / "flow" / "motion_state_dict.json").read_text())
    estimator, names = QueryFlow().eval(), motion_names()
    estimator.load_state_dict({names[name][0]: golden_weight(name, tuple(shape)) for name, shape in layout})
    return estimator


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_every_step_gives_the_published_numbers(goldens: Path, golden_estimator: QueryFlow, case: str) -> None:
    batch, height, width, (rows, columns) = CASES[case]
    net, expected = golden_estimator, np.load(goldens / "flow" / f"{case}.npz")

    def images(name: str) -> Tensor:
        keys = [f"{name}/{height}x{width}/{i}" for i in range(batch)]
        whole = np.stack([keyed(key).integers(0, 256, (3, height, width)) for key in keys])
        return torch.from_numpy(whole[..., :rows, :columns])

    queries = normal(f"query_init/{batch}", (100, batch, 256)).transpose(0, 1)
    masks = 3 * normal(f"mask_logits/{batch}x{height}x{width}", (batch, 100, height // 4, width // 4))
    prepared = net.prepare(images("image"), images("ref_image"))
    features = net.encoder(prepared)
    updated, pixel_flows = net.image_flow(features, queries)
    head = net.segment_head
    flow = net.fuse(pixel_flows[-1], head(updated, features[-1]))
    resized = resize_flow(flow, (height // 4, width // 4))
    found = {f"enc_conv{6 - i}": level for i, level in enumerate(features)} | {
        "prepared": prepared,
        "pixel_flow": pixel_flows[-1],
        "query_out": head.query_mlp(head.query_norm(updated)).transpose(0, 1),
        "motion_map_bhwc": head.motion_map(features[-1]),
        "final_flow": flow.flatten(0, 1),
        "warped_masks": warp_segments(masks[None], resized, grid="reference")[0],
    }
    assert set(expected) <= set(found)
    for name in expected:
        tolerance = 5e-4 if name == "warped_masks" else 1e-5
        error = np.abs(found[name].numpy() - expected[name]).max()
        assert error < tolerance, f"{name} is off by {error:.2e}"


def test_the_forward_pass_is_these_steps_in_order(small: QueryFlow) -> None:
    (key, nonkey), queries = random_images(2), torch.randn(2, 5, 24)
    features = small.encoder(small.prepare(nonkey, key))
    updated, pixel_flows = small.image_flow(features, queries)
    prediction = small(key, nonkey, queries)
    assert torch.equal(prediction.segment_flow, small.fuse(pixel_flows[-1], small.segment_head(updated, features[-1])))
    assert len(prediction.pixel_flows) == 5
    assert prediction.padded_size == (64, 96)


def random_images(batch: int) -> list[Tensor]:
    return [torch.rand(batch, 3, 50, 70) * 255 for _ in range(2)]


def test_default_widths_have_the_papers_size(goldens: Path) -> None:
    with torch.device("meta"):
        estimator = QueryFlow()
    parameters = dict(estimator.named_parameters())
    encoder = sum(p.numel() for n, p in parameters.items() if n.startswith("encoder."))
    total = sum(p.numel() for p in parameters.values())
    assert (round(encoder / 1e6, 3), round((total - encoder) / 1e6, 3), round(total / 1e6, 3)) == (24.051, 16.034, 40.085)
    assert list(estimator.state_dict()) == list(parameters), "buffers may not enter checkpoints"


@pytest.mark.parametrize("decoder_layers", [0, 1, 4])
def test_every_parameter_learns_from_the_first_step(small: QueryFlow, decoder_layers: int) -> None:
    estimator = QueryFlow(**{**small.config(), "decoder_layers": decoder_layers})
    prediction = estimator(*random_images(1), torch.randn(1, 5, 24))
    (prediction.segment_flow - 1).square().mean().backward()
    assert [n for n, p in estimator.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_reference_initialisation_is_a_flow_of_one_and_trains_only_the_fusion(small: QueryFlow) -> None:
    estimator = QueryFlow(**{**small.config(), "fuse_init": "reference"})
    flow = estimator(*random_images(1), torch.randn(1, 5, 24)).segment_flow
    assert (flow == 1).all()
    flow.square().mean().backward()
    assert {n for n, p in estimator.named_parameters() if p.grad is not None and p.grad.any()} == {
        "fuse.conv.weight",
        "fuse.conv.bias",
    }


def test_permuting_the_queries_permutes_the_flows(small: QueryFlow) -> None:
    assert small.query_decoder.query_embed is not None
    small.query_decoder.query_embed.weight.data[:] = torch.randn(16)
    images, queries, order = random_images(2), torch.randn(2, 5, 24), torch.tensor([3, 0, 4, 1, 2])
    before, after = small(*images, queries), small(*images, queries[:, order])
    torch.testing.assert_close(after.segment_flow, before.segment_flow[:, order])
    torch.testing.assert_close(after.pixel_flows[-1], before.pixel_flows[-1])
    spread = before.segment_flow.std(dim=1).max()
    assert spread > 1e-4, "flows of different queries must differ for this to say anything"


@pytest.mark.parametrize("decoder_layers", [0, 4])
def test_random_queries_are_learned_and_independent_of_the_segmentor(small: QueryFlow, decoder_layers: int) -> None:
    estimator = QueryFlow(**{**small.config(), "decoder_layers": decoder_layers, "queries": "random"})
    assert estimator.own_queries is not None
    (key, nonkey), queries = random_images(2), torch.randn(2, 5, 24)
    flow = estimator(key, nonkey, queries).segment_flow
    assert torch.equal(flow, estimator(key, nonkey, torch.randn(2, 5, 24)).segment_flow)
    assert torch.allclose(flow[:1], estimator(key[:1], nonkey[:1], queries[:1]).segment_flow, atol=1e-6)
    assert flow.std(dim=1).max() > 1e-4, "each query keeps a flow of its own"
    flow.square().mean().backward()
    assert [n for n, p in estimator.named_parameters() if p.grad is None or not p.grad.any()] == []
    again = QueryFlow(**json.loads(json.dumps(estimator.config())))
    again.load_state_dict(estimator.state_dict())
    assert torch.equal(again(key, nonkey, queries).segment_flow, flow)


def test_random_queries_change_no_other_weight_and_follow_the_seed(small: QueryFlow) -> None:
    """An ablation must not change the initial weights of the other parts."""

    def build(queries: str) -> dict[str, Tensor]:
        torch.manual_seed(5)
        return QueryFlow(**{**small.config(), "query_dim": 16, "queries": queries}).state_dict()

    plain, own = build("segmentor"), build("random")
    assert own.keys() - plain.keys() == {"own_queries.weight"}
    assert all(torch.equal(plain[name], own[name]) for name in plain)
    assert torch.equal(build("random")["own_queries.weight"], own["own_queries.weight"])
    with pytest.raises(ValueError, match="queries is 'none'; expected one of segmentor, random"):
        build("none")


def test_a_batch_equals_its_pairs_one_by_one(small: QueryFlow) -> None:
    (key, nonkey), queries = random_images(2), torch.randn(2, 5, 24)
    both = small(key, nonkey, queries).segment_flow
    for i in range(2):
        one = small(key[i : i + 1], nonkey[i : i + 1], queries[i : i + 1]).segment_flow
        torch.testing.assert_close(both[i : i + 1], one, atol=1e-6, rtol=1e-5)


def test_autocast_returns_float32_flow_close_to_the_exact_one(small: QueryFlow) -> None:
    images, queries = random_images(1), torch.randn(1, 5, 24)
    exact = small(*images, queries)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = small(*images, queries)
    for a, b in zip((mixed.segment_flow, *mixed.pixel_flows), (exact.segment_flow, *exact.pixel_flows), strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.05 * b.norm()


def test_cached_key_features_change_nothing(small: QueryFlow) -> None:
    (key, nonkey), queries = random_images(2), torch.randn(2, 5, 24)
    with torch.no_grad():
        plain = small(key, nonkey, queries)
    with torch.inference_mode():
        fresh = small(key, nonkey, queries)
        # The key image itself is not looked at any more.
        kept = small(torch.zeros_like(key), nonkey, queries, small.encode_key(key))
    assert torch.equal(kept.segment_flow, fresh.segment_flow)
    torch.testing.assert_close(fresh.segment_flow, plain.segment_flow, atol=1e-5, rtol=1e-5)


def test_config_builds_the_same_layout(small: QueryFlow) -> None:
    again = QueryFlow(**json.loads(json.dumps(small.config())))
    assert again.config() == small.config()
    again.load_state_dict(small.state_dict())
    images, queries = random_images(1), torch.randn(1, 5, 24)
    assert torch.equal(again(*images, queries).segment_flow, small(*images, queries).segment_flow)


def test_shapes_follow_from_the_meta_device(small: QueryFlow) -> None:
    images = [torch.empty(2, 3, 50, 70, device="meta")] * 2
    prediction = small.to("meta")(*images, torch.empty(2, 5, 24, device="meta"))
    assert prediction.segment_flow.shape == (2, 5, 2, 8, 12)


@pytest.mark.parametrize("shape", [(1, 4, 24), (1, 5, 16), (2, 5, 24)])
def test_queries_of_another_segmentor_are_refused(small: QueryFlow, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expects \(B, Q, C\) = \(1, 5, 24\)"):
        small(*random_images(1), torch.zeros(shape))


def test_a_known_motion_is_learned(small: QueryFlow, texture: Callable[[int, int], Tensor]) -> None:
    scene = torch.stack([texture(84, 104) for _ in range(4)])
    key, queries = scene[..., 10:74, 10:90], torch.randn(4, 5, 24)
    shifts = [(8, 0), (-8, 0), (0, 8), (0, -8)]
    nonkey = torch.stack([s[:, 10 + dy : 74 + dy, 10 + dx : 90 + dx] for s, (dx, dy) in zip(scene, shifts, strict=True)])
    target = torch.tensor(shifts).view(4, 1, 2, 1, 1) / 8
    optimizer = torch.optim.AdamW(small.parameters(), lr=2e-3)
    errors = []
    for _ in range(60):
        error = (small(key, nonkey, queries).segment_flow[..., :8, :10] - target).norm(dim=2).mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[0] == pytest.approx(1, abs=0.2), "the untrained flow should be near zero"
    assert errors[-1] < 0.3
