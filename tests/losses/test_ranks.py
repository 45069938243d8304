"""Laws of normalisers that span ranks."""

from collections import deque

import pytest
import torch
from torch import Tensor

from src.losses.mask_classification import MaskClassificationLoss
from src.losses.ranks import reduce_mean_over_ranks
from src.structures import IGNORE_INDEX, MaskPrediction


@pytest.fixture
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As if this process were one of two; the test says what the other one adds."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    return monkeypatch


def test_alone_it_is_the_value_without_gradient() -> None:
    value = torch.tensor(3.0, requires_grad=True)
    assert reduce_mean_over_ranks(value * 2).item() == 6.0
    assert not reduce_mean_over_ranks(value * 2).requires_grad


def test_with_ranks_it_is_their_mean_and_leaves_its_argument_alone(two_ranks: pytest.MonkeyPatch) -> None:
    two_ranks.setattr(torch.distributed, "all_reduce", lambda value: value.add_(7.0))
    value = torch.tensor(3.0)
    assert reduce_mean_over_ranks(value).item() == 5.0
    assert value.item() == 3.0


def test_losses_of_ranks_average_to_that_of_the_whole_batch(request: pytest.FixtureRequest) -> None:
    loss, masks, classes = MaskClassificationLoss(5, num_points=64), torch.randn(2, 2, 6, 8, 8), torch.randn(2, 2, 6, 6)
    label, ids = torch.randint(0, 5, (2, 8, 8)), torch.tensor([5, 11])
    label[0, 0] = 3
    label[0, 1:] = IGNORE_INDEX  # one segment here, five there

    def judge(images: list[int]) -> dict[str, Tensor]:
        prediction = MaskPrediction(classes[:, images], masks[:, images], torch.zeros(len(images), 6, 4), (8, 8), (8, 8))
        return loss(prediction, label[images], ids[images])

    whole = judge([0, 1])
    two_ranks = request.getfixturevalue("two_ranks")
    said: list[list[Tensor]] = [[], []]
    for rank in range(2):
        two_ranks.setattr(torch.distributed, "all_reduce", lambda value, rank=rank: said[rank].append(value.clone()))
        judge([rank])
    terms = []
    for rank in range(2):
        other = deque(said[1 - rank])
        two_ranks.setattr(torch.distributed, "all_reduce", lambda value, other=other: value.add_(other.popleft()))
        terms.append(judge([rank]))
    for name in whole:
        torch.testing.assert_close((terms[0][name] + terms[1][name]) / 2, whole[name], rtol=1e-5, atol=0)
