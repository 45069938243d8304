"""Which query answers for which segment: the Hungarian matching of the set loss."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def matching_cost(
    class_logits: Tensor, point_logits: Tensor, classes: Tensor, target: Tensor, valid: Tensor, weights: tuple[float, ...]
) -> Tensor:
    """What it costs to let a query answer for a segment: class, mask cross-entropy and dice, weighted and summed.

    Args:
        class_logits: (L, Q, K + 1) of one image.
        point_logits: (L, Q, P), mask logits at the matching points.
        classes: (n,) class of each segment.
        target: (L, n, P), the segments at the points, 0..1.
        valid: (L, P), 1 where a point counts, 0 where it does not.
        weights: of class, mask and dice.

    Returns:
        (L, Q, n) float32.
    """
    class_weight, mask_weight, dice_weight = weights
    class_cost = -class_logits.softmax(-1)[..., classes]
    valid = valid[:, None]
    counted = target * valid
    # Binary cross-entropy is softplus(x) - x * t: one product with the targets instead of two.
    cross_entropy = (F.softplus(point_logits) * valid).sum(-1, keepdim=True) - point_logits @ counted.mT
    mask_cost = cross_entropy / valid.sum(-1, keepdim=True).clamp(min=1)
    probability = point_logits.sigmoid() * valid
    overlap = 2 * probability @ counted.mT
    union = probability.sum(-1, keepdim=True) + counted.sum(-1)[:, None]
    dice_cost = 1 - (overlap + 1) / (union + 1)
    return class_weight * class_cost + mask_weight * mask_cost + dice_weight * dice_cost


def match(costs: list[Tensor]) -> list[Tensor]:
    """Give every segment its own query at the least total cost, per image and layer.

    Args:
        costs: per image (L, Q, n); n may differ and may be 0.

    Returns:
        Per image (L, 2, min(Q, n)) int64 on the CPU: queries, segments, in the order of the segments.

    Raises:
        FloatingPointError: if a cost is not a finite number, that is, the network's logits are not.
    """
    # One transfer for the whole batch: every copy from a GPU waits for it.
    sizes = [cost.numel() for cost in costs]
    flat = torch.cat([cost.reshape(-1) for cost in costs]).cpu()
    matches = []
    for image, (values, cost) in enumerate(zip(torch.split(flat, sizes), costs, strict=True)):
        if not values.isfinite().all():
            bad = int((~values.isfinite()).sum())
            raise FloatingPointError(
                f"image {image} of the batch: {bad} of {len(values)} matching costs are NaN or infinite; "
                "expected finite mask and class logits (has the training diverged?)"
            )
        matches.append(torch.stack([_match_layer(layer) for layer in values.reshape(cost.shape).numpy()]))
    return matches


def _match_layer(cost: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensor:
    segments, queries = linear_sum_assignment(cost.T)
    return torch.from_numpy(np.stack((queries, segments))).long()
