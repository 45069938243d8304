"""MRCFA: training and streaming agree, clips of a batch do not mix, sizes and parameters are the published ones."""

import pytest
import torch

from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from tests.models.clip_segmentors.tiny import random_frames, tiny_mrcfa


@pytest.mark.parametrize("refinement", ["shallow", "deep"])
def test_frames_encoded_once_equal_whole_clips(refinement: str) -> None:
    network, frames = tiny_mrcfa(refinement=refinement), random_frames(2, 4)
    with torch.no_grad():
        outputs = network.training_outputs(frames)
        encoded = [network.encode(frames[:, t]) for t in range(4)]
        predicted = network.predict(encoded[3], [network.as_reference(one) for one in encoded[:3]])
        alone = network.predict_alone(encoded[3])
    torch.testing.assert_close(predicted, outputs.clip_logits[:, 3], rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, outputs.frame_logits[:, 3], rtol=0, atol=1e-5)
    assert outputs.clip_logits.shape == outputs.frame_logits.shape == (2, 4, 5, 16, 24)
    assert not torch.allclose(predicted, alone, atol=1e-2)


def test_clips_of_a_batch_equal_clips_one_by_one() -> None:
    network, frames = tiny_mrcfa(), random_frames(2, 4)
    with torch.no_grad():
        together = network.training_outputs(frames)
        apart = [network.training_outputs(frames[n : n + 1]) for n in range(2)]
    for name in ("frame_logits", "clip_logits"):
        expected = torch.cat([getattr(one, name) for one in apart])
        torch.testing.assert_close(getattr(together, name), expected, rtol=0, atol=1e-5)


def test_the_order_of_references_has_no_effect_but_their_content_has() -> None:
    network, frames = tiny_mrcfa(), random_frames(4)
    with torch.no_grad():
        encoded = [network.encode(frames[t : t + 1]) for t in range(4)]
        first, second, third = (network.as_reference(one) for one in encoded[:3])
        logits = network.predict(encoded[3], [first, second, third])
        turned = network.predict(encoded[3], [third, first, second])
        other = network.predict(encoded[3], [first, first, first])
    torch.testing.assert_close(turned, logits, rtol=0, atol=1e-6)
    assert not torch.allclose(other, logits, atol=1e-4)


def test_every_parameter_trains() -> None:
    network = tiny_mrcfa().train()
    outputs = network(random_frames(2, 4))
    (outputs.frame_logits.square().mean() + outputs.clip_logits.square().mean()).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_parts_are_disjoint_and_complete() -> None:
    network = tiny_mrcfa()
    names = [id(parameter) for part in network.parts().values() for parameter in part.parameters()]
    assert sorted(names) == sorted(id(parameter) for parameter in network.parameters())


def test_config_rebuilds_the_network() -> None:
    network = tiny_mrcfa(refinement="deep", kept_share=0.8)
    other = MrcfaSegmentor.from_config(network.config()).eval()
    other.load_state_dict(network.state_dict())
    frames = random_frames(1, 4)
    with torch.no_grad():
        torch.testing.assert_close(other(frames).clip_logits, network(frames).clip_logits, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"widths": (32, 64, 160, 256), "kept_share": 0.8}, 5_186_388),
        ({"refinement": "deep"}, 16_226_055),
        ({"depths": (3, 4, 6, 3)}, 27_270_740),
        ({"depths": (3, 6, 40, 3)}, 84_517_460),
    ],
)
def test_parameters_at_inference_are_the_published_ones(settings: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        network = MrcfaSegmentor(124, **settings)  # type: ignore[arg-type]
    training_only = sum(parameter.numel() for parameter in network.head.clip_classifiers[:3].parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) - training_only == parameters


@pytest.mark.parametrize(
    ("index", "references"),
    [(0, ()), (2, ()), (3, (0, 1, 2)), (5, (0, 2, 4)), (6, (0, 2, 4)), (8, (0, 3, 6)), (9, (0, 3, 6)), (20, (11, 14, 17))],
)
def test_references_of_the_published_code(index: int, references: tuple[int, ...]) -> None:
    network = tiny_mrcfa()
    assert network.reference_frames(index) == references
    assert network.reference_frames(index, "alone") == (references if index >= 9 else ())


def test_sizes_of_the_published_test() -> None:
    network = tiny_mrcfa()
    sizes = {(480, 853): (480, 864), (480, 720): (480, 736), (480, 1137): (384, 864), (64, 96): (64, 96), (480, 640): (480, 640)}
    assert {size: network.network_size(size) for size in sizes} == sizes


@pytest.mark.parametrize(("height", "width", "message"), [(64, 90, "multiples of 32"), (32, 64, "at least 5")])
def test_unusable_frames_are_refused(height: int, width: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_mrcfa().encode(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"kept_share": 0.0}, "kept_share"), ({"refinement": "wide"}, "refinement"), ({"widths": (4, 8, 9, 16)}, "multiples")],
)
def test_impossible_networks_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_mrcfa(**changes)
