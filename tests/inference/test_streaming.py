"""Laws of streaming: interval 1 is the segmentor, other frames are the pair's forward pass, and streams share no state."""

import ctypes
import gc
import os
import tracemalloc
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from src.inference import stream_checks
from src.inference.batched_streaming import step_streams
from src.inference.frame_input import FrameInput
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import Compile, StreamingSegmentor
from src.models.flow import CopyFlow, CorrelationFlow
from src.models.propagator import Propagator
from src.models.segmentors.mask2former import Mask2FormerSegmentor
from src.ops.masks import semantic_map, semantic_map_at_mask_size
from src.structures import KeyFrameState, MaskPrediction
from tests.inference.tiny import frames, tiny_propagator, tiny_segmentor


@pytest.mark.parametrize("flow", ["copy", "correlation", "dis", "pixel", "query"])
def test_key_interval_one_is_the_segmentor(flow: str) -> None:
    propagator = tiny_propagator(flow)
    clip = frames(4)
    with torch.inference_mode():
        segmented = [semantic_map(propagator.segmentor(frame[None]))[0] for frame in clip]
    assert len(torch.stack(segmented).unique()) > 1
    streamed = list(StreamingSegmentor(propagator, FixedInterval(1)).stream(clip))
    assert all(torch.equal(a, b) for a, b in zip(segmented, streamed, strict=True))


@pytest.mark.parametrize("flow", ["copy", "correlation", "dis", "pixel", "query"])
def test_every_nonkey_frame_equals_the_pair_forward_from_its_key_frame(flow: str) -> None:
    propagator = tiny_propagator(flow)
    stream = StreamingSegmentor(propagator, FixedInterval(3))
    clip = [torch.stack(pair) for pair in zip(frames(7), frames(7, seed=1), strict=True)]
    state: KeyFrameState | None = None
    for index, image in enumerate(clip):
        result = stream.predict(image, state)
        maps, state = stream.step(image, state)
        key = index - index % 3
        assert (state.index, state.age, result.is_key) == (index, index - key, index == key)
        with torch.inference_mode():
            expected, _ = propagator(clip[key], image) if index != key else (propagator.segmentor(image), None)
        assert torch.equal(result.prediction.mask_logits, expected.mask_logits)
        assert torch.equal(result.prediction.class_logits, expected.class_logits)
        assert torch.equal(maps, semantic_map(expected))


def test_propagation_moves_masks_and_keeps_classes() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(5))
    clip = frames(3)
    key, state = stream.segment_key(clip[0][None])
    result = stream.propagate(clip[2][None], state)
    moved, state = result.prediction, result.state
    assert not torch.equal(moved.mask_logits, key.mask_logits)
    assert torch.equal(moved.class_logits, key.class_logits)
    assert torch.equal(state.prediction.mask_logits, key.mask_logits)
    assert key.mask_logits_per_layer.shape[0] == 1


def test_interleaved_streams_do_not_touch_each_other() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(3, phase=1))
    clips = [frames(6), frames(6, seed=7)]
    apart = [list(stream.stream(clip)) for clip in clips]
    generators = [stream.stream(clip) for clip in clips]
    together = [[next(generator) for generator in generators] for _ in range(6)]
    assert not torch.equal(apart[0][0], apart[1][0])
    for frame, maps in enumerate(together):
        assert all(torch.equal(maps[i], apart[i][frame]) for i in range(2))
    again = list(stream.stream(clips[0]))
    assert all(torch.equal(a, b) for a, b in zip(again, apart[0], strict=True))


def test_two_schedules_of_one_segmentor_do_not_influence_each_other() -> None:
    stream, clip = StreamingSegmentor(tiny_propagator(), FixedInterval(2)), frames(5)
    separate = [list(StreamingSegmentor(stream.propagator, FixedInterval(k)).stream(clip)) for k in (2, 3)]
    runs = [stream.stream(clip), stream.with_scheduler(FixedInterval(3)).stream(clip)]
    interleaved = [[next(run) for run in runs] for _ in clip]
    for number, expected in enumerate(separate):
        assert all(torch.equal(maps[number], one) for maps, one in zip(interleaved, expected, strict=True))
    with pytest.raises(AttributeError):
        stream.scheduler = FixedInterval(3)  # type: ignore[misc]


