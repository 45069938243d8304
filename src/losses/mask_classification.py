"""Set loss of mask classification: match queries to segments, then compare classes and masks."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.losses.matching import match, matching_cost
from src.losses.point_sampling import Padding, PointSamples, read_label, read_points, sample_points, uncertain_points
from src.ops.device import full_precision
from src.ops.masks import semantic_scores
from src.ops.padding import pad_to
from src.structures import IGNORE_INDEX, MaskPrediction

Void = Literal["ignore", "negative"]


class MaskClassificationLoss(nn.Module):
    """Mask2Former's loss (arXiv 2112.01527, section 3.3) with one segment per class of the label, on all decoder layers.

    Every image and layer is matched separately. Random points are keyed by (seed, sample_id), so the loss of an image is
    independent of the rest of its batch and of the device. With several ranks the normalizers are means over ranks, so that the
    averaged gradient equals that of the whole batch.

    Args:
        num_classes: K, 1 to 255.
        class_weight: factor of the cross-entropy over classes.
        mask_weight: factor of the binary cross-entropy of the masks.
        dice_weight: factor of the dice loss of the masks.
        no_object_weight: weight of "no object" within the cross-entropy over classes.
        num_points: points per mask that mask and dice losses read, at least 1.
        oversample_ratio: candidates per point of the uncertainty sampling, at least 1.
        importance_ratio: share of the points chosen by uncertainty, 0..1.
        void: ``ignore`` leaves out void pixels and padding. ``negative`` counts them as background of every mask, and point
            sampling pads mask logits with zeros, as in the published loss. For K = 1 void pixels are always background, as they
            are in label maps: otherwise nothing would teach the network where the class is not.
        deep_supervision: False: only the final layer counts.
        seed: seed of the random points.
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
            raise ValueError(f"void is {void!r}; expected one of {', '.join(get_args(Void))}")
        if not 1 <= num_classes <= IGNORE_INDEX:
            raise ValueError(f"num_classes is {num_classes}; expected 1..{IGNORE_INDEX}")
        if num_points < 1 or not 0 <= importance_ratio <= 1 or oversample_ratio < 1:
            raise ValueError(
                f"num_points is {num_points}, oversample_ratio {oversample_ratio}, importance_ratio {importance_ratio}; "
                "expected at least 1, at least 1, and 0..1"
            )
        self.num_classes = num_classes
        self.loss_weights = (class_weight, mask_weight, dice_weight)
        self.num_points = num_points
        self.oversample_ratio = oversample_ratio
        self.importance_ratio = importance_ratio
        self.void = "negative" if num_classes == 1 else void
        # Zeros penalise confident masks along the image's edge; they are needed to agree with the published loss.
        self.padding: Padding = "border" if void == "ignore" else "zeros"
        self.deep_supervision = deep_supervision
        self.seed = seed
        self.class_weights: Tensor
        self.register_buffer("class_weights", torch.tensor([1.0] * num_classes + [no_object_weight]), persistent=False)

    def forward(
        self, prediction: MaskPrediction, label: Int64[Tensor, "_ H W"], sample_id: Int64[Tensor, " B"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Return ``class``, ``mask`` and ``dice``: weighted and summed over layers; their sum is the loss.

        Of a dense prediction, return ``class``: the mean cross-entropy of its scores over labelled pixels.

        Args:
            prediction: masks and classes of B images.
            label: (B, H, W) classes or ``IGNORE_INDEX``, at the image's own size.
            sample_id: number of each sample in the run.
        """
        if not self.deep_supervision:
            prediction = prediction.final_layer()
        present = self._present_classes(prediction, label, sample_id)
        if prediction.dense:
            # One class per pixel: nothing to match.
            total = F.cross_entropy(semantic_scores(prediction), label, ignore_index=IGNORE_INDEX, reduction="sum")
            return {"class": total / reduce_mean_over_ranks((label != IGNORE_INDEX).sum().float()).clamp(min=1)}
        label = pad_to(label, prediction.padded_size, IGNORE_INDEX).to(torch.uint8)
        with full_precision(label):
            layers = prediction.mask_logits_per_layer.shape[0]
            ratios = (self.oversample_ratio, self.importance_ratio)
            samples = [
                sample_points(self.seed, number, layers, self.num_points, *ratios).to(label.device)
                for number in sample_id.tolist()
            ]
            matches = self._match(prediction, label, present, samples)
            count = torch.tensor(float(sum(len(classes) for classes in present)), device=label.device)
            num_masks = reduce_mean_over_ranks(count).clamp(min=1)
            mask, dice = self._mask_losses(prediction, label, present, samples, matches)
            class_weight, mask_weight, dice_weight = self.loss_weights
            return {
                "class": class_weight * self._class_loss(prediction.class_logits_per_layer.float(), present, matches),
                "mask": mask_weight * mask / num_masks,
                "dice": dice_weight * dice / num_masks,
            }

    def _present_classes(self, prediction: MaskPrediction, label: Tensor, sample_id: Tensor) -> list[Tensor]:
        """Return the classes in each image's label, on the label's device."""
        _, batch, _, channels = prediction.class_logits_per_layer.shape
        if label.shape != (batch, *prediction.image_size) or sample_id.shape != (batch,):
            raise ValueError(
                f"label is {tuple(label.shape)} and sample_id {tuple(sample_id.shape)}; expected (B, H, W) = "
                f"{(batch, *prediction.image_size)} and (B,) of the prediction"
            )
        if channels != self.num_classes + 1:
            raise ValueError(f"class_logits have {channels} channels; expected {self.num_classes} classes + 1")
        wrong = (label != IGNORE_INDEX) & ((label < 0) | (label >= self.num_classes))
        if wrong.any():
            found = torch.unique(label[wrong]).tolist()
            raise ValueError(f"label values are {found}; expected 0..{self.num_classes - 1} or {IGNORE_INDEX}")
        present = torch.zeros(batch, IGNORE_INDEX + 1, dtype=torch.bool, device=label.device)
        present.scatter_(1, label.flatten(1), True)
        return [image.nonzero().flatten().to(label.device) for image in present[:, : self.num_classes].cpu()]

    def _read(self, label: Tensor, points: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Read binary masks of ``classes`` (N or 1, n) at points (N, P, 2): values (N, n, P) and validity (N, P), both 0..1."""
        reading = read_label(label, points, self.padding)
        if self.void == "negative":
            return reading.share(classes), torch.ones_like(points[..., 0])
        # A point with any share of void is invalid, so that no gradient reaches the logits of void pixels.
        void = reading.share(torch.full((1, 1), IGNORE_INDEX, device=label.device))
        return reading.share(classes), (void[:, 0] == 0).float()

    @torch.no_grad()
    def _match(
        self, prediction: MaskPrediction, label: Tensor, present: list[Tensor], samples: list[PointSamples]
    ) -> list[Tensor]:
        """Match queries to segments: (L, 2, m) of each image, on the label's device."""
        costs = []
        for index, (classes, points) in enumerate(zip(present, samples, strict=True)):
            target, valid = self._read(label[index], points.matching, classes[None])
            class_logits = prediction.class_logits_per_layer[:, index].float()
            masks = prediction.mask_logits_per_layer[:, index].float()
            point_logits = read_points(masks, points.matching, self.padding)
            costs.append(matching_cost(class_logits, point_logits, classes, target, valid, self.loss_weights))
        return [pairs.to(label.device) for pairs in match(costs)]

    def _mask_losses(
        self, prediction: MaskPrediction, label: Tensor, present: list[Tensor], samples: list[PointSamples], matches: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Compute mask cross-entropy and dice, summed over the matched masks of all images and layers."""
        layer, image, query = _flat_index(matches)
        # One indexing for the whole batch: the gradient of each indexing is a tensor as large as all the masks.
        masks = prediction.mask_logits_per_layer[layer, image, query].float()
        if not len(masks):
            return masks.sum(), masks.sum()
        per_image = torch.split(masks.detach(), [pairs.shape[0] * pairs.shape[2] for pairs in matches])
        images = zip(per_image, label, present, samples, matches, strict=True)
        read = [self._mask_targets(*item) for item in images if len(item[0])]
        points, target, valid = (torch.cat(parts) for parts in zip(*read, strict=True))
        logits = read_points(masks[:, None], points, self.padding)[:, 0]
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, valid, reduction="none").sum(-1)
        probability, target = logits.sigmoid() * valid, target * valid
        dice = 1 - (2 * (probability * target).sum(-1) + 1) / (probability.sum(-1) + target.sum(-1) + 1)
        return (cross_entropy / valid.sum(-1).clamp(min=1)).sum(), dice.sum()

    @torch.no_grad()
    def _mask_targets(
        self, masks: Tensor, label: Tensor, classes: Tensor, samples: PointSamples, pairs: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Choose points for the matched masks (L * m, h, w) of one image; return points, target values and validity there."""
        layers, _, matched = pairs.shape
        masks = masks.reshape(layers, matched, *masks.shape[-2:])
        candidate_logits = read_points(masks, samples.candidates, self.padding)
        usable = None
        if self.void == "ignore":
            usable = self._read(label, samples.candidates, classes[None, :0])[1].bool()
        count = self.num_points - samples.extra.shape[1]
        points = uncertain_points(samples, candidate_logits, usable, count).flatten(0, 1)
        target, valid = self._read(label, points, classes[pairs[:, 1].flatten()][:, None])
        return points, target[:, 0], valid

    def _class_loss(self, class_logits: Tensor, present: list[Tensor], matches: list[Tensor]) -> Tensor:
        """Compute the weighted cross-entropy over classes, normalized by the weights and summed over layers."""
        target = torch.full(class_logits.shape[:-1], self.num_classes, device=class_logits.device)
        matched = [classes[pairs[:, 1].flatten()] for classes, pairs in zip(present, matches, strict=True)]
        target[_flat_index(matches)] = torch.cat(matched)
        total = F.cross_entropy(class_logits.flatten(0, -2), target.flatten(), self.class_weights, reduction="sum")
        # Every layer matches the same number of queries, so one normalizer fits all layers.
        per_layer = self.class_weights[target].sum() / len(target)
        return total / reduce_mean_over_ranks(per_layer).clamp(min=torch.finfo(torch.float32).eps)


def _flat_index(matches: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return layer, image and query of every matched pair, ordered by image, then layer, then segment."""
    device = matches[0].device
    layers = [torch.arange(len(pairs), device=device).repeat_interleave(pairs.shape[2]) for pairs in matches]
    images = [torch.full((len(pairs) * pairs.shape[2],), image, device=device) for image, pairs in enumerate(matches)]
    return torch.cat(layers), torch.cat(images), torch.cat([pairs[:, 0].flatten() for pairs in matches])
