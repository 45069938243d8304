"""Laws of split images: label maps are those of transformers' image processor, and masks are carried as others are."""

import pytest
import torch
from transformers import EomtImageProcessor

from src.inference.scheduling.scheduler import FixedInterval
from src.inference.streaming import StreamingSegmentor
from src.measure.cost import frame_cost
from src.models.flow import CopyFlow, DISFlow
from src.models.propagator import Propagator
from src.models.segmentors.eomt import EomtSegmentor
from src.models.segmentors.registry import SEGMENTORS
from src.models.segmentors.windows import window_starts
from src.ops.masks import semantic_map, semantic_scores
from tests.models.families import network, picture

SIDE = 64


def split(family: str = "eomt") -> EomtSegmentor:
    with torch.random.fork_rng():
        torch.manual_seed(9)
        kind = SEGMENTORS[family]
        made = network(family)
        segmentor = kind(made, **kind.saved_options(made)).eval()
    assert isinstance(segmentor, EomtSegmentor)
    segmentor.split_images()
    return segmentor


@pytest.mark.parametrize("family", ["eomt", "eomt_dinov3"])
@pytest.mark.parametrize("size", [(64, 128), (64, 150), (189, 64), (64, 64)])
def test_key_frames_equal_transformers_processor(family: str, size: tuple[int, int]) -> None:
    segmentor = split(family)
    with torch.random.fork_rng():
        torch.manual_seed(9)
        theirs = network(family)
    edges = {"shortest_edge": SIDE, "longest_edge": None}
    processor = EomtImageProcessor(size=edges, do_split_image=True)
    images = picture(*size)
    with torch.no_grad():
        inputs = processor(list(images), return_tensors="pt")
        expected = processor.post_process_semantic_segmentation(
            theirs(**inputs), [size, size], edges, return_segmentation_scores=True
        )
        prediction = segmentor(images)
    scores = torch.stack([one.segmentation_scores for one in expected])
    torch.testing.assert_close(semantic_scores(prediction), scores, rtol=1e-4, atol=1e-5)
    maps = torch.stack([one.segmentation for one in expected])
    assert (semantic_map(prediction) == maps).float().mean() > 0.999 and len(maps.unique()) > 1
    assert len(prediction.windows) == -(-max(size) // SIDE)


@pytest.mark.parametrize("size", [(64, 128), (64, 150), (150, 64)])
def test_carried_masks_are_near_those_of_the_windows(size: tuple[int, int]) -> None:
    segmentor = split()
    image = picture(*size, batch=1)
    with torch.no_grad():
        key = segmentor(image)
        carried, _ = Propagator(segmentor, CopyFlow()).propagate(key, image, image)
        difference = (semantic_scores(key) - semantic_scores(carried)).abs()
    assert carried.windows == () and carried.mask_logits.shape[-2:] == tuple((-(-side // 32)) * 8 for side in size)
    # Noise as these masks differs by more if moved by half a window.
    moved = (semantic_scores(key) - semantic_scores(carried).roll(SIDE // 2, 3 if size[1] > SIDE else 2)).abs()
    assert difference.mean() < 0.2 * semantic_scores(key).std() and moved.mean() > 2 * difference.mean()


@pytest.mark.parametrize("settings", [{}, {"fuse_keys": True}, {"mode": "offline"}])
def test_streams_carry_and_fuse_split_key_frames(settings: dict) -> None:
    segmentor = split()
    stream = StreamingSegmentor(Propagator(segmentor, DISFlow()), FixedInterval(2), **settings)
    clip = [picture(64, 96, batch=1) for _ in range(4)]
    maps = list(stream.stream(clip))
    assert len(maps) == 4 and all(one.shape == (64, 96) for one in maps)
    if settings != {"fuse_keys": True}:
        with torch.no_grad():
            assert torch.equal(maps[2], semantic_map(segmentor(clip[2]))[0])


def test_windows_cover_the_image_and_cost_more() -> None:
    assert window_starts(64, 64) == [0] and window_starts(128, 64) == [0, 64] and window_starts(150, 64) == [0, 43, 86]
    segmentor = split()
    cost = frame_cost(Propagator(segmentor, CopyFlow()), (64, 128))
    segmentor.splits_images = False
    whole = frame_cost(Propagator(segmentor, CopyFlow()), (64, 128))
    # Attention is quadratic, but queries are read by every window.
    assert cost.key > whole.key and cost.propagate > whole.propagate


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a shorter side of 64 pixels"):
        split()(picture(96, 128))
    with pytest.raises(ValueError, match="expected an EoMT or EoMT-DINOv3"):
        split("videomt")
    with pytest.raises(ValueError, match="expected eager for split_images"):
        StreamingSegmentor(Propagator(split(), CopyFlow()), FixedInterval(2), runtime="openvino")
    odd = split()
    odd.size_divisor = 96
    with pytest.raises(ValueError, match="image_size of 64; expected a multiple of 96"):
        odd.split_images()
