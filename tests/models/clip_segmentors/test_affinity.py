"""Affinities: selection of tokens by hand, and refinement of each token by itself."""

import torch

from src.models.clip_segmentors.affinity import AffinityRefinement, select_affinities


def test_tokens_with_the_highest_scores_are_kept_in_their_order() -> None:
    target = torch.ones(1, 1, 2, 3)
    strengths = torch.tensor([[1.0, 5.0, 2.0, 4.0, 0.0, 3.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])[None, ..., None]
    fine = torch.arange(12.0).view(1, 2, 6, 1)
    found = select_affinities([target, torch.full((1, 1, 4, 6), 2.0)], [strengths, fine], 0.5)
    assert found.kept.tolist() == [[[1, 3, 5], [3, 4, 5]]]
    # Five of six target pixels count.
    assert torch.equal(found.scores, 5 * strengths[..., 0])
    assert torch.equal(found.scales[0][0, :, :, 0, 0], torch.tensor([[5.0, 4.0, 3.0], [3.0, 4.0, 5.0]]))
    assert torch.equal(found.scales[1][0, :, :, 0, 0], 2 * torch.tensor([[1.0, 3.0, 5.0], [9.0, 10.0, 11.0]]))


def test_refinement_does_not_mix_tokens() -> None:
    refinement = AffinityRefinement("deep")
    scales = [torch.randn(2, 3, 4, *size) for size in ((2, 3), (4, 6), (8, 12))]
    changed = [scale.clone() for scale in scales]
    for scale in changed:
        scale[0, 1, 2] += torch.randn_like(scale[0, 1, 2])
    before, after = refinement(scales), refinement(changed)
    differs = ((before - after).abs() > 1e-5).flatten(3).any(-1)
    assert differs.nonzero().tolist() == [[0, 1, 2]]
    assert (before >= 0).all()
