"""The set loss of mask classification: match queries to segments, then compare classes and masks."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.losses.matching import match, matching_cost
from src.losses.point_sampling import Padding, PointDraws, draw_points, read_label, read_points, uncertain_points
from src.ops.device import full_precision
from src.ops.padding import pad_to
from src.structures import IGNORE_INDEX, MaskPrediction

Void = Literal["ignore", "negative"]


class MaskClassificationLoss(nn.Module):
    """Mask2Former's loss (arXiv 2112.01527, section 3.3) with one segment per class of the label, on all decoder layers.

    Every image and layer is matched on its own, on the masks as given. Random points are keyed by (seed, sample_id), so the
    loss of an image depends neither on its neighbours in the batch nor on the device. Under several ranks the normalisers
    are means over ranks, so that the averaged gradient is that of the whole batch.

    Args:
        num_classes: K.
        class_weight: of the cross-entropy over classes.
        mask_weight: of the binary cross-entropy of the masks.
        dice_weight: of the dice loss of the masks.
        no_object_weight: weight of "no object" within the cross-entropy over classes.
        num_points: points per mask that mask and dice losses read.
        oversample_ratio: candidates per point of the uncertainty sampling.
        importance_ratio: share of the points chosen by uncertainty.
        void: ``ignore``: void pixels and padding are not looked at. ``negative``: as in the published loss they are background
            for every mask, and masks fade to zero in their outer half pixel.
        deep_supervision: False: only the final layer counts.
        seed: of the random points.

    Raises:
        ValueError: if an argument is out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_ratio: float = 0.75,
        void: Void = "ignore",
        deep_supervision: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if void not in get_args(Void):
            raise ValueError(f"void={void!r}; expected one of {get_args(Void)}")
        if not 1 <= num_classes <= IGNORE_INDEX:
            raise ValueError(f"num_classes={num_classes}; expected 1..{IGNORE_INDEX}")
        if num_points < 1 or not 0 <= importance_ratio <= 1 or oversample_ratio < 1:
            raise ValueError(
                f"num_points={num_points}, oversample_ratio={oversample_ratio}, importance_ratio={importance_ratio}; "
                "expected at least 1, at least 1, and 0..1"
            )
        self.num_classes = num_classes
        self.weights = (class_weight, mask_weight, dice_weight)
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.void = void
        # Fading to zero punishes confident masks along the image's edge; it is kept for agreement with the published loss.
        self.padding: Padding = "border" if void == "ignore" else "zeros"
        self.deep_supervision = deep_supervision
        self.seed = seed
        self.class_balance: Tensor
        balance = torch.ones(num_classes + 1)
        balance[-1] = no_object_weight
        self.register_buffer("class_balance", balance, persistent=False)

    def forward(self, prediction: MaskPrediction, label: Tensor, sample_id: Tensor) -> dict[str, Tensor]:
        """Compare a prediction with a label.

        Args:
            prediction: of B images.
            label: (B, H, W) int64, classes or ``IGNORE_INDEX``, at the image's own size.
            sample_id: (B,) int64, the number of each sample in the run.

        Returns:
            ``class``, ``mask`` and ``dice``: scalars, weighted and summed over layers; their sum is the loss.

        Raises:
            ValueError: if shapes do not fit, a label is no class, or logits are not finite.
        """
        if not self.deep_supervision:
            prediction = prediction.final_layer()
        present = self._present_classes(prediction, label, sample_id)
        label = pad_to(label, prediction.padded_size, IGNORE_INDEX).to(torch.uint8)
        with full_precision(label):
            layers = prediction.mask_logits_per_layer.shape[0]
            draws = [self._draw(number, layers, label.device) for number in sample_id.tolist()]
            matches = self._match(prediction, label, present, draws)
            count = torch.tensor(float(sum(len(classes) for classes in present)), device=label.device)
            num_masks = reduce_mean_over_ranks(count).clamp(min=1)
            mask, dice = self._mask_losses(prediction, label, present, draws, matches)
            class_weight, mask_weight, dice_weight = self.weights
            return {
                "class": class_weight * self._class_loss(prediction.class_logits_per_layer.float(), present, matches),
                "mask": mask_weight * mask / num_masks,
                "dice": dice_weight * dice / num_masks,
            }

    def _present_classes(self, prediction: MaskPrediction, label: Tensor, sample_id: Tensor) -> list[Tensor]:
        """Per image the classes that its label holds, on the label's device."""
        _, batch, _, channels = prediction.class_logits_per_layer.shape
        if label.shape != (batch, *prediction.image_size) or sample_id.shape != (batch,):
            raise ValueError(
                f"label {tuple(label.shape)} and sample_id {tuple(sample_id.shape)} do not fit a prediction for {batch} images "
                f"of {tuple(prediction.image_size)}"
            )
        if channels != self.num_classes + 1:
            raise ValueError(f"class_logits have {channels} channels; expected {self.num_classes} classes + 1")
        wrong = (label != IGNORE_INDEX) & ((label < 0) | (label >= self.num_classes))
        if wrong.any():
            found = torch.unique(label[wrong]).tolist()
            raise ValueError(f"label values {found}; expected 0..{self.num_classes - 1} or {IGNORE_INDEX}")
        seen = torch.zeros(batch, IGNORE_INDEX + 1, dtype=torch.bool, device=label.device)
        seen.scatter_(1, label.flatten(1), True)
        return [image.nonzero().flatten().to(label.device) for image in seen[:, : self.num_classes].cpu()]

    def _draw(self, sample_id: int, layers: int, device: torch.device) -> PointDraws:
        draws = draw_points(self.seed, sample_id, layers, self.num_points, self.oversample_ratio, self.importance_ratio)
        return draws.to(device)

    def _read(self, label: Tensor, points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Binary masks of ``classes`` (N or 1, n) at points (N, P, 2), and where they count: (N, n, P) and (N, P)."""
        reading = read_label(label, points, self.padding)
        if self.void == "negative":
            return reading.share(classes), torch.ones_like(points[..., 0])
        # A point that void reaches at all is left out, so that not even a trace of a void pixel's logits is read.
        void = reading.share(torch.full((1, 1), IGNORE_INDEX, device=label.device))
        return reading.share(classes), (void[:, 0] == 0).float()

    @torch.no_grad()
    def _match(self, prediction: MaskPrediction, label: Tensor, present: list[Tensor], draws: list[PointDraws]) -> list[Tensor]:
        """Per image (L, 2, m): matched queries and segments, on the label's device."""
        costs = []
        for image, (classes, points) in enumerate(zip(present, draws, strict=True)):
            target, valid = self._read(label[image], points.matching, classes[None])
            class_logits = prediction.class_logits_per_layer[:, image].float()
            masks = prediction.mask_logits_per_layer[:, image].float()
            point_logits = read_points(masks, points.matching, self.padding)
            costs.append(matching_cost(class_logits, point_logits, classes, target, valid, self.weights))
        return [pairs.to(label.device) for pairs in match(costs)]

    def _mask_losses(
        self, prediction: MaskPrediction, label: Tensor, present: list[Tensor], draws: list[PointDraws], matches: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mask cross-entropy and dice, summed over the matched masks of all images and layers."""
        layer, image, query = _flat_index(matches)
        # One indexing for the whole batch: the gradient of each would be a tensor as large as all the masks.
        masks = prediction.mask_logits_per_layer[layer, image, query].float()
        if not len(masks):
            return masks.sum(), masks.sum()
        per_image = torch.split(masks.detach(), [pairs.shape[0] * pairs.shape[2] for pairs in matches])
        read = [self._mask_targets(*item) for item in zip(per_image, label, present, draws, matches, strict=True) if len(item[0])]
        points, target, valid = (torch.cat(parts) for parts in zip(*read, strict=True))
        logits = read_points(masks[:, None], points, self.padding)[:, 0]
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, valid, reduction="none").sum(-1)
        probability, target = logits.sigmoid() * valid, target * valid
        dice = 1 - (2 * (probability * target).sum(-1) + 1) / (probability.sum(-1) + target.sum(-1) + 1)
        return (cross_entropy / valid.sum(-1).clamp(min=1)).sum(), dice.sum()

    @torch.no_grad()
    def _mask_targets(
        self, masks: Tensor, label: Tensor, classes: Tensor, draws: PointDraws, pairs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where to read the matched masks (L * m, h, w) of one image and what they should be: points, target and valid."""
        layers, _, matched = pairs.shape
        masks = masks.reshape(layers, matched, *masks.shape[-2:])
        candidate_logits = read_points(masks, draws.candidates, self.padding)
        usable = None
        if self.void == "ignore":
            usable = self._read(label, draws.candidates, classes[None, :0])[1].bool()
        count = self.num_points - draws.extra.shape[1]
        points = uncertain_points(draws, candidate_logits, usable, count).flatten(0, 1)
        target, valid = self._read(label, points, classes[pairs[:, 1].flatten()][:, None])
        return points, target[:, 0], valid

    def _class_loss(self, class_logits: Tensor, present: list[Tensor], matches: list[Tensor]) -> Tensor:
        """Weighted cross-entropy over classes, normalised by the weights and summed over layers."""
        target = torch.full(class_logits.shape[:-1], self.num_classes, device=class_logits.device)
        wanted = [classes[pairs[:, 1].flatten()] for classes, pairs in zip(present, matches, strict=True)]
        target[_flat_index(matches)] = torch.cat(wanted)
        total = F.cross_entropy(class_logits.flatten(0, -2), target.flatten(), self.class_balance, reduction="sum")
        # Every layer matches the same number of queries: one normaliser serves all.
        per_layer = self.class_balance[target].sum() / len(target)
        return total / reduce_mean_over_ranks(per_layer).clamp(min=torch.finfo(torch.float32).eps)


def _flat_index(matches: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Layer, image and query of every matched pair, images one after another, layers within, segments innermost."""
    device = matches[0].device
    layers = [torch.arange(len(pairs), device=device).repeat_interleave(pairs.shape[2]) for pairs in matches]
    images = [torch.full((len(pairs) * pairs.shape[2],), image, device=device) for image, pairs in enumerate(matches)]
    return torch.cat(layers), torch.cat(images), torch.cat([pairs[:, 0].flatten() for pairs in matches])
