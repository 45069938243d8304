import torch

from src.inference.evaluation.warped_agreement import WarpedAgreement
from tests.inference.tiny import frames


def test_maps_that_move_with_the_picture_agree_and_frozen_ones_do_not() -> None:
    """The picture drifts by two pixels a frame."""
    images = frames(5, (64, 96))
    stripes = (torch.arange(120) // 6 % 2).expand(64, -1)
    moves, stays = WarpedAgreement(), WarpedAgreement()
    for number, image in enumerate(images):
        start = 2 * (5 - number)
        moves.add(image, stripes[:, start : start + 96])
        stays.add(image, stripes[:, :96])
    assert moves.metric.compute() > 0.97 and stays.metric.compute() < 0.8
    # Two columns come in from outside and have no past: four pairs of at most 94 columns.
    assert 0.8 < moves.metric.visible.item() / (4 * 64 * 94) <= 1.05


def test_clips_are_independent() -> None:
    agreement = WarpedAgreement()
    for number, image in enumerate(frames(3, (64, 96))):
        agreement.add(image, torch.full((64, 96), number))
        agreement.end_clip()
    assert agreement.metric.visible == 0
