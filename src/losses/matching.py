"""Hungarian matching of queries to segments for the set loss."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def matching_cost(
    class_logits: Float[Tensor, "L Q _"],
    point_logits: Float[Tensor, "L Q P"],
    classes: Int64[Tensor, " n"],
    target: Float[Tensor, "L n P"],
    valid: Float[Tensor, "L P"],
    weights: tuple[float, ...],
) -> Float32[Tensor, "L Q n"]:
    """Compute the cost of matching each query to each segment: weighted sum of class, mask cross-entropy and dice cost.

    Args:
        class_logits: of one image.
        point_logits: mask logits at the matching points.
        classes: class of each segment.
        target: segments at the points, 0..1.
        valid: 1 where a point counts, else 0.
        weights: factors of class, mask and dice cost.
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
    """Assign every segment its own query at the least total cost, per image and layer.

    Args:
        costs: (L, Q, n) of each image; n may differ and may be 0.

    Returns:
        (L, 2, min(Q, n)) int64 of each image, on the CPU: queries and segments, in the order of the segments.

    Raises:
        FloatingPointError: if a cost is not finite, because the network's logits are not.
    """
    # One transfer for the whole batch: every copy from a GPU synchronises.
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
        # Of each layer, segments and their queries.
        pairs = [linear_sum_assignment(layer.T) for layer in values.reshape(cost.shape).numpy()]
        matches.append(torch.from_numpy(np.stack([(queries, segments) for segments, queries in pairs])).long())
    return matches
