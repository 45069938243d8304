"""Fusion of carried predictions: weights, and their effect on the scores."""

import pytest
import torch
from torch import Tensor

from src.models.fusion import FusionRule, Source, fuse, photometric_error
from src.ops.masks import semantic_map, semantic_scores
from src.structures import MaskPrediction

SIZE = (24, 32)


def prediction(seed: int) -> MaskPrediction:
    generator = torch.Generator().manual_seed(seed)
    classes = 3 * torch.randn(1, 1, 5, 4, generator=generator)
    masks = 3 * torch.randn(1, 1, 5, 6, 8, generator=generator)
    return MaskPrediction(classes, masks, torch.randn(1, 5, 8, generator=generator), SIZE, SIZE)


def source(seed: int, distance: int, value: float | Tensor = 1.0) -> Source:
    return Source(prediction(seed), distance, torch.ones(1, *SIZE) * value)


@pytest.mark.parametrize("rule", ["nearest", "linear", "photometric", "learned"])
def test_one_source_is_unchanged(rule: FusionRule) -> None:
    only = source(0, 3, 0.5)
    assert fuse([only], rule) is only.prediction


def test_scores_are_the_weighted_mean_of_the_sources_scores() -> None:
    left = torch.zeros(1, *SIZE)
    left[..., :16] = 1
    sources = [source(0, 2, left), source(1, 3, 1 - left)]
    fused = fuse(sources, "photometric")
    assert fused.shares is not None
    assert torch.allclose(fused.shares.sum(1), torch.ones(1, *SIZE))
    scores = [semantic_scores(one.prediction) for one in sources]
    expected = sum(share[:, None] * score for share, score in zip(fused.shares.unbind(1), scores, strict=True))
    assert torch.allclose(semantic_scores(fused), expected, atol=1e-6)
    assert (fused.shares[0, 0, :, :16] > 0.9).all() and (fused.shares[0, 0, :, 16:] < 0.1).all()


def test_nearest_takes_the_closer_source_and_of_two_the_earlier() -> None:
    sources = [source(0, 3), source(1, 2)]
    assert fuse(sources, "nearest") is sources[1].prediction
    sources = [source(0, 2), source(1, 2)]
    assert fuse(sources, "nearest") is sources[0].prediction


def test_linear_weights_fall_with_the_distance_to_zero_at_the_other_key_frame() -> None:
    fused = fuse([source(0, 1), source(1, 4)], "linear")
    assert fused.shares is not None
    assert torch.allclose(fused.shares[0, :, 0, 0], torch.tensor([0.8, 0.2]))


def test_own_prediction_counts_more_than_what_is_carried_badly_and_less_than_what_fits() -> None:
    fused = fuse([source(0, 5, 0.0), source(1, 0), source(2, 5, 1.0)], "photometric")
    assert fused.shares is not None
    before, own, after = fused.shares[0, :, 0, 0].tolist()
    assert before < 0.05 and 0.4 < own < after < 0.6


def test_a_fused_map_of_equal_sources_is_that_of_one() -> None:
    fused = fuse([source(0, 2), source(0, 3)], "photometric")
    assert torch.equal(semantic_map(fused), semantic_map(prediction(0)))


def test_an_unknown_rule_and_no_source_are_errors() -> None:
    with pytest.raises(ValueError, match="fusion rule is 'mean'; expected one of nearest, linear"):
        fuse([source(0, 1)], "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="0 sources; expected at least 1"):
        fuse([], "linear")


def batch() -> MaskPrediction:
    return MaskPrediction(torch.randn(1, 2, 3, 5), torch.randn(1, 2, 3, 4, 6), torch.randn(2, 3, 7), (16, 24), (16, 24))


def test_distances_of_a_batch_are_those_of_its_samples() -> None:
    trust = torch.rand(2, 2, 16, 24)
    predictions = batch(), batch()
    distances = ((2, 3), (1, 4))
    together = fuse([Source(p, torch.tensor(d), t) for p, d, t in zip(predictions, distances, trust, strict=True)], "learned")
    assert together.shares is not None
    for row in range(2):
        alone = fuse([Source(p, d[row], t) for p, d, t in zip(predictions, distances, trust, strict=True)], "photometric")
        assert alone.shares is not None
        torch.testing.assert_close(together.shares[row], alone.shares[row])


def test_the_own_prediction_weighs_its_confidence() -> None:
    ones = torch.ones(2, 16, 24)
    first, second = (fuse([Source(batch(), 4, ones), Source(batch(), 0, own * ones)], "learned").shares for own in (1.0, 3.0))
    assert first is not None and second is not None
    odds = [(shares[:, 1] / shares[:, 0]).mean() for shares in (first, second)]
    torch.testing.assert_close(odds[1] / odds[0], torch.tensor(3.0))


def test_the_photometric_error_follows_the_flow() -> None:
    key = torch.randint(0, 256, (1, 3, 20, 30), dtype=torch.uint8)
    image = torch.roll(key, 3, -1)
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0] = -3
    assert photometric_error(image, key, flow)[..., 3:].max() == 0
    torch.testing.assert_close(photometric_error(key, 255 - key, 0 * flow), (key.float() * 2 - 255).abs().mean(1) / 10)
