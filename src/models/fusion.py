"""Fusion of the predictions that several key frames carry to one frame: a share of each source at every pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float, Float32, Int64, Num
from torch import Tensor

from src.ops.warp import warp
from src.structures import MaskPrediction, PixelRead

FusionRule = Literal["nearest", "linear", "photometric", "consistency", "learned"]
"""
nearest: the closer key frame, the earlier of two equally close ones. linear: inversely to the distance. photometric: by the error
of the warped key frame, less with the distance. consistency: photometric, and 0 where the flows of both directions disagree.
learned: the weights of the flow's trained fusion head.
"""

_DISTANCE_POWER = 0.25  # of all rules but linear, which forgets too fast: masks 5 frames old are nearly as good as 3 frames old
_PHOTOMETRIC_SCALE = 10.0  # grey levels of warping error at which a source counts 1 / e
_LEAST = 0.02  # weight of a source where nothing supports it: some source must count everywhere
_CARRIED = 1.2  # weight of a carried prediction beside the frame's own


@dataclass(frozen=True)
class Source:
    """Prediction for a frame from one key frame.

    Attributes:
        prediction: masks and classes at the frame: carried, or the frame's own.
        distance: frames between the key frame and the frame; 0 for the frame's own prediction. (B,) of at least 1 where the
            samples of a batch differ, for every rule but ``nearest``.
        confidence: (B, H, W), not negative, at the pixels of the image; fixed rules have 0..1, and 1 for the own prediction.
    """

    prediction: MaskPrediction
    distance: int | Int64[Tensor, " B"]
    confidence: Float[Tensor, "B H W"]


def fuse(sources: Sequence[Source], rule: FusionRule = "photometric") -> MaskPrediction:
    """Fuse sources into one prediction: their queries side by side, with shares that sum to 1 at every pixel.

    The scores of the result (:func:`src.ops.masks.semantic_scores`) are the weighted mean of the sources' scores, exactly. One
    source gives its prediction unchanged.

    Args:
        sources: at least one, in time order, of the same size and the same network.
        rule: see :data:`FusionRule`; its confidences are those of ``Propagator.confidence``.
    """
    check_rule(rule)
    if not sources:
        raise ValueError("0 sources; expected at least 1")
    if len(sources) == 1:
        return sources[0].prediction
    if rule == "nearest":
        return min(sources, key=lambda source: source.distance).prediction
    own = any(_is_own(source) for source in sources)
    power = 1.0 if rule == "linear" else _DISTANCE_POWER
    weights = torch.stack([_weight(source, own, power) for source in sources], 1)
    layers = [source.prediction.final_layer() for source in sources]
    return replace(
        layers[0],
        class_logits_per_layer=torch.cat([one.class_logits_per_layer for one in layers], 2),
        mask_logits_per_layer=torch.cat([one.mask_logits_per_layer for one in layers], 2),
        queries=torch.cat([one.queries for one in layers], 1),
        disocclusion=None,
        shares=weights / weights.sum(1, keepdim=True),
        pixel_reads=_reads(layers),
        windows=(),
    )


def _reads(predictions: Sequence[MaskPrediction]) -> tuple[PixelRead | None, ...]:
    if not any(one.pixel_reads for one in predictions):
        return ()
    return tuple(read for one in predictions for read in one.pixel_reads or (None,))


def photometric_error(
    image: Num[Tensor, "B 3 H W"], key_image: Num[Tensor, "B 3 H W"], flow: Float32[Tensor, "B 2 H W"]
) -> Float32[Tensor, "B H W"]:
    """Return the mean absolute difference of a frame and its warped key frame, RGB 0..255, in units of 10 grey levels.

    Args:
        image: frame.
        key_image: its key frame.
        flow: from ``image`` to ``key_image``, pixels.
    """
    return (warp(key_image.float(), flow) - image.float()).abs().mean(1) / _PHOTOMETRIC_SCALE


def check_rule(rule: str) -> None:
    """Raise ``ValueError`` if there is no such rule."""
    if rule not in get_args(FusionRule):
        raise ValueError(f"fusion rule is {rule!r}; expected one of {', '.join(get_args(FusionRule))}")


def _weight(source: Source, beside_own: bool, power: float) -> Tensor:
    if _is_own(source):
        return source.confidence
    # All predictions carried to a key frame come from about the same distance.
    factor = _CARRIED if beside_own else source.distance**-power
    if isinstance(factor, Tensor):
        factor = factor[:, None, None]
    return factor * (source.confidence + _LEAST)


def _is_own(source: Source) -> bool:
    return isinstance(source.distance, int) and source.distance == 0
