"""Loss of the fusion head: cross-entropy of the fused class scores."""

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from src.losses.distributed import reduce_mean_over_ranks
from src.losses.point_sampling import read_points, sample_points
from src.ops.device import full_precision
from src.ops.masks import class_probabilities
from src.structures import IGNORE_INDEX, MaskPrediction, PixelRead

_FLOOR = 0.05  # share of the right class below which a pixel counts little more: its class is wrong in every source


class FusionLoss(nn.Module):
    """Cross-entropy between a fused prediction and the label, at random pixels for which the sources predict different classes.

    The scores are those of :func:`src.ops.masks.semantic_scores`, of which the label map takes the best, normalized over the
    classes. Where the sources agree, shares change no label, and the loss would be noise. A set loss cannot supervise the shares:
    the sets of queries of several key frames have no common matching. Only the scores at the random pixels are computed, so
    memory is independent of the image size. Pixels are keyed by (seed, sample_id).

    Args:
        num_points: pixels per image.
        seed: seed of the random pixels.

    Raises:
        ValueError: if ``num_points`` is below 1.
    """

    def __init__(self, num_points: int = 8192, seed: int = 0) -> None:
        super().__init__()
        if num_points < 1:
            raise ValueError(f"num_points is {num_points}; expected at least 1")
        self.num_points = num_points
        self.seed = seed

    def forward(
        self, prediction: MaskPrediction, label: Int64[Tensor, "B H W"], sample_id: Int64[Tensor, " B"]
    ) -> Float32[Tensor, ""]:
        """Return the mean over labelled pixels of different classes; 0 where there is none.

        Args:
            prediction: fused from at least two sources; only the shares need a gradient.
            label: classes or ``IGNORE_INDEX``.
            sample_id: number of each sample in the run.

        Raises:
            ValueError: if the prediction has no shares or a single class.
        """
        shares = prediction.shares
        if shares is None:
            raise ValueError("the prediction has no shares; expected one that is fused from at least two sources")
        probabilities = class_probabilities(prediction)
        if probabilities.shape[-1] < 2:
            raise ValueError("the data has 1 class; expected at least 2, which the fusion loss compares; use fusion=photometric")
        height, width = prediction.image_size
        samples = [sample_points(self.seed, number, 1, self.num_points, 1.0, 0.0).matching[0] for number in sample_id.tolist()]
        size = torch.tensor([width, height])
        pixels = (torch.stack(samples) * size).long().minimum(size - 1).to(label.device)
        index = pixels[..., 1] * width + pixels[..., 0]
        with full_precision(prediction.mask_logits):
            centers = (pixels + 0.5) / torch.tensor(prediction.padded_size[::-1], device=label.device)
            grids = read_points(prediction.mask_logits.float(), centers, "border").chunk(shares.shape[1], 1)
            reads = prediction.pixel_reads or (None,) * len(grids)
            masks = torch.stack(
                [
                    grid if read is None else _read_sources(read, pixels, index, prediction)
                    for grid, read in zip(grids, reads, strict=True)
                ],
                1,
            ).sigmoid()
            weight = shares.flatten(2).gather(2, index[:, None].expand(-1, shares.shape[1], -1))
            per_set = probabilities.view(*masks.shape[:3], -1)
            per_source = torch.einsum("bsqk,bsqp->bskp", per_set, masks)
            scores = (per_source * weight[:, :, None]).sum(1)
            best = per_source.argmax(2)
            target = label.flatten(1).gather(1, index)
            known = (target != IGNORE_INDEX) & (best != best[:, :1]).any(1)
            right = scores.gather(1, target.masked_fill(~known, 0)[:, None])[:, 0] / scores.sum(1).clamp(min=1e-6)
            total = (-(right + _FLOOR).log() * known).sum()
            return total / reduce_mean_over_ranks(known.sum().float()).clamp(min=1)


def _read_sources(read: PixelRead, pixels: Tensor, index: Tensor, prediction: MaskPrediction) -> Tensor:
    """Return the mask logits (B, Q, P) at the sources of pixels (B, P, 2), as :func:`src.ops.label_map.reads.read_masks` does."""
    vectors = read.flow.float().flatten(2).gather(2, index[:, None].expand(-1, 2, -1)).mT
    last = torch.tensor(prediction.image_size[::-1], device=index.device) - 1
    sources = (pixels + vectors).clamp(min=0).minimum(last)
    return read_points(
        read.mask_logits.float(), (sources + 0.5) / torch.tensor(prediction.padded_size[::-1], device=index.device), "border"
    )
