"""Laws of streams of a recurrent segmentor: each frame starts from the one before, in memory that does not grow."""

import pytest
import torch
from torch import Tensor

from src.inference.batched_streaming import step_streams
from src.inference.evaluation.clips import EvaluationOptions, evaluate_clips
from src.inference.evaluation.comparison import evaluate_methods, jobs
from src.inference.flow_choice import selectable_flows
from src.inference.methods import available_methods, with_method
from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.cost import frame_cost
from src.models.flow import CopyFlow
from src.models.propagator import Propagator
from src.models.segmentors.videomt import VideomtSegmentor
from src.ops.masks import semantic_map
from src.structures import KeyFrameState
from tests.inference.schedules import cut_clip
from tests.inference.tiny import FakeClips, frames, tiny_propagator
from tests.models.families import network


@pytest.fixture
def propagator() -> Propagator:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        carried = Propagator(VideomtSegmentor(network("videomt")), CopyFlow())
    return with_method(carried, "videomt")


def online(propagator: Propagator, **settings: bool) -> StreamingSegmentor:
    return StreamingSegmentor(propagator, FixedInterval(1), **settings)


def expected(propagator: Propagator, clip: list[Tensor], restarts: tuple[int, ...] = (0,)) -> list[Tensor]:
    maps, memory = [], None
    with torch.inference_mode():
        for number, image in enumerate(clip):
            prediction = propagator.segmentor(image[None], None if number in restarts else memory)
            memory = prediction.memory
            maps.append(semantic_map(prediction)[0])
    return maps


def test_a_stream_is_the_segmentor_frame_by_frame(propagator: Propagator) -> None:
    clip = frames(4)
    found = list(online(propagator).stream([image[None] for image in clip]))
    alone = list(online(with_method(propagator, "per_frame")).stream([image[None] for image in clip]))
    assert all(torch.equal(a, b) for a, b in zip(found, expected(propagator, clip), strict=True))
    assert torch.equal(found[0], alone[0]) and not torch.equal(found[3], alone[3])


def test_the_state_of_a_long_stream_has_one_size(propagator: Propagator) -> None:
    def numbers(state: KeyFrameState) -> int:
        prediction = state.prediction
        kept = (state.image, prediction.mask_logits_per_layer, prediction.class_logits_per_layer, prediction.queries)
        assert prediction.memory is not None and not prediction.memory.requires_grad
        assert prediction.memory.untyped_storage().nbytes() == 4 * prediction.memory.numel(), "no view keeps earlier frames"
        return sum(one.numel() for one in (*kept, prediction.memory))

    stream, state, sizes = online(propagator), None, set()
    images = frames(2, (40, 40))
    for number in range(200):
        _, state = stream.step(images[number % 2][None], state)
        sizes.add(numbers(state))
    assert len(sizes) == 1 and state is not None and state.index == 199 and torch.isfinite(state.prediction.memory).all()


def test_scene_cuts_start_anew_if_requested(propagator: Propagator) -> None:
    clip = cut_clip((4, 3))
    images = [image[None] for image in clip]
    kept, reset = (list(online(propagator, reset_at_cuts=cuts).stream(images)) for cuts in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(kept, expected(propagator, clip), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(reset, expected(propagator, clip, restarts=(0, 4)), strict=True))
    assert not torch.equal(torch.stack(kept), torch.stack(reset))


def test_streams_of_a_batch_keep_their_own_memory(propagator: Propagator) -> None:
    stream = online(propagator)
    clips = [frames(4, seed=seed) for seed in (0, 1)]
    found: list[list[Tensor]] = [[], []]
    states: list[KeyFrameState | None] = [None, None]
    for number in range(4):
        # The second stream begins later.
        running = [0] if number == 0 else [0, 1]
        images = [clips[n][number - n][None] for n in running]
        for n, result in zip(running, step_streams(stream, images, [states[n] for n in running]), strict=True):
            states[n] = result.state
            found[n].append(result.semantic_map((40, 56))[0])
    for n in (0, 1):
        wanted = torch.stack(expected(propagator, clips[n][: 4 - n]))
        assert (torch.stack(found[n]) == wanted).float().mean() > 0.999


def test_what_does_not_apply_is_refused(propagator: Propagator) -> None:
    with pytest.raises(ValueError, match="expected online and false"):
        StreamingSegmentor(propagator, FixedInterval(1), mode="offline")
    with pytest.raises(ValueError, match="expected eager for frames that depend"):
        StreamingSegmentor(propagator, FixedInterval(1), runtime="openvino")
    with pytest.raises(ValueError, match="needs a VidEoMT checkpoint; this one has a Mask2FormerSegmentor"):
        with_method(tiny_propagator("copy"), "videomt")
    with pytest.raises(ValueError, match="has no memory; expected a VideomtSegmentor"):
        Propagator(tiny_propagator("copy").segmentor, CopyFlow(), recurrent=True)
    with pytest.raises(ValueError, match="expected protocol=stream"):
        evaluate_clips(propagator, FakeClips((2,)), 1, EvaluationOptions(protocol="pairs"))
    with pytest.raises(ValueError, match="segments every frame"):
        selectable_flows(propagator, {}, "videomt")
    assert "videomt" in available_methods(propagator) and "videomt" not in available_methods(tiny_propagator("copy"))
    assert "videomt" not in selectable_flows(propagator, {})


def test_an_evaluation_runs_it_once_beside_per_frame(propagator: Propagator) -> None:
    assert [job[:3] for job in jobs(["per_frame", "videomt", "copy"], [2], ["fixed", "adaptive"])] == [
        ("per_frame", "fixed", 1),
        ("videomt", "fixed", 1),
        ("copy", "fixed", 2),
        ("copy", "adaptive", 2),
    ]
    clips = FakeClips((4,))
    clips.classes = (*clips.classes, "other")
    maps: list[Tensor] = []
    methods = {"videomt": propagator, "per_frame": with_method(propagator, "per_frame")}
    results = list(evaluate_methods(methods, clips, [1], on_semantic_map=lambda _clip, _frame, found: maps.append(found),
                                    options=EvaluationOptions()))  # fmt: skip
    assert all(torch.equal(a, b) for a, b in zip(maps, expected(propagator, clips.images[0]), strict=True))
    assert [one.method for one in results] == ["videomt", "per_frame"] and results[0].result is not results[1].result
    cost = {name: frame_cost(method, (64, 64)).key for name, method in methods.items()}
    assert 0 < cost["videomt"] - cost["per_frame"] < 0.01 * cost["per_frame"]
