"""Law: whether queries or pixels go through the last layer, masks are the same."""

import torch

from src.models.cpu.mask_features import MaskFeatures


def test_masks_are_the_same_with_the_layer_done_and_to_come() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 8, 12, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    embeddings = torch.randn(2, 3, 7, dtype=torch.float64)
    to_come = MaskFeatures(maps, weight, bias)
    done = MaskFeatures(torch.einsum("oc,bchw->bohw", weight, maps) + bias[:, None, None])
    torch.testing.assert_close(to_come.projected(), done.projected())
    for size in ((8, 12), (4, 6), (2, 3), (3, 5)):
        expected = torch.einsum("bqc,bchw->bqhw", embeddings, done.at(size).maps)
        torch.testing.assert_close(done.at(size).masks(embeddings), expected)
        torch.testing.assert_close(to_come.at(size).masks(embeddings), expected)


def test_a_layer_without_bias() -> None:
    maps, weight = torch.randn(1, 5, 2, 3), torch.randn(4, 5)
    features = MaskFeatures(maps, weight)
    embeddings = torch.randn(1, 2, 4)
    torch.testing.assert_close(features.masks(embeddings), (embeddings @ features.projected().flatten(2)).view(1, 2, 2, 3))
