"""Streams of clip segmentors: equal to whole clips, in constant memory, at the published sizes."""

import pytest
import torch
import torch.nn.functional as F

from src.inference.clip_stream import ClipState, ClipStream, label_map
from tests.models.clip_segmentors.tiny import random_frames, tiny_mrcfa


@pytest.mark.parametrize("first_frames", ["official", "alone"])
def test_a_stream_equals_its_clips(first_frames: str) -> None:
    network, frames = tiny_mrcfa(), random_frames(12)
    stream = ClipStream(network, first_frames=first_frames)  # type: ignore[arg-type]
    labels = list(stream.stream(frames))
    for index, label in enumerate(labels):
        references = network.reference_frames(index, first_frames)  # type: ignore[arg-type]
        with torch.no_grad():
            if references:
                clip = torch.stack([*(frames[number] for number in references), frames[index]])[None]
                logits = network.training_outputs(clip).clip_logits[:, -1]
            else:
                logits = network.predict_alone(network.encode(frames[index : index + 1]))
        assert torch.equal(label_map(logits, (64, 96), (64, 96))[0], label)
    assert len({int(label.sum()) for label in labels}) > 1


def test_memory_is_constant() -> None:
    stream = ClipStream(tiny_mrcfa())
    state: ClipState | None = None
    sizes = []
    for frame in random_frames(25):
        _, state = stream.step(frame, state)
        sizes.append(sum(tensor.untyped_storage().nbytes() for one in state.references.values() for tensor in one))
    assert len(set(sizes[8:])) == 1
    assert state is not None
    assert sorted(state.references) == list(range(16, 25))


def test_label_map_resizes_twice() -> None:
    logits = torch.randn(2, 40, 4, 6)
    large = F.interpolate(logits, size=(16, 24), mode="bilinear", align_corners=False)
    expected = F.interpolate(large, size=(13, 30), mode="bilinear", align_corners=False).argmax(1)
    assert torch.equal(label_map(logits, (16, 24), (13, 30)), expected)


def test_sizes() -> None:
    network = tiny_mrcfa()
    assert ClipStream(network).sizes((64, 96)) == ((64, 96), (64, 96))
    assert ClipStream(network).sizes((360, 480)) == ((360, 480), (384, 480))
    assert ClipStream(network, 480, 853, keep_multiples=True).sizes((480, 1137)) == ((360, 853), (384, 864))
    assert ClipStream(network, short_side=60).sizes((64, 96)) == ((60, 90), (64, 96))
    assert ClipStream(network, short_side=120, keep_multiples=True).sizes((64, 96)) == ((64, 96), (64, 96))
    assert ClipStream(network, short_side=120, keep_multiples=True).sizes((60, 90)) == ((120, 180), (128, 192))


def test_labels_have_the_size_of_the_frame() -> None:
    stream = ClipStream(tiny_mrcfa(), short_side=64)
    labels, state = stream.step(torch.zeros(3, 50, 70, dtype=torch.uint8), None)
    assert labels.shape == (1, 50, 70)
    assert state.size == (64, 96)


def test_faults_are_refused() -> None:
    network = tiny_mrcfa()
    with pytest.raises(ValueError, match="first_frames"):
        ClipStream(network, first_frames="none")  # type: ignore[arg-type]
    stream = ClipStream(network)
    _, state = stream.step(torch.zeros(3, 64, 96), None)
    with pytest.raises(ValueError, match="start a new stream"):
        stream.step(torch.zeros(3, 96, 64), state)
    with torch.no_grad():
        network.head.frame_classifier[1].weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"frame 0: .*NaN"):
        stream.step(torch.zeros(3, 64, 96), None)