def test_features_of_the_key_frame_belong_to_the_stream_and_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    propagator = tiny_propagator("correlation")
    stream, clips = StreamingSegmentor(propagator, FixedInterval(4)), [frames(3), frames(3, seed=7)]
    encoded: list[Tensor] = []
    assert isinstance(propagator.flow, CorrelationFlow)
    encode = propagator.flow.encoder.forward
    monkeypatch.setattr(propagator.flow.encoder, "forward", lambda image: encoded.append(image) or encode(image))  # type: ignore[func-returns-value]
    states: list[KeyFrameState | None] = [None, None]
    for frame in range(3):
        for number, clip in enumerate(clips):
            result = stream.predict(clip[frame][None], states[number])
            states[number] = result.state
    assert len(encoded) == 6  # each frame once, key or not
    kept = [state.flow_features for state in states if state is not None]
    assert all(a is not None for a in kept) and not torch.equal(kept[0][0], kept[1][0])  # type: ignore[index]


def test_a_batch_of_streams_agrees_with_single_ones() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(3))
    clips = [frames(4), frames(4, seed=7)]
    single = [torch.stack(list(stream.stream(clip))) for clip in clips]
    state = None
    batched = []
    for pair in zip(*clips, strict=True):
        maps, state = stream.step(torch.stack(pair), state)
        batched.append(maps)
    # Convolutions round differently by batch size: pixels on the border between classes may flip.
    assert (torch.stack(batched, 1) == torch.stack(single)).double().mean() > 0.999


def test_maps_have_the_size_of_the_frame_and_network_inputs_the_configured_one() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2), short_side=64, max_long_side=80)
    state = None
    for frame in frames(3, (50, 90)):
        maps, state = stream.step(frame[None], state)
        assert maps.shape == (1, 50, 90) and maps.dtype == torch.int64
        assert state.image.shape == (1, 3, 44, 80) and state.image.dtype == torch.uint8
        assert stream.resize(state.image) is state.image


def test_resizing_is_that_of_pillow() -> None:
    image = torch.randint(0, 256, (1, 3, 97, 131), dtype=torch.uint8)
    resized = StreamingSegmentor(tiny_propagator("copy"), FixedInterval(), short_side=48).resize(image)
    pillow = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize((65, 48), Image.Resampling.BILINEAR)
    difference = resized[0].permute(1, 2, 0).int().numpy() - np.asarray(pillow, dtype=np.int32)
    assert np.abs(difference).max() <= 1


def test_a_size_change_within_a_stream_is_refused_unless_at_a_key_frame() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval(2))
    _, state = stream.step(torch.zeros(1, 3, 40, 56), None)
    with pytest.raises(ValueError, match=r"frame 1 .*40, 48.*40, 56"):
        stream.step(torch.zeros(1, 3, 40, 48), state)
    with pytest.raises(ValueError, match="one size"):
        stream.step(torch.zeros(2, 3, 40, 56), state)
    _, state = stream.step(torch.zeros(1, 3, 40, 56), state)
    maps, _ = stream.step(torch.zeros(1, 3, 32, 64), state)
    assert maps.shape == (1, 32, 64)


def test_bad_calls_are_refused() -> None:
    propagator = tiny_propagator("copy").train()
    stream = StreamingSegmentor(propagator, FixedInterval())
    assert not propagator.training
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\)"):
        stream.step(torch.zeros(4, 8, 8), None)
    with pytest.raises(ValueError, match="short_side is 0"):
        StreamingSegmentor(propagator, FixedInterval(), short_side=0)
    propagator.train()
    with pytest.raises(RuntimeError, match="train mode"):
        stream.step(torch.zeros(1, 3, 32, 32), None)


