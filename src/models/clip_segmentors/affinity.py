"""Affinities between the tokens of reference frames and the pixels of a target: selection and refinement (MRCFA)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Refinement = Literal["shallow", "deep"]
"""Convolutions of the refinement: that of MiT-B0, B2 and B5, or that of MiT-B1."""
SCORED_PIXELS = 5
"""Target pixels of 1/32 whose affinities are summed to the score of a reference token."""

# (kernel, channels in, channels out) of each convolution: of the scales 1/32, 1/16, 1/8, then of the two mixtures.
_Layers = tuple[tuple[int, int, int], ...]
_LAYERS: dict[str, tuple[_Layers, ...]] = {
    "shallow": (((3, 1, 1),), ((5, 1, 1),), ((5, 1, 1),), ((3, 1, 1),), ((3, 1, 1),)),
    "deep": (
        ((3, 1, 1), (3, 1, 2)), ((3, 1, 1), (3, 1, 2)), ((5, 1, 1), (3, 1, 2)), ((3, 2, 2), (3, 2, 2)), ((3, 2, 2), (3, 2, 1)),
    ),
}  # fmt: skip


class Affinities(NamedTuple):
    """Affinities of the selected reference tokens with all pixels of the target, as dot products.

    Attributes:
        scales: (B, R, s, h_i, w_i) at 1/32, 1/16 and 1/8 of the image, for R references of s selected tokens each.
        scores: (B, R, N), score of every token.
        kept: (B, R, s), ascending numbers of the selected tokens.
    """

    scales: tuple[Float[Tensor, "B R s _ _"], ...]
    scores: Float[Tensor, "B R N"]
    kept: Int[Tensor, "B R s"]


def select_affinities(
    targets: Sequence[Float[Tensor, "B _ _ _"]], references: Sequence[Float[Tensor, "B R N _"]], kept_share: float
) -> Affinities:
    """Select the reference tokens with the highest scores and compute their affinities (selective token masking).

    The selection is made at 1/32, in each reference frame by itself, and serves all scales; no gradient passes through it.

    Args:
        targets: maps (B, C_i, h_i, w_i) of the target at 1/32, 1/16 and 1/8.
        references: tokens of R references for each of these scales, all on the grid of 1/32.
        kept_share: share of the N tokens that is kept, rounded down.
    """
    coarse = _dot_products(references[0], targets[0])
    scores = coarse.flatten(3).topk(SCORED_PIXELS, dim=-1).values.sum(-1)
    tokens = scores.shape[-1]
    kept = scores.topk(int(tokens * kept_share), dim=-1).indices.sort(dim=-1).values
    scales = [take_tokens(coarse.flatten(3), kept).view(*kept.shape, *coarse.shape[3:])]
    scales += [
        _dot_products(take_tokens(reference, kept), target) for reference, target in zip(references[1:], targets[1:], strict=True)
    ]
    return Affinities(tuple(scales), scores, kept)


def take_tokens(tokens: Float[Tensor, "B R N C"], kept: Int[Tensor, "B R s"]) -> Float[Tensor, "B R s C"]:
    """Return the tokens with the numbers ``kept``."""
    return tokens.gather(2, kept[..., None].expand(-1, -1, -1, tokens.shape[-1]))


def _dot_products(tokens: Float[Tensor, "B R s C"], target: Float[Tensor, "B C h w"]) -> Float[Tensor, "B R s h w"]:
    return torch.einsum("brsc,bchw->brshw", tokens, target)


class AffinityRefinement(nn.Module):
    """Refine the affinities of single reference tokens and mix their scales from coarse to fine.

    Each token's affinities are an image of one channel on the grid of the target; tokens and frames are not mixed.

    Args:
        kind: one of ``Refinement``.
    """

    def __init__(self, kind: Refinement) -> None:
        super().__init__()
        if kind not in get_args(Refinement):
            raise ValueError(f"refinement is {kind!r}; expected one of {', '.join(get_args(Refinement))}")
        scale32, scale16, scale8, mix16, mix8 = (nn.Sequential(*(_unit(*layer) for layer in layers)) for layers in _LAYERS[kind])
        self.scale32, self.scale16, self.scale8, self.mix16, self.mix8 = scale32, scale16, scale8, mix16, mix8

    def forward(self, scales: Sequence[Float[Tensor, "B R s _ _"]]) -> Float[Tensor, "B R s h w"]:
        """Return refined affinities at 1/8, at least 0, from those at 1/32, 1/16 and 1/8."""
        shape = scales[-1].shape
        at32, at16, at8 = (scale.flatten(0, 2)[:, None] for scale in scales)
        mixed = self.mix16(_enlarge(self.scale32(at32), at16) + self.scale16(at16))
        refined: Tensor = self.mix8(_enlarge(mixed, at8) + self.scale8(at8))
        return refined.view(shape)


def _unit(kernel: int, channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.GroupNorm(1, channels_out), nn.ReLU())


def _enlarge(x: Float[Tensor, "n c _ _"], like: Float[Tensor, "n _ h w"]) -> Float[Tensor, "n c h w"]:
    # The corners of both grids coincide, unlike everywhere else: as published.
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
