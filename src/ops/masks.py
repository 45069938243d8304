"""Semantic scores and label maps of query masks and classes."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor

from src.ops.device import full_precision
from src.ops.label_map.dense import DenseSource, dense_label_map, dense_scores
from src.ops.label_map.label_map import MIN_SCORE, label_map
from src.ops.label_map.reads import read_masks
from src.ops.padding import pad_to
from src.ops.warp import resize_flow
from src.structures import IGNORE_INDEX, DisocclusionScores, MaskPrediction, PixelRead, Size

MapSize = Literal["image", "mask"]
"""Resolution of the sum over queries: the image's (exact), or that of the mask grid (approximate)."""


def semantic_scores(prediction: MaskPrediction, size: Size | None = None) -> Float32[Tensor, "B K H W"]:
    """Compute class scores per pixel: the class-weighted sum of the queries' masks (paper's evaluation).

    Convention:
        masks are upsampled to the padded image (bilinear, align_corners=False), the sigmoid is taken **after** that, the sum is
        cropped to the image and only then resized to ``size``. Disocclusion scores replace their share of the sum before that
        crop; where their weight is 0 the sum is unchanged, bit for bit. Scores of a dense prediction are its weighted masks, read
        at ``size`` at once.

    Args:
        prediction: only its final layer is used.
        size: (H, W) of the result; default: the image's.

    Returns:
        Scores; "no object" has no channel.
    """
    if prediction.windows:
        return _crop_and_resize(_window_scores(prediction), prediction.image_size, size)
    with full_precision(prediction.mask_logits):
        if prediction.dense:
            result = prediction.image_size if size is None else (size[0], size[1])
            return torch.stack([dense_scores(sources, result) for sources in _dense_sources(prediction, result)])
        masks = _resize(prediction.mask_logits.float(), prediction.padded_size).sigmoid()
        for first, read in _reads(prediction):
            height, width = prediction.image_size
            queries = slice(first, first + read.mask_logits.shape[1])
            read_logits = read_masks(read.mask_logits.float(), read.flow, prediction.padded_size)
            masks[:, queries, :height, :width] = read_logits.sigmoid()
        if prediction.shares is not None:
            masks = _times_shares(masks, pad_to(prediction.shares, prediction.padded_size))
        scores = torch.einsum("bqk,bqhw->bkhw", class_probabilities(prediction), masks)
        # Shares of a single class are 1 everywhere.
        if prediction.disocclusion is not None and scores.shape[1] > 1:
            scores = _blend_disocclusion(scores, prediction.disocclusion)
        return _crop_and_resize(scores, prediction.image_size, size)


def _window_scores(prediction: MaskPrediction) -> Float32[Tensor, "B K H W"]:
    """Return the mean scores of the windows at every pixel, 0 where there is none."""
    scores = class_probabilities(prediction).new_zeros(
        (len(prediction.queries), prediction.class_logits.shape[-1] - 1, *prediction.image_size)
    )
    counts = scores.new_zeros(prediction.image_size)
    for window in prediction.windows:
        (row, column), (height, width) = window.corner, window.prediction.image_size
        place = (..., slice(row, row + height), slice(column, column + width))
        scores[place] += semantic_scores(window.prediction)
        counts[place] += 1
    return scores / counts.clamp(min=1)


def _reads(prediction: MaskPrediction) -> list[tuple[int, PixelRead]]:
    """Return the first query and the read of every set of queries that has one."""
    reads = prediction.pixel_reads
    size = prediction.mask_logits.shape[1] // max(1, len(reads))
    return [(number * size, read) for number, read in enumerate(reads) if read is not None]


def _dense_sources(prediction: MaskPrediction, size: Size) -> list[list[DenseSource]]:
    """Return the sources of each image of a dense prediction, for a result of (H, W)."""
    sets = 1 if prediction.shares is None else prediction.shares.shape[1]
    shares: Tensor | None = None if prediction.shares is None else _resize(prediction.shares.float(), size)
    masks = [
        own if read is None else read.mask_logits
        for own, read in zip(prediction.mask_logits.chunk(sets, 1), prediction.pixel_reads or (None,) * sets, strict=True)
    ]
    flows = [None if read is None else resize_flow(read.flow.float(), size) for read in prediction.pixel_reads or (None,) * sets]
    return [
        [
            DenseSource(
                masks[one][row].float(),
                None if flow is None else flow[row],
                None if shares is None else shares[row, one],
            )
            for one, flow in enumerate(flows)
        ]
        for row in range(len(prediction.mask_logits))
    ]


def _times_shares(masks: Tensor, shares: Tensor) -> Tensor:
    """Multiply S sets of masks (B, Q, h, w) by their shares (B, S, h, w)."""
    sets = masks.reshape(len(masks), shares.shape[1], -1, *masks.shape[2:])
    return (sets * shares[:, :, None]).flatten(1, 2)


def _blend_disocclusion(scores: Tensor, disocclusion: DisocclusionScores) -> Tensor:
    size = (scores.shape[-2], scores.shape[-1])
    weight = _resize(disocclusion.weight.float(), size)
    predicted = _resize(disocclusion.logits.float(), size).softmax(1)
    return scores + weight * (predicted - scores)


