"""Laws of VidEoMT: frame by frame it equals transformers' forward pass of a clip, at any batch size."""

import pytest
import torch
from torch import Tensor

from src.models.segmentors.videomt import VideomtSegmentor
from tests.models.families import network, picture


@pytest.fixture
def segmentor() -> VideomtSegmentor:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return VideomtSegmentor(network("videomt")).eval()


def one_by_one(segmentor: VideomtSegmentor, clip: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Masks and classes of a clip (B, T, 3, H, W)."""
    memory, masks, classes = None, [], []
    for image in clip.unbind(1):
        prediction = segmentor(image, memory)
        memory = prediction.memory
        masks.append(prediction.mask_logits)
        classes.append(prediction.class_logits)
    return masks, classes


def test_frame_by_frame_equals_transformers_clip() -> None:
    theirs = network("videomt")
    segmentor = VideomtSegmentor(network("videomt")).eval()
    segmentor.network.load_state_dict(theirs.state_dict(), strict=False)
    clip = torch.stack([picture() for _ in range(4)], 1)
    with torch.no_grad():
        expected = theirs((clip / 255 - segmentor.image_mean) / segmentor.image_std)
        masks, classes = one_by_one(segmentor, clip)
        alone = segmentor(clip[:, 3])
    # transformers lays the frames out one after another.
    torch.testing.assert_close(torch.cat(masks), expected.masks_queries_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(torch.cat(classes), expected.class_queries_logits, rtol=1e-5, atol=1e-5)
    assert (alone.mask_logits - masks[3]).abs().max() > 1e-2, "the memory matters"


def test_clips_of_a_batch_are_independent_at_other_sizes(segmentor: VideomtSegmentor) -> None:
    clip = torch.stack([picture(50, 90, batch=3) for _ in range(3)], 1)
    with torch.no_grad():
        together, _ = one_by_one(segmentor, clip)
        alone, _ = one_by_one(segmentor, clip[1:2])
    torch.testing.assert_close(torch.stack(together)[:, 1:2], torch.stack(alone), rtol=1e-4, atol=1e-4)


def test_only_a_clip_trains_the_update_of_the_queries(segmentor: VideomtSegmentor) -> None:
    segmentor.set_trainable(["query_updater"])
    assert not any(parameter.requires_grad for parameter in segmentor.parameters())
    segmentor.trains_memory = True
    segmentor.set_trainable(["query_updater"])
    first, second = picture(), picture()
    segmentor.train()(second, segmentor(first).memory).mask_logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in segmentor.parts()["query_updater"].parameters())
