"""Laws of the set loss."""

from collections import deque
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.losses.mask_classification import MaskClassificationLoss
from src.losses.point_sampling import sample_points
from src.structures import IGNORE_INDEX, MaskPrediction

CLASSES = 6
POINTS = 256


def random_prediction(layers: int = 2, batch: int = 2, queries: int = 8, size: tuple[int, int] = (32, 40)) -> MaskPrediction:
    """Noise at the resolution of the image."""
    class_logits = torch.randn(layers, batch, queries, CLASSES + 1)
    mask_logits = 3 * torch.randn(layers, batch, queries, *size)
    return MaskPrediction(class_logits, mask_logits, torch.zeros(batch, queries, 4), size, size)


def blocky_label(batch: int = 2, size: tuple[int, int] = (32, 40), void: bool = True) -> Tensor:
    """Blocks of 8x8 pixels; void in the last row of blocks."""
    label = torch.randint(0, CLASSES, (batch, size[0] // 8, size[1] // 8))
    if void:
        label[:, -1] = IGNORE_INDEX
    return label.repeat_interleave(8, 1).repeat_interleave(8, 2)


def perfect_prediction(label: Tensor, sureness: float = 8.0, queries: int = 8, layers: int = 2) -> MaskPrediction:
    """One query per class, sure of the pixels of ``label``; queries of absent classes and left-over ones are no object.

    Not surer than that: labels are read bilinearly, so at the very edge of a segment half sure is right.
    """
    batch, height, width = label.shape
    masks = torch.stack([(label == k).float() for k in range(queries)], dim=1)
    classes = torch.tensor([[k if k < CLASSES and (image == k).any() else CLASSES for k in range(queries)] for image in label])
    class_logits = sureness * F.one_hot(classes, CLASSES + 1).float()
    mask_logits = (sureness * (2 * masks - 1)).expand(layers, -1, -1, -1, -1)
    class_logits = class_logits.expand(layers, -1, -1, -1)
    return MaskPrediction(class_logits, mask_logits, torch.zeros(batch, queries, 4), (height, width), (height, width))


def make_loss(**options: object) -> MaskClassificationLoss:
    return MaskClassificationLoss(CLASSES, **{"num_points": POINTS, **options})  # type: ignore[arg-type]


def total(terms: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values())).sum()


IDS = torch.tensor([5, 11])


def test_perfect_prediction_costs_less_than_any_worse_one() -> None:
    label, loss = blocky_label(), make_loss()
    perfect = perfect_prediction(label)
    best = total(loss(perfect, label, IDS))
    wrong_class = perfect.class_logits_per_layer.clone()
    wrong_class[-1, 0] = wrong_class[-1, 0].roll(1, dims=-1)
    holed = perfect.mask_logits_per_layer.clone()
    holed[-1, 0, label[0, 4, 4], :8, :8] *= -1
    moved = perfect.mask_logits_per_layer.roll(4, dims=-1)
    one_less = perfect.mask_logits_per_layer.clone()
    one_less[0, 1, label[1, 0, 0]] = -8
    worse = [
        replace(perfect, class_logits_per_layer=wrong_class),
        replace(perfect, mask_logits_per_layer=holed),
        replace(perfect, mask_logits_per_layer=moved),
        replace(perfect, mask_logits_per_layer=one_less),
        perfect_prediction(label, sureness=2.0),
    ]
    assert all(total(loss(prediction, label, IDS)) > 1.2 * best for prediction in worse)


def test_the_order_of_queries_changes_nothing() -> None:
    label, loss, prediction = blocky_label(), make_loss(), random_prediction()
    order = torch.randperm(8)
    shuffled = replace(
        prediction,
        class_logits_per_layer=prediction.class_logits_per_layer[:, :, order],
        mask_logits_per_layer=prediction.mask_logits_per_layer[:, :, order],
    )
    torch.testing.assert_close(loss(shuffled, label, IDS), loss(prediction, label, IDS), rtol=1e-6, atol=0)


@pytest.mark.parametrize("size", [(32, 40), (27, 35)])
def test_ignored_void_and_padding_have_no_cost_and_no_gradient(size: tuple[int, int]) -> None:
    label = blocky_label()[:, : size[0], : size[1]]
    prediction = replace(random_prediction(), image_size=size)
    masks = prediction.mask_logits_per_layer.requires_grad_()
    loss = make_loss()
    terms = loss(prediction, label, IDS)
    (gradient,) = torch.autograd.grad(total(terms), masks)
    void = F.pad(label, (0, 40 - size[1], 0, 32 - size[0]), value=IGNORE_INDEX) == IGNORE_INDEX
    void = void[None, :, None].expand_as(masks)
    assert gradient[void].abs().max() == 0
    assert gradient[~void].abs().max() > 0
    changed = torch.where(void, 50 * torch.randn_like(masks), masks)
    assert terms == loss(replace(prediction, mask_logits_per_layer=changed), label, IDS)


def test_negative_void_pushes_every_mask_down() -> None:
    label, prediction = blocky_label(), random_prediction()
    masks = prediction.mask_logits_per_layer.requires_grad_()
    (gradient,) = torch.autograd.grad(total(make_loss(void="negative")(prediction, label, IDS)), masks)
    inside = gradient[..., 25:, :]  # a row away from the classes, so that no bilinear read reaches them
    assert inside.max() > 0
    assert inside.min() >= -1e-9


@pytest.mark.parametrize("padded_size", [(32, 40), (32, 64)])
def test_negative_void_equals_transformers(monkeypatch: pytest.MonkeyPatch, padded_size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

    label, layers = blocky_label(), 3
    prediction = random_prediction(layers, size=(padded_size[0] // 4, padded_size[1] // 4))
    prediction = replace(prediction, image_size=(32, 40), padded_size=padded_size)

    weights = {"no_object_weight": 0.3, "class_weight": 1.5, "mask_weight": 4.0, "dice_weight": 5.0}
    ours = make_loss(void="negative", seed=3, **weights)(prediction, label, IDS)
    theirs = Mask2FormerLoss(transformers.Mask2FormerConfig(num_labels=CLASSES, train_num_points=POINTS, **weights), {})
    padded = F.pad(label, (0, padded_size[1] - 40, 0, 0), value=IGNORE_INDEX)
    present = [torch.unique(image[image != IGNORE_INDEX]) for image in label]
    masks = [torch.stack([(image == k).float() for k in found]) for image, found in zip(padded, present, strict=True)]
    samples = [sample_points(3, int(number), layers, POINTS, 3.0, 0.75) for number in IDS]
    queue: deque[Tensor] = deque()
    for layer in (2, 0, 1):  # they take the final layer first
        queue.extend(image.matching[layer][None] for image in samples)
        for kind in ("candidates", "extra"):
            rows = [getattr(d, kind)[layer].expand(len(k), -1, -1) for d, k in zip(samples, present, strict=True)]
            queue.append(torch.cat(rows))

    def scripted(*shape: int, device: torch.device) -> Tensor:
        points = queue.popleft()
        assert points.shape == shape
        return points

    monkeypatch.setattr(torch, "rand", scripted)
    per_layer = [
        {"masks_queries_logits": m, "class_queries_logits": c}
        for m, c in zip(prediction.mask_logits_per_layer, prediction.class_logits_per_layer, strict=True)
    ]
    reference = theirs(*per_layer[-1].values(), masks, present, auxiliary_predictions=per_layer[:-1])
    assert not queue
    for name, theirs_name, weight in (
        ("class", "loss_cross_entropy", 1.5),
        ("mask", "loss_mask", 4.0),
        ("dice", "loss_dice", 5.0),
    ):
        expected = weight * sum(value for key, value in reference.items() if key.startswith(theirs_name))
        torch.testing.assert_close(ours[name], expected, rtol=2e-6, atol=0)


def test_weights_scale_their_terms() -> None:
    """Where only one matching is possible: weights also steer the matching."""
    label, prediction = torch.full((2, 32, 40), 3), random_prediction(queries=1)
    plain = make_loss(class_weight=1.0, mask_weight=1.0, dice_weight=1.0)(prediction, label, IDS)
    weighted = make_loss(class_weight=2.0, mask_weight=3.0, dice_weight=7.0)(prediction, label, IDS)
    torch.testing.assert_close(weighted, {"class": 2 * plain["class"], "mask": 3 * plain["mask"], "dice": 7 * plain["dice"]})


def test_no_object_weight_is_that_of_the_unmatched_queries() -> None:
    label = torch.full((1, 16, 16), 2)
    prediction = random_prediction(1, 1, 3, (16, 16))
    masks = torch.full_like(prediction.mask_logits_per_layer, -20.0)
    masks[:, :, 1] = 20.0
    prediction = replace(prediction, mask_logits_per_layer=masks)
    negative_log = -prediction.class_logits[0].log_softmax(-1)
    matched, unmatched = negative_log[1, 2], negative_log[0, -1] + negative_log[2, -1]
    terms = make_loss(class_weight=1.0, no_object_weight=0.25)(prediction, label, IDS[:1])
    torch.testing.assert_close(terms["class"], (matched + 0.25 * unmatched) / 1.5)


def test_the_loss_of_an_image_is_independent_of_its_batch() -> None:
    label, prediction, loss = blocky_label(3), random_prediction(batch=3), make_loss()
    ids = torch.tensor([4, 9, 2])

    def part(images: list[int]) -> tuple[Tensor, int]:
        chosen = replace(
            prediction,
            class_logits_per_layer=prediction.class_logits_per_layer[:, images],
            mask_logits_per_layer=prediction.mask_logits_per_layer[:, images],
            queries=prediction.queries[images],
        )
        terms = loss(chosen, label[images], ids[images])
        segments = sum(len(image.unique()) - 1 for image in label[images])
        return (terms["mask"] + terms["dice"]) * segments, segments

    whole, _ = part([0, 1, 2])
    torch.testing.assert_close(whole, sum(part([image])[0] for image in (2, 0, 1)), rtol=1e-5, atol=0)
    torch.testing.assert_close(whole, part([1, 2, 0])[0], rtol=1e-5, atol=0)


def test_without_deep_supervision_early_layers_do_not_count() -> None:
    label, prediction, loss = blocky_label(), random_prediction(3), make_loss(deep_supervision=False)
    terms = loss(prediction, label, IDS)
    assert terms == loss(prediction.final_layer(), label, IDS)
    assert total(make_loss()(prediction, label, IDS)) > total(terms)


def test_labels_without_classes_train_no_object() -> None:
    label, prediction = torch.full((2, 32, 40), IGNORE_INDEX), random_prediction()
    logits = prediction.class_logits_per_layer.requires_grad_()
    masks = prediction.mask_logits_per_layer.requires_grad_()
    terms = make_loss()(prediction, label, IDS)
    assert terms["mask"] == 0 and terms["dice"] == 0
    class_gradient, mask_gradient = torch.autograd.grad(total(terms), (logits, masks))
    assert (class_gradient[..., -1] < 0).all() and (class_gradient[..., :-1] > 0).all()
    assert not mask_gradient.any()


def test_one_empty_image_in_a_batch_and_more_classes_than_queries() -> None:
    label, prediction = blocky_label(), random_prediction(queries=2)
    label[0] = IGNORE_INDEX
    assert 0 < make_loss()(prediction, label, IDS)["mask"] < 100


def test_half_precision_under_autocast_gives_finite_gradients_and_the_same_loss() -> None:
    label, prediction, loss = blocky_label(), random_prediction(), make_loss()
    masks = prediction.mask_logits_per_layer.bfloat16().requires_grad_()
    logits = prediction.class_logits_per_layer.bfloat16().requires_grad_()
    half = replace(prediction, mask_logits_per_layer=masks, class_logits_per_layer=logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = loss(half, label, IDS)
    assert all(value.dtype == torch.float32 for value in terms.values())
    exact = replace(prediction, mask_logits_per_layer=masks.float(), class_logits_per_layer=logits.float())
    torch.testing.assert_close(total(terms), total(loss(exact, label, IDS)), rtol=1e-6, atol=0)
    gradients = torch.autograd.grad(total(terms), (masks, logits))
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


def test_wrong_input_is_refused() -> None:
    label, prediction, loss = blocky_label(), random_prediction(), make_loss()
    with pytest.raises(ValueError, match=r"label values are \[17\]; expected 0\.\.5 or 255"):
        loss(prediction, label.masked_fill(label == 0, 17), IDS)
    with pytest.raises(ValueError, match=r"label is \(2, 31, 40\).*expected \(B, H, W\)"):
        loss(prediction, label[:, :-1], IDS)
    with pytest.raises(ValueError, match="7 channels; expected 9 classes"):
        MaskClassificationLoss(9)(prediction, label, IDS)
    broken = prediction.mask_logits_per_layer.clone()
    broken[1, 0, 3] = torch.nan
    with pytest.raises(FloatingPointError, match=r"image 0 of the batch.*NaN"):
        loss(replace(prediction, mask_logits_per_layer=broken), label, IDS)
    with pytest.raises(ValueError, match="void is 'skip'"):
        make_loss(void="skip")


def test_void_is_the_background_of_a_single_class() -> None:
    label = torch.full((1, 32, 40), IGNORE_INDEX)
    label[:, :16] = 0
    costs = {}
    for name, masks in (("right", label == 0), ("everywhere", label >= 0)):
        logits = (16.0 * masks.float() - 8)[None, :, None].expand(2, 1, 8, 32, 40)
        classes = torch.tensor([8.0, -8.0]).expand(2, 1, 8, 2)
        prediction = MaskPrediction(classes, logits, torch.zeros(1, 8, 4), (32, 40), (32, 40))
        terms = MaskClassificationLoss(1, num_points=POINTS)(prediction, label, torch.arange(1))
        costs[name] = total(terms)
    assert costs["everywhere"] > costs["right"] + 1
