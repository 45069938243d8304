"""What says that a propagation is not to be trusted, each as one number.

The first three look at thumbnails alone and cost next to nothing, so that they can decide before any flow is computed. The others
judge a finished propagation. None of them needs a label.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from src.models.flow.dis import DISFlow
from src.ops.segment_flow import winning_flow
from src.ops.warp import resize_flow, warp
from src.structures import FlowPrediction, MaskPrediction, Size

THUMBNAIL_SIDE = 48
"""Short side of a thumbnail, pixels: noise and fine texture are averaged away, objects stay."""
# A flow that comes back to within this many pixels, and this share of its length, is consistent (Sundaram et al. 2010, scaled).
_LOOP_PIXELS, _LOOP_SHARE = 0.5, 0.1


def thumbnail(image: Tensor) -> Tensor:
    """A small grey picture of a frame, every pixel the mean of its block.

    Args:
        image: (1, 3, H, W), RGB 0..255.

    Returns:
        (1, 1, h, w) float32; the short side is :data:`THUMBNAIL_SIDE`, or the image's own where that is smaller.
    """
    weights = image.new_tensor([0.299, 0.587, 0.114], dtype=torch.float32).view(3, 1, 1)
    grey = (image.float() * weights).sum(1, keepdim=True)
    height, width = grey.shape[-2:]
    scale = min(1.0, THUMBNAIL_SIDE / min(height, width))
    return F.interpolate(grey, size=(round(height * scale), round(width * scale)), mode="area")


def thumbnail_multiply_adds(size: Size) -> int:
    """Multiply-adds of a thumbnail and of its comparison with the one before.

    Three per pixel for grey, one for the mean of blocks, and ten per pixel of the thumbnail.

    Args:
        size: (H, W) of the image.
    """
    pixels = size[0] * size[1]
    scale = min(1.0, THUMBNAIL_SIDE / min(size))
    return 4 * pixels + 10 * round(pixels * scale * scale)


def difference_and_similarity(earlier: Tensor, later: Tensor) -> tuple[float, float]:
    """How far two thumbnails differ once their brightness agrees, and how far they show the same picture.

    Args:
        earlier: (1, 1, h, w).
        later: (1, 1, h, w).

    Returns:
        The mean absolute difference in grey levels, after the earlier one was brought to the later one's mean; and the
        correlation of the pixels, -1..1, which brightness and contrast do not change (1 where a picture is flat).
    """
    matched = earlier * (later.mean() / earlier.mean().clamp(min=1))
    a, b = earlier - earlier.mean(), later - later.mean()
    scale = a.norm() * b.norm()
    similarity = torch.where(scale > 1e-3, (a * b).sum() / scale.clamp(min=1e-3), torch.ones_like(scale))
    # One transfer from the device instead of two.
    difference, similar = torch.stack(((matched - later).abs().mean(), similarity)).tolist()
    return difference, similar


def warp_error(key_thumbnail: Tensor, shown: Tensor, prediction: MaskPrediction, flow: FlowPrediction) -> float:
    """What the motion leaves disoccluded: grey levels between a frame and its key frame warped onto it, brightness matched.

    Args:
        key_thumbnail: (1, 1, h, w) of the key frame.
        shown: (1, 1, h, w) of the frame.
        prediction: masks and classes on the frame; each pixel moves with the segment that wins there.
        flow: the motion.
    """
    motion = resize_flow(winning_flow(prediction, flow), (shown.shape[-2], shown.shape[-1]))
    matched = key_thumbnail * (shown.mean() / key_thumbnail.mean().clamp(min=1))
    return float((warp(matched, motion) - shown).abs().mean())


def inconsistency(key_thumbnail: Tensor, shown: Tensor) -> float:
    """Share of the thumbnail where following the motion to the key frame and back does not return: hidden, new, or not matched.

    DIS finds both motions on the thumbnails, so that no network has to run backwards.

    Args:
        key_thumbnail: (1, 1, h, w) of the key frame.
        shown: (1, 1, h, w) of the frame.
    """
    dis, queries = DISFlow("medium", stride=1, size_divisor=1), shown.new_zeros(1, 0, 0)
    key, now = key_thumbnail.expand(-1, 3, -1, -1), shown.expand(-1, 3, -1, -1)
    back, forth = dis(key, now, queries).segment_flow[:, 0], dis(now, key, queries).segment_flow[:, 0]
    gap = (back + warp(forth, back)).norm(dim=1)
    return float((gap > _LOOP_PIXELS + _LOOP_SHARE * back.norm(dim=1)).float().mean())


def mask_entropy(prediction: MaskPrediction) -> float:
    """How undecided the masks are: binary entropy per pixel in bits, weighted by the query's being some class and by its mask.

    Args:
        prediction: its final layer is read; B = 1.
    """
    masks = prediction.mask_logits[0].float()
    inside = masks.sigmoid()
    bits = (F.softplus(masks) - inside * masks) / torch.log(masks.new_tensor(2.0))
    some_class = 1 - prediction.class_logits[0].float().softmax(-1)[:, -1]
    weight = some_class[:, None, None] * inside
    return float((weight * bits).sum() / weight.sum().clamp(min=1e-6))


def class_mass_change(key: MaskPrediction, prediction: MaskPrediction) -> float:
    """Share of the picture that changed its class since the key frame, counted by masses alone: 0 (none) .. 1 (all).

    Args:
        key: on the key frame; B = 1.
        prediction: on the frame.
    """
    return float((_class_mass(key) - _class_mass(prediction)).abs().sum() / 2)


def mean_doubt(prediction: MaskPrediction, flow: FlowPrediction) -> float:
    """How much of the picture the flow estimator takes for hidden in the key frame: mean of ``1 - confidence``, 0..1.

    Where every segment has a confidence of its own, a segment counts as much as its mask covers.

    Args:
        prediction: the masks on the frame; B = 1.
        flow: of an estimator that has a confidence; of another, nothing is in doubt.
    """
    if flow.confidence is None:
        return 0.0
    doubt = 1 - flow.confidence[0].float()
    if len(doubt) == 1:
        return float(doubt.mean())
    some_class = 1 - prediction.class_logits[0].float().softmax(-1)[:, -1]
    masks = F.interpolate(prediction.mask_logits[0][None].float(), size=doubt.shape[-2:], mode="bilinear")[0].sigmoid()
    weight = some_class[:, None, None] * masks
    return float((weight * doubt).sum() / weight.sum().clamp(min=1e-6))


def _class_mass(prediction: MaskPrediction) -> Tensor:
    """(K,), sums to 1."""
    classes = prediction.class_logits[0].float().softmax(-1)[:, :-1]
    mass = prediction.mask_logits[0].float().sigmoid().mean((-2, -1)) @ classes
    return mass / mass.sum().clamp(min=1e-6)
