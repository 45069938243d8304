"""Law: masks are equal whether the last layer is applied to queries or to pixels."""

import torch

from src.models.cpu.mask_features import MaskFeatures


def test_masks_are_equal_with_the_layer_applied_and_pending() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 8, 12, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    embeddings = torch.randn(2, 3, 7, dtype=torch.float64)
    pending = MaskFeatures(maps, weight, bias)
    applied = MaskFeatures(torch.einsum("oc,bchw->bohw", weight, maps) + bias[:, None, None])
    torch.testing.assert_close(pending.projected(), applied.projected())
    for size in ((8, 12), (4, 6), (2, 3), (3, 5)):
        expected = torch.einsum("bqc,bchw->bqhw", embeddings, applied.at(size).maps)
        torch.testing.assert_close(applied.at(size).masks(embeddings), expected)
        torch.testing.assert_close(pending.at(size).masks(embeddings), expected)


def test_a_layer_without_bias() -> None:
    maps, weight = torch.randn(1, 5, 2, 3), torch.randn(4, 5)
    features = MaskFeatures(maps, weight)
    embeddings = torch.randn(1, 2, 4)
    torch.testing.assert_close(features.masks(embeddings), (embeddings @ features.projected().flatten(2)).view(1, 2, 2, 3))
