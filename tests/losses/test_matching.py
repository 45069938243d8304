"""Laws of the Hungarian matching."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from src.losses.matching import match, matching_cost

WEIGHTS = (2.0, 5.0, 3.0)


def test_cost_equals_its_definition_pair_by_pair() -> None:
    class_logits, logits, classes = torch.randn(2, 4, 6), 3 * torch.randn(2, 4, 30), torch.tensor([0, 2, 5])
    target, valid = torch.rand(2, 3, 30), (torch.rand(2, 30) < 0.7).float()
    cost = matching_cost(class_logits, logits, classes, target, valid, WEIGHTS)
    for layer, query, segment in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(3)).tolist():
        kept = valid[layer].bool()
        x, t = logits[layer, query, kept], target[layer, segment, kept]
        bce = F.binary_cross_entropy_with_logits(x, t)
        dice = 1 - (2 * (x.sigmoid() * t).sum() + 1) / (x.sigmoid().sum() + t.sum() + 1)
        likelihood = class_logits[layer, query].softmax(-1)[classes[segment]]
        torch.testing.assert_close(cost[layer, query, segment], -2 * likelihood + 5 * bce + 3 * dice, rtol=1e-5, atol=1e-5)


def test_the_match_is_the_cheapest_assignment() -> None:
    cost = torch.rand(1, 5, 3)
    queries, segments = match([cost])[0][0]
    assert segments.tolist() == [0, 1, 2]
    cheapest = min(sum(cost[0, q, s].item() for s, q in enumerate(choice)) for choice in permutations(range(5), 3))
    assert cost[0, queries, segments].sum().item() == pytest.approx(cheapest)


def test_images_and_layers_are_matched_separately() -> None:
    costs = [torch.rand(2, 6, 3), torch.rand(2, 6, 0), torch.rand(2, 6, 9)]
    together = match(costs)
    assert [tuple(pairs.shape) for pairs in together] == [(2, 2, 3), (2, 2, 0), (2, 2, 6)]
    for cost, pairs in zip(costs, together, strict=True):
        assert torch.equal(torch.cat([match([layer[None]])[0] for layer in cost]), pairs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_costs_that_are_not_finite_are_an_error(bad: float) -> None:
    cost = torch.rand(1, 4, 3)
    cost[0, 1, 2] = bad
    with pytest.raises(FloatingPointError, match=r"image 1 of the batch: 1 of 12 matching costs are NaN or infinite"):
        match([torch.rand(1, 4, 2), cost])
