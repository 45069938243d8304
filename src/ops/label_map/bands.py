"""Label map at any size, band by band, so that the scores of few rows exist at once."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from src.ops.label_map.reads import Read, read_masks
from src.structures import Size

_BAND_PIXELS = 16384  # pixels scored per step of the method without cells: on a CPU they stay in its cache
_BAND_PIXELS_ACCELERATOR = 131072  # each step has a constant launch cost there


def label_map_by_bands(
    weights: Tensor,
    maps: list[Tensor],
    padded_size: Size,
    image_size: Size,
    size: Size,
    shares: Tensor | None,
    reads: Sequence[Read | None],
) -> Tensor:
    """Compute the label map at any size band by band, so that scores of few rows exist at once; ``maps`` as in ``_scores``."""
    result = torch.empty(size, dtype=torch.int64, device=weights.device)
    image_rows = [_rows(padded_size[0], one.shape[-2], weights) for one in maps]
    result_rows = _rows(size[0], image_size[0], weights)
    pixels = _BAND_PIXELS if weights.device.type == "cpu" else _BAND_PIXELS_ACCELERATOR
    height = max(1, pixels // max(size[1], image_size[1]))
    for first in range(0, size[0], height):
        last = min(first + height, size[0]) - 1
        above, below, fraction = (values[first : last + 1] for values in result_rows)
        # In Python: reading the tensors would wait for an accelerator.
        start, end = _source_row(first, size[0], image_size[0]), _source_row(last, size[0], image_size[0]) + 1
        if size[0] != image_size[0]:
            end = min(end + 1, image_size[0])
        bands = []
        for one, rows in zip(maps, image_rows, strict=True):
            upper, lower, share = (values[start:end] for values in rows)
            band = torch.lerp(one[:, upper], one[:, lower], share[:, None])
            band = F.interpolate(band[None], (end - start, padded_size[1]), mode="bilinear", align_corners=False)[0]
            bands.append(band[..., : image_size[1]])
        queries = weights.shape[1] // max(1, len(reads))
        for number, read in enumerate(reads):
            if read is not None:
                logits = read_masks(read[0][None], read[1][None], padded_size, (start, end))[0]
                bands[0][number * queries : (number + 1) * queries] = logits
        scores = _scores(weights, None if shares is None else shares[:, start:end], *bands)
        if size[1] != image_size[1]:
            scores = F.interpolate(scores[None], (end - start, size[1]), mode="bilinear", align_corners=False)[0]
        if size[0] != image_size[0]:
            scores = torch.lerp(scores[:, above - start], scores[:, below - start], fraction[:, None])
        result[first : last + 1] = scores.max(0).indices
    return result


def _scores(
    weights: Tensor, shares: Tensor | None, masks: Tensor, predicted: Tensor | None = None, share: Tensor | None = None
) -> Tensor:
    """Return scores (K, rows, W) from mask logits (Q, rows, W), weights (S, rows, W) of S sets, disocclusion scores."""
    masks = masks.sigmoid()
    if shares is not None:
        masks = (masks.view(len(shares), -1, *masks.shape[1:]) * shares[:, None]).flatten(0, 1)
    scores = (weights @ masks.flatten(1)).view(-1, *masks.shape[1:])
    return scores if predicted is None or share is None else scores + share * (predicted.softmax(0) - scores)


def _rows(length: int, source: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source rows of every row of a bilinear resize (align_corners=False), and the weight of the second."""
    # Integers, so that every device and Python get the same result.
    halves = ((2 * torch.arange(length, device=like.device) + 1) * source - length).clamp(min=0)
    above = halves // (2 * length)
    return above, (above + 1).clamp(max=source - 1), (halves % (2 * length)).to(like.dtype) / (2 * length)


def _source_row(row: int, length: int, source: int) -> int:
    """Return the first of the two source rows of a row, equal to :func:`_rows`."""
    return max((2 * row + 1) * source - length, 0) // (2 * length)
