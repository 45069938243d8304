from dataclasses import replace

import pytest
import torch

from src.losses.fusion import FusionLoss
from src.losses.point_sampling import sample_points
from src.ops.masks import semantic_scores
from src.structures import IGNORE_INDEX, MaskPrediction, PixelRead

HEIGHT, WIDTH = 21, 30


def fused(classes: int = 4, batch: int = 2, sets: int = 2) -> MaskPrediction:
    shares = torch.rand(batch, sets, HEIGHT, WIDTH)
    favored = torch.eye(classes + 1)[torch.tensor([0, 1, 2, 0, 2, 3]).clamp(max=classes - 1)]
    return MaskPrediction(
        (5 * favored + torch.randn(3 * sets, classes + 1)).expand(1, batch, -1, -1),
        4 * torch.randn(1, batch, 3 * sets, 8, 8),
        torch.randn(batch, 3 * sets, 5),
        (HEIGHT, WIDTH),
        (32, 32),
        shares=(shares / shares.sum(1, keepdim=True)).requires_grad_(),
    )


def labels(classes: int = 4, batch: int = 2) -> torch.Tensor:
    label = torch.randint(0, classes, (batch, HEIGHT, WIDTH))
    label[:, :3] = IGNORE_INDEX
    return label


@pytest.mark.parametrize("reads", [False, True])
def test_the_loss_is_the_cross_entropy_of_the_semantic_scores(reads: bool) -> None:
    """Computed by hand at the pixels of the random points, from the scores that the label map takes the best of."""
    prediction, label, numbers = fused(), labels(), torch.tensor([3, 8])
    if reads:
        key = PixelRead(4 * torch.randn(2, 3, 8, 8), 6 * torch.randn(2, 2, HEIGHT, WIDTH))
        prediction = replace(prediction, pixel_reads=(key, None))
    scores = semantic_scores(prediction)
    shares = scores / scores.sum(1, keepdim=True)
    sources = [
        replace(
            prediction,
            class_logits_per_layer=prediction.class_logits_per_layer[:, :, queries],
            mask_logits_per_layer=prediction.mask_logits_per_layer[:, :, queries],
            queries=prediction.queries[:, queries],
            shares=None,
            pixel_reads=prediction.pixel_reads[number : number + 1],
        )
        for number, queries in enumerate((slice(0, 3), slice(3, 6)))
    ]
    first, second = (semantic_scores(source).argmax(1) for source in sources)
    assert 0.1 < (first == second).float().mean() < 0.9
    losses = []
    for row, number in enumerate(numbers.tolist()):
        points = sample_points(5, number, 1, 400, 1.0, 0.0).matching[0]
        for x, y in (points * torch.tensor([WIDTH, HEIGHT])).long().tolist():
            if label[row, y, x] != IGNORE_INDEX and first[row, y, x] != second[row, y, x]:
                losses.append(-(shares[row, label[row, y, x], y, x] + 0.05).log())
    loss = FusionLoss(400, seed=5)(prediction, label, numbers)
    torch.testing.assert_close(loss, torch.stack(losses).mean(), atol=1e-4, rtol=1e-4)


def test_the_gradient_prefers_the_source_that_is_right() -> None:
    prediction = fused(batch=1)
    label = semantic_scores(prediction).argmax(1)
    logits = torch.full((1, 1, 6, 5), -20.0)
    logits[..., :3, 2], logits[..., 3:, 1] = 20, 20
    prediction = MaskPrediction(logits, prediction.mask_logits_per_layer, prediction.queries, (HEIGHT, WIDTH), (32, 32),
                                shares=prediction.shares)  # fmt: skip
    assert prediction.shares is not None
    FusionLoss(2000)(prediction, torch.full_like(label, 2), torch.tensor([0])).backward()
    gradient = prediction.shares.grad
    assert gradient is not None and gradient[:, 0].sum() < 0 < gradient[:, 1].sum()


def test_samples_do_not_depend_on_their_batch() -> None:
    prediction, label = fused(), labels()
    both = FusionLoss(300)(prediction, label, torch.tensor([1, 2]))
    assert both == FusionLoss(300)(prediction, label, torch.tensor([1, 2]))
    assert both != FusionLoss(300)(prediction, label, torch.tensor([1, 3]))
    assert both != FusionLoss(300, seed=1)(prediction, label, torch.tensor([1, 2]))


def test_no_label_is_no_loss() -> None:
    loss = FusionLoss(50)(fused(), torch.full((2, HEIGHT, WIDTH), IGNORE_INDEX), torch.tensor([0, 1]))
    assert loss == 0
    loss.backward()


def test_unfit_predictions_are_refused() -> None:
    one = MaskPrediction(torch.zeros(1, 1, 3, 5), torch.zeros(1, 1, 3, 8, 8), torch.zeros(1, 3, 5), (HEIGHT, WIDTH), (32, 32))
    with pytest.raises(ValueError, match="no shares; expected one that is fused from at least two"):
        FusionLoss()(one, labels(batch=1), torch.tensor([0]))
    with pytest.raises(ValueError, match="the data has 1 class; expected at least 2"):
        FusionLoss()(fused(classes=1), labels(classes=1), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="num_points is 0"):
        FusionLoss(0)
