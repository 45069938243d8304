"""Laws of pair geometry: frames of a pair change alike."""

import torch

from src.data.pairs.geometry import resize_pair
from src.data.samples import PairSample


def test_a_frame_paired_with_itself_is_processed_once() -> None:
    image = torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8)
    label = torch.randint(0, 3, (60, 80), dtype=torch.int16)
    still = PairSample(image, image, label, torch.zeros(2, 60, 80), "still", after_image=image)
    sample = resize_pair(still, (30, 40), mirrored=True)
    assert sample.key_image is sample.nonkey_image and sample.after_image is sample.nonkey_image


def test_mirroring_twice_is_the_identity() -> None:
    image, label = torch.randint(0, 256, (3, 6, 8), dtype=torch.uint8), torch.randint(0, 3, (6, 8), dtype=torch.int16)
    sample = PairSample(image, image.flip(0), label, torch.randn(2, 6, 8), "pair")
    once = resize_pair(sample, (6, 8), mirrored=True)
    assert once.flow is not None and sample.flow is not None
    assert torch.equal(once.flow[0], -sample.flow[0].flip(-1)) and torch.equal(once.flow[1], sample.flow[1].flip(-1))
    for found, expected in zip(resize_pair(once, (6, 8), mirrored=True)[:4], sample[:4], strict=True):
        assert torch.equal(torch.as_tensor(found), torch.as_tensor(expected))
