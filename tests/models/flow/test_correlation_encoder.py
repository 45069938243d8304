"""Laws of the image encoder: features move with the image, and comparable features are cosines."""

import torch

from src.models.flow.correlation_encoder import ImageEncoder, comparable

MEAN = (0.4, 0.4, 0.4)


@torch.no_grad()
def test_features_move_with_the_image_at_every_level() -> None:
    encoder = ImageEncoder((4, 6, 8, 8, 8), (0, 1, 0, 0, 0), MEAN, 32)
    scene = 255 * torch.rand(1, 3, 192, 288)
    for near, far, stride in zip(encoder(scene[..., :256]), encoder(scene[..., 32:]), (32, 16, 8, 4, 2), strict=True):
        shift = 32 // stride
        # The receptive field of the coarsest level is 77 pixels: two of its cells along the border see the padding.
        border = 64 // stride
        expected = near[..., border:-border, border + shift :]
        found = far[..., border:-border, border:]
        width = min(expected.shape[-1], found.shape[-1]) - border
        torch.testing.assert_close(found[..., :width], expected[..., :width])
        assert expected[..., :width].numel() > 0 and near.std() > 0


@torch.no_grad()
def test_an_image_that_ends_early_is_continued_by_its_border() -> None:
    encoder = ImageEncoder((4, 4, 4, 4, 4), (0, 0, 0, 0, 0), MEAN, 32)
    image = 255 * torch.rand(1, 3, 64, 40)
    repeated = torch.cat((image, image[..., -1:].expand(-1, -1, -1, 24)), -1)
    for short, full in zip(encoder(image), encoder(repeated), strict=True):
        assert torch.equal(short, full)


def test_comparable_features_are_cosines_that_no_common_part_or_scale_changes() -> None:
    features = torch.randn(2, 5, 6, 7)
    found = comparable(features)
    torch.testing.assert_close(found.square().sum(1), torch.ones(2, 6, 7))
    changed = comparable(3 * features + torch.randn(2, 5, 1, 1))
    torch.testing.assert_close(changed, found, atol=1e-5, rtol=1e-5)
