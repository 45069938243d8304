"""GFLOPs and parameters of clip segmentors."""

from dataclasses import dataclass
from typing import Any

import torch

from src.measure.cost import params_m, without_data
from src.measure.counting import count_multiply_adds
from src.models.clip_segmentors.base import ClipSegmentor
from src.structures import Size


@dataclass(frozen=True)
class ClipCost:
    """GFLOPs of each step of a frame, with 1 for a multiply-add.

    Attributes:
        encode: encoder and embedding of one frame.
        reference: what is kept of a frame for later ones.
        predict: logits of an encoded frame with its references.
        alone: logits of an encoded frame without references.
        frames: frames of a clip, with the target.
    """

    encode: float
    reference: float
    predict: float
    alone: float
    frames: int

    @property
    def streamed(self) -> float:
        """Cost of a frame of a stream, which encodes every frame once."""
        return self.encode + self.reference + self.predict

    @property
    def whole_clip(self) -> float:
        """Cost of a frame without a cache: its clip is encoded anew."""
        return self.frames * self.encode + (self.frames - 1) * self.reference + self.predict


def clip_cost(segmentor: ClipSegmentor[Any, Any], size: Size) -> ClipCost:
    """Count the GFLOPs of a segmentor at an input size (H, W) of multiples of its divisor, like ``frame_cost``."""
    with without_data(segmentor) as shadow:
        features, encode = count_multiply_adds(lambda: shadow.encode(torch.empty(1, 3, *size, device="cpu")))
        kept, reference = count_multiply_adds(lambda: shadow.as_reference(features))
        references = [kept] * len(shadow.reference_offsets)
        _, predict = count_multiply_adds(lambda: shadow.predict(features, references))
        _, alone = count_multiply_adds(lambda: shadow.predict_alone(features))
    return ClipCost(encode / 1e9, reference / 1e9, predict / 1e9, alone / 1e9, 1 + len(segmentor.reference_offsets))


def inference_params_m(segmentor: ClipSegmentor[Any, Any]) -> float:
    """Return the millions of parameters without those that only training reads."""
    unused = sum(parameter.numel() for parameter in segmentor.training_only_parameters())
    return params_m(segmentor) - unused / 1e6