def test_autocast_changes_only_the_precision_of_the_networks() -> None:
    propagator, clip = tiny_propagator(), frames(2, (64, 64))
    exact, half = (StreamingSegmentor(propagator, FixedInterval(), autocast=dtype) for dtype in (None, torch.bfloat16))
    results = []
    for stream in (exact, half):
        first = stream.predict(clip[0][None], None)
        results.append(stream.predict(clip[1][None], first.state).prediction)
    assert results[1].mask_logits.dtype == torch.float32
    assert not torch.equal(results[0].mask_logits, results[1].mask_logits)
    assert torch.nn.functional.cosine_similarity(results[0].mask_logits.flatten(), results[1].mask_logits.flatten(), 0) > 0.99


@pytest.mark.slow
def test_map_size_mask_sums_classes_on_the_mask_grid() -> None:
    propagator, (first, second) = tiny_propagator(), frames(2)
    exact, coarse = (
        StreamingSegmentor(propagator, FixedInterval(5)),
        StreamingSegmentor(propagator, FixedInterval(5), map_size="mask"),
    )
    state = None
    for frame in (first, second):
        with torch.inference_mode():
            expected = semantic_map_at_mask_size(exact.predict(frame[None], state).prediction)
        (together,) = step_streams(coarse, [frame], [state])
        assert torch.equal(together.semantic_map((40, 56)), expected)
        found, state = coarse.step(frame[None], state)
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="map_size is 'grid'; expected image or mask"):
        StreamingSegmentor(propagator, FixedInterval(5), map_size="grid")  # type: ignore[arg-type]


@pytest.mark.parametrize("what", [True, "backbone"])
def test_compiled_networks_give_the_same_maps(what: Compile, monkeypatch: pytest.MonkeyPatch) -> None:
    # The eager backend runs the captured graph; generating machine code takes minutes.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    clip = frames(3, (40, 72))
    plain, found = (
        torch.stack(list(StreamingSegmentor(tiny_propagator("query"), FixedInterval(2), compile=compile).stream(clip)))
        for compile in (False, what)
    )
    assert (found == plain).double().mean() > 0.999


def test_a_compiled_backbone_keeps_its_names_and_others_are_refused() -> None:
    propagator = tiny_propagator()
    names = list(propagator.state_dict())
    StreamingSegmentor(propagator, FixedInterval(2), compile="backbone")
    assert list(propagator.state_dict()) == names
    whole = tiny_propagator()
    whole.segmentor.parts = lambda: {"backbone": torch.nn.ModuleList()}  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="the backbone of a Mask2FormerSegmentor is no separate network"):
        StreamingSegmentor(whole, FixedInterval(2), compile="backbone")
    with pytest.raises(ValueError, match="compile is 'all'; expected true, false or backbone"):
        StreamingSegmentor(propagator, FixedInterval(2), compile="all")  # type: ignore[arg-type]


@pytest.mark.parametrize(("flow", "compiled"), [("copy", 1), ("dis", 1), ("pixel", 2), ("query", 2)])
def test_only_networks_are_compiled(flow: str, compiled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda function: seen.append(function) or function)  # type: ignore[func-returns-value]
    propagator = tiny_propagator(flow)
    StreamingSegmentor(propagator, FixedInterval(2))
    assert not seen
    StreamingSegmentor(propagator, FixedInterval(2), compile=True)
    assert len(seen) == compiled and seen[0] is propagator.segmentor


def test_no_gradient_is_recorded() -> None:
    stream = StreamingSegmentor(tiny_propagator(), FixedInterval())
    result = stream.predict(frames(1)[0][None], None)
    assert not result.prediction.mask_logits.requires_grad and result.prediction.mask_logits.is_inference()


def test_memory_is_constant_over_2000_frames() -> None:
    # A segmentor of one convolution: 2,000 frames take seconds, through the same streaming code.
    segmentor = cast(Mask2FormerSegmentor, OneConvolution())
    stream = StreamingSegmentor(Propagator(segmentor, CopyFlow()), FixedInterval(5))
    pictures = frames(7, (32, 32))
    # 2,000 maps would take 16 MB, 2,000 images 6 MB.
    maps = stream.stream(pictures[i % 7] for i in range(2000))
    for _ in range(200):
        next(maps)
    gc.collect()
    tracemalloc.start()
    before, resident = tracemalloc.get_traced_memory()[0], _resident_mb()
    assert sum(1 for _ in maps) == 1800
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200_000
    assert _resident_mb() - resident < 8


