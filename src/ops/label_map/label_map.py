"""Label map of query masks without the scores of all classes at all pixels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from src.ops.label_map.bands import label_map_by_bands
from src.ops.label_map.cells import label_map_by_cells
from src.ops.label_map.reads import Read
from src.structures import IGNORE_INDEX, Size

MIN_SCORE = 0.5
"""Lowest score of the class of a network of one class; pixels below it are background."""


def label_map(
    classes: Float[Tensor, "Q K"],
    mask_logits: Float[Tensor, "Q h w"],
    padded_size: Size,
    image_size: Size,
    size: Size,
    disocclusion: tuple[Float[Tensor, "K _ _"], Float[Tensor, "1 _ _"]] | None = None,
    shares: Float[Tensor, "S {image_size[0]} {image_size[1]}"] | None = None,
    reads: Sequence[Read | None] = (),
) -> Int64[Tensor, "{size[0]} {size[1]}"]:
    """Compute the class of the largest score at every pixel, for the scores of :func:`src.ops.masks.semantic_scores`.

    Pixels whose two best scores differ by no more than float rounding may take either class. A single class has no rival: its
    pixels below ``MIN_SCORE`` are ``IGNORE_INDEX``, the background.

    Args:
        classes: probabilities without "no object", float32.
        mask_logits: float32.
        padded_size: (H, W) that the mask grid covers.
        image_size: (H, W) of the image, at its top left.
        size: (H, W) of the result.
        disocclusion: logits and weight of a :class:`src.structures.DisocclusionScores`, float32.
        shares: weights of the masks at every pixel, in 0..1: one map for each of S sets of Q / S consecutive queries, float32.
        reads: for each set the masks to read at the source of every pixel, ``None`` for ``mask_logits``; empty for no set. On a
            CPU, cells far from a border of ``mask_logits`` are decided by ``mask_logits``.
    """
    if classes.shape[1] == 1:
        # A second class with that score everywhere: a query of its own, whose mask has logits with a sigmoid of exactly 1.
        sets = max(1, len(reads)) if shares is None else len(shares)
        rivals = F.pad(classes.view(sets, -1, 1), (0, 1, 0, 1))
        rivals[:, -1, -1] = MIN_SCORE
        masks = F.pad(mask_logits.view(sets, -1, *mask_logits.shape[1:]), (0, 0, 0, 0, 0, 1), value=100)
        padded = [None if read is None else (F.pad(read[0], (0, 0, 0, 0, 0, 1), value=100), read[1]) for read in reads]
        found = label_map(rivals.flatten(0, 1), masks.flatten(0, 1), padded_size, image_size, size, shares=shares, reads=padded)
        return torch.where(found == 0, 0, IGNORE_INDEX)
    scales = [padded / grid for padded, grid in zip(padded_size, mask_logits.shape[-2:], strict=True)]
    aligned = tuple(size) == tuple(image_size) and all(scale.is_integer() for scale in scales)
    # An accelerator would have to wait while undecided cells are collected. Disocclusion scores belong to pixels, not to queries,
    # so the masks' bounds do not hold for them.
    if aligned and mask_logits.device.type == "cpu" and disocclusion is None:
        return label_map_by_cells(classes, mask_logits, (int(scales[0]), int(scales[1])), image_size, shares, reads)
    return label_map_by_bands(
        classes.T.contiguous(), [mask_logits, *(disocclusion or ())], padded_size, image_size, size, shares, reads
    )
