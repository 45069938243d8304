"""Laws of combining masks and classes into a semantic map."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from src.ops.masks import best_class, label_confidence, semantic_map, semantic_map_at_mask_size, semantic_scores
from src.structures import IGNORE_INDEX, DisocclusionScores, MaskPrediction, Size

CONFIDENT = 50.0


def prediction_of(mask_logits: torch.Tensor, class_logits: torch.Tensor, image_size: Size, padded_size: Size) -> MaskPrediction:
    """A prediction of one layer from (B, Q, h, w) and (B, Q, K + 1)."""
    batch, queries = class_logits.shape[:2]
    return MaskPrediction(class_logits[None], mask_logits[None], torch.zeros(batch, queries, 4), image_size, padded_size)


def confident(label: torch.Tensor, classes: int) -> MaskPrediction:
    """One query per class, sure of its class and of its pixels in ``label`` (B, H, W); in shuffled order."""
    order = torch.randperm(classes)
    masks = (2.0 * F.one_hot(label, classes).permute(0, 3, 1, 2) - 1) * CONFIDENT
    class_logits = CONFIDENT * F.one_hot(order, classes + 1).float().expand(len(label), -1, -1)
    size = (label.shape[1], label.shape[2])
    return prediction_of(masks[:, order], class_logits, size, size)


def random_prediction(batch: int, queries: int, classes: int, image_size: Size, padded_size: Size) -> MaskPrediction:
    grid = (padded_size[0] // 4, padded_size[1] // 4)
    masks, logits = torch.randn(batch, queries, *grid) * 3, torch.randn(batch, queries, classes + 1)
    return prediction_of(masks, logits, image_size, padded_size)


def test_one_confident_query_per_class_reproduces_the_label() -> None:
    label = torch.randint(0, 6, (2, 19, 27))
    assert torch.equal(semantic_map(confident(label, 6)), label)


def test_no_object_queries_change_nothing() -> None:
    prediction = random_prediction(2, 5, 4, (28, 40), (32, 64))
    masks, logits = torch.randn(1, 2, 3, 8, 16) * 30, torch.zeros(1, 2, 3, 5)
    logits[..., -1] = 200.0  # exp(-200) is zero in float32: these queries carry no class at all
    more = replace(
        prediction,
        mask_logits_per_layer=torch.cat((masks, prediction.mask_logits_per_layer), 2),
        class_logits_per_layer=torch.cat((logits, prediction.class_logits_per_layer), 2),
        queries=torch.zeros(2, 8, 4),
    )
    torch.testing.assert_close(semantic_scores(more), semantic_scores(prediction))


def test_the_scores_are_probabilities_weighted_by_masks() -> None:
    mask = torch.logit(torch.tensor([0.9, 0.2])).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    classes = torch.log(torch.tensor([[[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]]))
    scores = semantic_scores(prediction_of(mask, classes, (2, 2), (2, 2)))
    expected = torch.tensor([0.5 * 0.9 + 0.1 * 0.2, 0.3 * 0.9 + 0.6 * 0.2]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    torch.testing.assert_close(scores, expected)


def test_masks_are_upsampled_before_the_sigmoid() -> None:
    # Logits -4 and 8 of a 1x2 grid, upsampled to 1x4: -4, -1, 5, 8. The sigmoid of the means is not the mean of the sigmoids.
    mask = torch.tensor([-4.0, 8.0]).view(1, 1, 1, 2)
    sure = torch.tensor([[[CONFIDENT, 0.0]]])
    scores = semantic_scores(prediction_of(mask, sure, (1, 4), (1, 4)))
    torch.testing.assert_close(scores.flatten(), torch.tensor([-4.0, -1.0, 5.0, 8.0]).sigmoid())


def test_the_mask_grid_covers_the_padded_image_and_is_cropped_before_the_last_resize() -> None:
    # A 1x2 grid over a padded width of 8, of which 5 columns are image. Upsampled by hand at (x + .5) / 4 - .5.
    mask = torch.tensor([-4.0, 8.0]).view(1, 1, 1, 2)
    sure = torch.tensor([[[CONFIDENT, 0.0]]])
    prediction = prediction_of(mask, sure, (1, 5), (1, 8))
    cropped = torch.tensor([-4.0, -4.0, -2.5, 0.5, 3.5]).sigmoid()
    torch.testing.assert_close(semantic_scores(prediction).flatten(), cropped)
    # To width 10, every pixel halves: positions -.25, .25, .75, ... with the image's own last column repeated, no padding in it.
    left, right = torch.cat((cropped[:1], cropped[:-1])), torch.cat((cropped[1:], cropped[-1:]))
    expected = torch.stack((0.25 * left + 0.75 * cropped, 0.75 * cropped + 0.25 * right), 1).flatten()
    torch.testing.assert_close(semantic_scores(prediction, size=(1, 10)).flatten(), expected)


def test_the_map_is_the_best_class_at_any_size() -> None:
    prediction = random_prediction(2, 5, 4, (28, 40), (32, 64))
    for size in (None, (28, 40), (45, 31)):
        scores = semantic_scores(prediction, size)
        assert scores.shape == (2, 4, *(size or (28, 40)))
        assert torch.equal(semantic_map(prediction, size), scores.argmax(1))


def test_only_the_final_layer_counts_and_query_order_does_not() -> None:
    prediction = random_prediction(1, 6, 3, (16, 16), (16, 16))
    order = torch.randperm(6)
    deeper = replace(
        prediction,
        class_logits_per_layer=torch.cat((torch.randn(2, 1, 6, 4), prediction.class_logits_per_layer[:, :, order])),
        mask_logits_per_layer=torch.cat((torch.randn(2, 1, 6, 4, 4), prediction.mask_logits_per_layer[:, :, order])),
    )
    torch.testing.assert_close(semantic_scores(deeper), semantic_scores(prediction))


def test_half_precision_logits_are_combined_in_float32() -> None:
    prediction = random_prediction(1, 4, 3, (16, 16), (16, 16))
    half = replace(
        prediction,
        class_logits_per_layer=prediction.class_logits_per_layer.bfloat16(),
        mask_logits_per_layer=prediction.mask_logits_per_layer.bfloat16(),
    )
    full = replace(
        half,
        class_logits_per_layer=half.class_logits_per_layer.float(),
        mask_logits_per_layer=half.mask_logits_per_layer.float(),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = semantic_scores(half)
    assert scores.dtype == torch.float32
    assert torch.equal(scores, semantic_scores(full))


def test_at_mask_size_only_the_order_of_sigmoid_and_upsampling_differs() -> None:
    prediction = random_prediction(2, 5, 4, (28, 40), (32, 64))
    # A mask that is one value everywhere is the same after any upsampling.
    flat = replace(prediction, mask_logits_per_layer=torch.randn(1, 2, 5, 1, 1).expand(-1, -1, -1, 8, 16).contiguous())
    for size in (None, (45, 31)):
        assert torch.equal(semantic_map_at_mask_size(flat, size), semantic_map(flat, size))
        assert semantic_map_at_mask_size(prediction, size).shape == semantic_map(prediction, size).shape
    # Smooth masks agree but near borders.
    smooth = F.interpolate(torch.randn(2, 5, 2, 4) * 4, size=(8, 16), mode="bilinear")
    smooth_one = prediction_of(smooth, prediction.class_logits * 4, (28, 40), (32, 64))
    same = (semantic_map_at_mask_size(smooth_one) == semantic_map(smooth_one)).float().mean()
    assert same > 0.9


def test_a_single_class_leaves_background_where_its_score_is_below_a_half() -> None:
    masks = torch.full((1, 2, 8, 8), -CONFIDENT)
    masks[0, 0, :4] = CONFIDENT
    masks[0, 1, :, :4] = CONFIDENT
    probabilities = torch.tensor([0.6, 0.3])
    logits = torch.stack((probabilities, 1 - probabilities), -1).log()[None]
    prediction = prediction_of(masks, logits, (8, 8), (8, 8))
    expected = torch.full((1, 8, 8), IGNORE_INDEX)
    expected[:, :4] = 0  # the query with 0.6; 0.3 is too little
    scores = DisocclusionScores(torch.randn(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
    for one in (prediction, replace(prediction, disocclusion=scores)):
        assert torch.equal(semantic_map(one), expected)
        assert torch.equal(semantic_map_at_mask_size(one), expected)
        assert torch.equal(best_class(semantic_scores(one)), expected)


def test_the_map_of_a_single_class_is_that_of_its_scores_at_every_size() -> None:
    for image, padded, size in (((30, 50), (32, 64), None), ((32, 64), (32, 64), (45, 70)), ((64, 64), (64, 64), (20, 31))):
        prediction = random_prediction(2, 5, 1, image, padded)
        scores = semantic_scores(prediction, size)
        found = semantic_map(prediction, size)
        assert ((found == best_class(scores)) | ((scores[:, 0] - 0.5).abs() < 1e-5)).all()
        assert 0.01 < (found == IGNORE_INDEX).float().mean() < 0.99


def test_confidence_is_the_share_of_the_labels_score() -> None:
    scores = torch.tensor([[[1.0, 0.0, 2.0]], [[3.0, 0.0, 2.0]]])[None]
    labels = torch.tensor([[[1, 0, 0]]])
    assert torch.equal(label_confidence(scores, labels, dense=False), torch.tensor([[[0.75, 0.0, 0.5]]]))
    dense = torch.randn(2, 5, 3, 4)
    best = dense.argmax(1)
    assert torch.allclose(label_confidence(dense, best, dense=True), dense.softmax(1).amax(1))


def test_confidence_of_a_single_class_and_of_its_background() -> None:
    scores, labels = torch.tensor([[[[0.9, 0.2, 1.5]]]]), torch.tensor([[[0, IGNORE_INDEX, 0]]])
    assert torch.allclose(label_confidence(scores, labels, dense=False), torch.tensor([[[0.9, 0.8, 1.0]]]))