class OneConvolution(nn.Module):
    size_divisor, num_classes, num_queries, query_dim = 32, 4, 6, 4
    splits_images = False

    def __init__(self) -> None:
        super().__init__()
        self.masks = nn.Conv2d(3, 6, 4, stride=4)

    def parts(self) -> dict[str, nn.Module]:
        return {}

    def forward(self, image: Tensor) -> MaskPrediction:
        size = (image.shape[-2], image.shape[-1])
        masks = self.masks(image.float() / 255)[None]
        return MaskPrediction(torch.randn(1, len(image), 6, 5), masks, torch.zeros(len(image), 6, 4), size, size)


def _resident_mb() -> float:
    if Path("/proc/self/statm").exists():
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


@pytest.mark.parametrize("autocast", [None, torch.float16])
def test_predictions_that_are_not_finite_are_an_error_that_names_the_frame(autocast: torch.dtype | None) -> None:
    clip = frames(4)
    networks = {name: tiny_propagator("correlation") for name in ("class logits", "mask logits", "flow")}
    damaged = {name: StreamingSegmentor(network, FixedInterval(3), autocast=autocast) for name, network in networks.items()}
    parts = {
        "class logits": networks["class logits"].segmentor.parts()["class_head"],
        "mask logits": networks["mask logits"].segmentor.parts()["mask_head"],
        "flow": networks["flow"].flow.decoder,
    }
    for name, stream in damaged.items():
        _, state = stream.step(clip[0][None], None)
        for parameter in parts[name].parameters():
            parameter.data.fill_(1e30 if autocast else torch.nan)
        frame = 1 if name == "flow" else 0
        before = state if name == "flow" else None
        with pytest.raises(ValueError, match=rf"^frame {frame}: .* of its .* are NaN or infinite; expected"):
            stream.step(clip[frame][None], before)
        with pytest.raises(ValueError, match=rf"^frame {frame}: .* are NaN or infinite"):
            step_streams(stream, [clip[frame]], [before])
        with pytest.raises(ValueError, match=rf"^frame {frame}: "):
            list(stream.stream(clip))


def test_large_finite_predictions_pass_and_the_damaged_stream_of_a_batch_is_named() -> None:
    stream_checks.check_finite({"masks": torch.full((1, 2, 64, 64), 3e37), "none": None}, [0])
    masks = torch.zeros(3, 2, 4, 4)
    masks[2, 1, 0, 0] = -torch.inf
    with pytest.raises(ValueError, match=r"^frame 9: 3.1% of its masks are NaN or infinite"):
        stream_checks.check_finite({"masks": masks}, [4, 5, 9])


