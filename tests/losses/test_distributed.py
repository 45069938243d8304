"""Laws of normalizers that span ranks."""

from collections import deque
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from src.losses.disocclusion import DisocclusionLoss
from src.losses.distributed import reduce_mean_over_ranks
from src.losses.flow import FlowLoss
from src.losses.mask_classification import MaskClassificationLoss
from src.losses.photometric import PhotometricLoss
from src.losses.visibility import VisibilityLoss
from src.structures import IGNORE_INDEX, FlowPrediction, MaskPrediction


@pytest.fixture
def two_ranks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Pretend that this process is one of two; the test supplies the values of the other rank."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    return monkeypatch


def test_in_a_single_process_the_value_stays_without_gradient() -> None:
    value = torch.tensor(3.0, requires_grad=True)
    assert reduce_mean_over_ranks(value * 2).item() == 6.0
    assert not reduce_mean_over_ranks(value * 2).requires_grad


def test_with_ranks_it_is_their_mean_and_keeps_its_argument(two_ranks: pytest.MonkeyPatch) -> None:
    two_ranks.setattr(torch.distributed, "all_reduce", lambda value: value.add_(7.0))
    value = torch.tensor(3.0)
    assert reduce_mean_over_ranks(value).item() == 5.0
    assert value.item() == 3.0


LossTerms = Callable[[list[int]], dict[str, Tensor]]


def masks() -> LossTerms:
    loss, masks, classes = MaskClassificationLoss(5, num_points=64), torch.randn(2, 2, 6, 8, 8), torch.randn(2, 2, 6, 6)
    label, ids = torch.randint(0, 5, (2, 8, 8)), torch.tensor([5, 11])
    label[0, 0] = 3
    label[0, 1:] = IGNORE_INDEX  # one segment here, five there

    def loss_terms(images: list[int]) -> dict[str, Tensor]:
        prediction = MaskPrediction(classes[:, images], masks[:, images], torch.zeros(len(images), 6, 4), (8, 8), (8, 8))
        return loss(prediction, label[images], ids[images])

    return loss_terms


def flows() -> LossTerms:
    """All losses of a flow; most of the first pair's flow is known, little of the second's, and none of the third's."""
    images, label = 255 * torch.rand(2, 4, 3, 32, 32), torch.randint(0, 3, (4, 32, 32))
    pixels, segments = torch.randn(4, 2, 8, 8), torch.randn(4, 3, 2, 8, 8)
    confidence, logits, key_masks, classes = (
        torch.rand(4, 1, 8, 8),
        torch.randn(4, 3, 8, 8),
        torch.randn(4, 3, 8, 8),
        torch.rand(4, 3, 4),
    )
    target = torch.randn(4, 2, 32, 32)
    target[1, :, 5:] = torch.nan
    target[2] = torch.nan
    label[3, 2:] = IGNORE_INDEX

    def loss_terms(pairs: list[int]) -> dict[str, Tensor]:
        flow = FlowPrediction(segments[pairs], (pixels[pairs],), (32, 32), confidence[pairs], logits[pairs])
        key = MaskPrediction(classes[pairs][None], key_masks[pairs][None], torch.zeros(len(pairs), 3, 4), (32, 32), (32, 32))
        known = target[pairs]
        terms = FlowLoss()(flow, known, key) | VisibilityLoss()(flow, known) | DisocclusionLoss()(flow, label[pairs])
        return terms | PhotometricLoss()(flow, images[0, pairs], images[1, pairs], known)

    return loss_terms


@pytest.mark.parametrize("case, shares", [(masks, ([0], [1])), (flows, ([0, 1], [2, 3]))])
def test_losses_of_ranks_average_to_that_of_the_whole_batch(
    case: Callable[[], LossTerms], shares: tuple[list[int], list[int]], request: pytest.FixtureRequest
) -> None:
    loss_terms = case()
    whole = loss_terms([*shares[0], *shares[1]])
    two_ranks = request.getfixturevalue("two_ranks")
    sent: list[list[Tensor]] = [[], []]
    for rank, share in enumerate(shares):
        two_ranks.setattr(torch.distributed, "all_reduce", lambda value, rank=rank: sent[rank].append(value.clone()))
        loss_terms(share)
    terms = []
    for rank, share in enumerate(shares):
        other = deque(sent[1 - rank])
        two_ranks.setattr(torch.distributed, "all_reduce", lambda value, other=other: value.add_(other.popleft()))
        terms.append(loss_terms(share))
        assert not other, "both ranks reduce as often: one would wait for the other"
    for name in whole:
        torch.testing.assert_close((terms[0][name] + terms[1][name]) / 2, whole[name], rtol=1e-5, atol=0)
        assert whole[name] > 0, name