def _crop_and_resize(scores: Tensor, image_size: Size, size: Size | None) -> Tensor:
    scores = scores[..., : image_size[0], : image_size[1]]
    if size is None or tuple(size) == tuple(image_size):
        return scores
    return _resize(scores, size)


def _resize(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def class_probabilities(prediction: MaskPrediction) -> Float32[Tensor, "B Q K"]:
    """Return the class probabilities of the final layer, without "no object"."""
    return prediction.class_logits.float().softmax(-1)[..., :-1]


def best_class(scores: Float32[Tensor, "B K H W"]) -> Int64[Tensor, "B H W"]:
    """Return the class of the best score, 0..K-1; for K = 1 ``IGNORE_INDEX``, the background, where it is below ``MIN_SCORE``."""
    best = scores.max(1)
    return best.indices if scores.shape[1] > 1 else torch.where(best.values >= MIN_SCORE, 0, IGNORE_INDEX)


def label_confidence(scores: Float32[Tensor, "B K H W"], labels: Int64[Tensor, "B H W"], dense: bool) -> Float32[Tensor, "B H W"]:
    """Return the share of the label's score in the sum of all scores, 0..1; 0 where all are 0.

    Scores of a dense prediction are logits, and this is their softmax. A single class has its own score, and its background, of
    ``IGNORE_INDEX``, the rest up to 1.
    """
    if scores.shape[1] == 1:
        own = scores[:, 0].clamp(0, 1)
        return torch.where(labels == 0, own, 1 - own)
    chosen = scores.gather(1, labels[:, None])[:, 0]
    if dense:
        return (chosen - scores.logsumexp(1)).exp().clamp(0, 1)
    return (chosen / scores.sum(1).clamp(min=torch.finfo(scores.dtype).tiny)).clamp(0, 1)


def semantic_confidence(prediction: MaskPrediction, labels: Int64[Tensor, "B H W"]) -> Float32[Tensor, "B H W"]:
    """Compute :func:`label_confidence` of a prediction's label map, of any size, from :func:`semantic_scores`."""
    return label_confidence(semantic_scores(prediction, (labels.shape[-2], labels.shape[-1])), labels, prediction.dense)


def semantic_map(prediction: MaskPrediction, size: Size | None = None) -> Int64[Tensor, "B H W"]:
    """Compute :func:`best_class` of :func:`semantic_scores`, with its arguments, without storing the scores.

    Pixels whose two best scores differ by no more than float rounding may take either class.
    """
    if prediction.windows:
        return best_class(semantic_scores(prediction, size))
    if prediction.dense:
        with full_precision(prediction.mask_logits):
            result = prediction.image_size if size is None else (size[0], size[1])
            return torch.stack([dense_label_map(sources, result) for sources in _dense_sources(prediction, result)])
    probabilities_per_image = class_probabilities(prediction)
    disocclusion = prediction.disocclusion if probabilities_per_image.shape[-1] > 1 else None
    with full_precision(prediction.mask_logits):
        masks = prediction.mask_logits.float()
        result = prediction.image_size if size is None else (size[0], size[1])
        disocclusion_per_image: list[Any] = [None] * len(masks)
        if disocclusion is not None:
            disocclusion_per_image = list(zip(disocclusion.logits.float(), disocclusion.weight.float(), strict=True))
        shares_per_image: Any = [None] * len(masks) if prediction.shares is None else prediction.shares.float()
        reads_per_image = [
            [None if read is None else (read.mask_logits[row].float(), read.flow[row].float()) for read in prediction.pixel_reads]
            for row in range(len(masks))
        ]
        maps = [
            label_map(probabilities, logits, prediction.padded_size, prediction.image_size, result, scores, shares, reads)
            for probabilities, logits, scores, shares, reads in zip(
                probabilities_per_image, masks, disocclusion_per_image, shares_per_image, reads_per_image, strict=True
            )
        ]
    return maps[0][None] if len(maps) == 1 else torch.stack(maps)


def semantic_map_at_mask_size(prediction: MaskPrediction, size: Size | None = None) -> Int64[Tensor, "B H W"]:
    """Approximate :func:`semantic_map` without disocclusion scores: sum classes on the mask grid, and upsample their scores.

    The sigmoid precedes the upsampling, which moves borders between segments by fractions of a grid cell;
    ``docs/performance.md`` states the cost in mIoU. Of a dense prediction this is :func:`semantic_map`, which has no sigmoid.
    """
    if prediction.dense:
        return semantic_map(prediction, size)
    with full_precision(prediction.mask_logits):
        masks = prediction.mask_logits.float().sigmoid()
        if prediction.shares is not None:
            shares = pad_to(prediction.shares, prediction.padded_size)
            masks = _times_shares(masks, F.interpolate(shares, masks.shape[-2:], mode="area"))
        scores = torch.einsum("bqk,bqhw->bkhw", class_probabilities(prediction), masks)
        scores = _resize(scores, prediction.padded_size)
        return best_class(_crop_and_resize(scores, prediction.image_size, size))


SEMANTIC_MAPS: dict[MapSize, Callable[[MaskPrediction, Size | None], Tensor]] = {
    "image": semantic_map,
    "mask": semantic_map_at_mask_size,
}
"""Label map functions by the resolution of their sum."""