def test_arrays_and_pictures_give_the_map_of_the_tensor() -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval())
    image = frames(1)[0]
    pixels = image.permute(1, 2, 0).contiguous().numpy()
    expected = stream.step(image[None], None)[0]
    backward = np.ascontiguousarray(pixels[..., ::-1])[..., ::-1]
    read_only = pixels.copy()
    read_only.flags.writeable = False
    for same in (image, pixels, pixels[None], Image.fromarray(pixels), backward, read_only, image.float(), image.double()):
        assert torch.equal(stream.step(same, None)[0], expected)
        assert torch.equal(next(stream.stream([same]))[None], expected)
        (together,) = step_streams(stream, [same], [None])
        assert torch.equal(together.semantic_map((40, 56)), expected)
    grey = Image.fromarray(pixels).convert("L")
    assert torch.equal(stream.step(grey, None)[0], stream.step(grey.convert("RGB"), None)[0])
    assert stream.step(torch.zeros(1, 3, 40, 56), None)[0].shape == (1, 40, 56)


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (torch.rand(1, 3, 40, 56), "as if scaled to 0..1; expected RGB in 0..255; multiply"),
        (torch.rand(3, 40, 56).half(), "as if scaled to 0..1"),
        (torch.randn(1, 3, 40, 56), r"has values -\d.*; expected RGB in 0..255"),
        (torch.full((1, 3, 40, 56), 256.0), "has values 256..256"),
        (torch.full((1, 3, 40, 56), torch.nan), "has values nan..nan"),
        (torch.full((1, 3, 40, 56), torch.inf), "has values inf..inf"),
        (torch.zeros(1, 3, 40, 56, dtype=torch.int64), "image is int64; expected uint8"),
        (torch.zeros(1, 3, 40, 56, dtype=torch.bool), "image is bool; expected uint8"),
        (torch.zeros(1, 1, 40, 56, dtype=torch.uint8), r"expected \(B, 3, H, W\)"),
        (torch.zeros(1, 4, 40, 56, dtype=torch.uint8), r"expected \(B, 3, H, W\)"),
        (torch.zeros(40, 56, dtype=torch.uint8), r"expected \(B, 3, H, W\)"),
        (torch.zeros(40, 56, 3, dtype=torch.uint8), r"use image.movedim\(-1, -3\)"),
        (torch.zeros(0, 3, 40, 56, dtype=torch.uint8), "at least one pixel"),
        (torch.zeros(1, 3, 0, 56, dtype=torch.uint8), "at least one pixel"),
        (np.zeros((40, 56, 3), np.float32), "image array is float32; expected uint8"),
        (np.zeros((40, 56, 3), np.uint16), "image array is uint16; expected uint8"),
        (np.zeros((3, 40, 56), np.uint8), "use np.moveaxis"),
        (np.zeros((40, 56), np.uint8), r"expected \(H, W, 3\)"),
        (np.zeros((40, 56, 4), np.uint8), r"expected \(H, W, 3\)"),
        (np.zeros((0, 56, 3), np.uint8), "at least one pixel"),
        (Image.new("RGBA", (56, 40)), r"mode RGBA; expected RGB or L; use image.convert"),
        (Image.new("I;16", (56, 40)), "mode I;16; expected RGB or L"),
        ("frame.png", "image is a str; expected a tensor"),
        (None, "image is a NoneType"),
    ],
)  # fmt: skip
def test_images_of_another_scale_type_or_layout_are_refused(image: FrameInput, found: str) -> None:
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval())
    _, state = stream.step(frames(1)[0], None)
    for before in (None, state):
        for call in (stream.step, stream.predict, lambda x, s: step_streams(stream, [x], [s])):
            with pytest.raises((ValueError, TypeError), match=found):
                call(image, before)


def test_a_picture_that_viewers_turn_is_refused() -> None:
    picture = Image.new("RGB", (56, 40))
    picture.getexif()[0x0112] = 6
    with pytest.raises(ValueError, match="exif_transpose"):
        StreamingSegmentor(tiny_propagator("copy"), FixedInterval()).step(picture, None)


def test_states_of_other_networks_and_devices_are_refused() -> None:
    clip = frames(2)
    stream = StreamingSegmentor(tiny_propagator("copy"), FixedInterval())
    other = StreamingSegmentor(Propagator(tiny_segmentor(7), CopyFlow()), FixedInterval())
    _, state = other.step(clip[0], None)
    with pytest.raises(ValueError, match="a state belongs to the network that returned it"):
        stream.step(clip[1], state)
    with pytest.raises(ValueError, match="a state belongs to the network that returned it"):
        step_streams(stream, [clip[1]], [state])
    _, own = stream.step(clip[0], None)
    with pytest.raises(ValueError, match=r"on meta; expected .* on cpu"):
        stream.step(clip[1], replace(own, image=own.image.to("meta")))
    with pytest.raises(ValueError, match="one image"):
        list(stream.stream([torch.stack(clip)]))
    with pytest.raises(ValueError, match="one image for each stream"):
        step_streams(stream, [torch.stack(clip)], [None])
